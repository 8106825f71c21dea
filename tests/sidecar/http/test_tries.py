"""Tries through a real proxy: registered before they go through, called afterwards, guarded."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.modes import tcc
from globaltx.modes.guard_row import Finding, Guarded
from globaltx.modes.tcc import Call, Operation
from globaltx.transaction.calls import BODY_BYTES_MAX, Request, Reservation, Step
from globaltx.transaction.model import Decision, GlobalTransaction, Mode
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid
from globaltx_sidecar.branch.call_desk import CallFailedError
from globaltx_sidecar.http.keeping import filled
from globaltx_sidecar.http.tries import REMEMBERED_MAX
from globaltx_sidecar.http1.heads import decoded
from tests.sidecar.http.scene import DEBIT, Scene, Seen, answering, read_request, staged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from globaltx.transaction.model import Branch
    from tests.sidecar.http.scene import Application

XID = Xid("shop", "t1")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Mine: 1\r\n\r\ndone"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


def request(
    xid: Xid | None = XID, *lines: str, path: str = "/accounts/7/debit?a=1", body: bytes = b"30"
) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: shop", "Connection: close", f"Content-Length: {len(body)}"]
    head += [f"xid: {xid}"] if xid else []
    return "\r\n".join([*head, *lines, "", ""]).encode() + body


async def begun(scene: Scene, xid: Xid = XID) -> None:
    await scene.store.begin(GlobalTransaction(xid, "web", DEBIT.timeout))


async def branches(scene: Scene, xid: Xid = XID) -> tuple[Branch, ...]:
    return (await scene.store.read(xid)).branches


def told(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def noting(seen: list[Seen], note: Callable[[], Awaitable[None]], answer: bytes = OK) -> Application:
    """An application that lets the test look at what is true when a request reaches it."""

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        await note()
        writer.write(answer)
        writer.close()

    return application


async def test_a_try_is_durable_before_the_application_sees_it() -> None:
    found: list[Branch] = []
    seen: list[Seen] = []

    async def note() -> None:
        found.extend(await branches(scene))

    async with staged(noting(seen, note)) as scene:
        await begun(scene)
        lines = ("Content-Type: text/plain", "Content-Encoding: gzip", "Cookie: secret")
        assert (await scene.ask(request(XID, *lines))).endswith(b"done")
    (branch,) = found
    assert branch.calls is not None
    assert (branch.calls.on_commit, branch.calls.on_rollback) == (
        "/accounts/7/confirm",
        "/accounts/7/cancel",
    )
    kept = branch.calls.request
    assert (kept.method, kept.query, kept.headers, kept.body) == (
        "POST",
        "a=1",
        (("content-type", "text/plain"), ("content-encoding", "gzip")),
        b"30",
    )
    assert branch.started
    assert seen[0].body == b"30"
    assert seen[0].header("cookie") == ["secret"]
    assert seen[0].header("globaltx-branch") == [branch.id.name]
    assert seen[0].header("globaltx-operation") == ["try"]


async def test_a_try_of_a_reservation_is_kept_with_its_times_and_without_a_cancel() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        await scene.ask(request(path="/accounts/7%3F8/reserve?a=1"))
        (branch,) = await branches(scene)
    assert (branch.mode, branch.started) == (Mode.TCD, True)
    assert branch.calls is not None
    assert (branch.calls.on_commit, branch.calls.on_rollback) == ("/accounts/7%3F8/confirm", "")
    statuses = frozenset({404, 409, 410})  # gRPC has others
    kept = Reservation(timedelta(seconds=60), "/accounts/7%3F8/state", expired_statuses=statuses)
    assert branch.calls.reservation == kept
    assert seen[0].header("globaltx-operation") == ["try"]


async def test_a_step_is_kept_with_its_compensation_and_its_place() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        for room in "78":
            await scene.ask(request(path=f"/rooms/{room}/book?a=1"))
        one, two = sorted(await branches(scene), key=lambda each: each.completed)
    assert (one.mode, one.started, one.completed, two.completed) == (Mode.SAGA, True, 1, 2)
    assert one.calls is not None
    assert (one.calls.on_commit, one.calls.on_rollback) == ("", "/rooms/7/release")
    assert one.calls.step == Step("book")
    assert seen[0].header("globaltx-operation") == ["step"]


async def test_a_step_whose_order_is_no_matter_costs_no_second_write() -> None:
    async with staged(answering([], OK)) as scene:
        await begun(scene)
        scene.store.lost_calls.add("complete")
        assert (await scene.ask(request(path="/loose"))).endswith(b"done")


async def test_a_step_that_answered_an_error_has_no_place() -> None:
    async with staged(answering([], b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")) as scene:
        await begun(scene)
        assert (await scene.ask(request(path="/rooms/7/book"))).startswith(b"HTTP/1.1 409")
        (branch,) = await branches(scene)
    assert (branch.started, branch.completed) == (True, 0)


async def test_a_step_whose_place_is_not_durable_is_not_called_done() -> None:
    async with staged(answering([], OK)) as scene:
        await begun(scene)
        scene.store.lost_calls.add("complete")
        status, said = told(await scene.ask(request(path="/rooms/7/book")))
        (branch,) = await branches(scene)
    assert (status, said["reason"]) == (503, Reason.STORE_UNAVAILABLE)
    assert "its place is not known: roll back" in said["message"]
    assert (branch.started, branch.completed) == (True, 0)


async def test_a_step_whose_transaction_was_decided_meanwhile_is_answered() -> None:
    async def note() -> None:
        await scene.store.decide(XID, Decision(Outcome.ROLLBACK, Reason.DEADLINE_EXCEEDED))

    async with staged(noting([], note)) as scene:
        await begun(scene)
        assert (await scene.ask(request(path="/rooms/7/book"))).endswith(b"done")
        (branch,) = await branches(scene)
    assert (branch.outcome, branch.completed) == (Outcome.ROLLBACK, 0)


@pytest.mark.parametrize(
    ("path", "confirm"),
    [
        ("/accounts/a%3Fb%25/debit", "/accounts/a%3Fb%25/confirm"),
        ("/accounts/7%3Bx/debit", "/accounts/7%3Bx/confirm"),
        ("/accounts/M%FCller/debit", "/accounts/M%FCller/confirm"),
        ("/accounts%2F7/debit", "/accounts/7/confirm"),
        ("//accounts/./7%3Bx;a=1/debit", "/accounts/7%3Bx/confirm"),
    ],
)
async def test_a_variable_goes_into_the_paths_of_the_calls_as_it_was_written(path: str, confirm: str) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        await scene.ask(request(path=path))
        (branch,) = await branches(scene)
    assert branch.calls is not None
    assert branch.calls.on_commit == confirm
    assert seen[0].head.startswith(f"POST {path} HTTP/1.1\r\n")


def test_a_variable_of_other_bytes_is_written_as_they_are() -> None:
    assert filled("/accounts/{id}/confirm", {"id": decoded(b"M\xfc ller")}) == "/accounts/M%FC%20ller/confirm"


@pytest.mark.parametrize("id_", ["..", ".", "%2e%2E", "..;a=1", "..%3Ba", ".%2e;"])
async def test_a_try_whose_calls_would_go_elsewhere_is_not_let_through(id_: str) -> None:
    """To the application ``/accounts/../confirm`` may be the call ``/confirm``, which nobody may ask for."""
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        status, body = told(await scene.ask(request(path=f"/accounts/{id_}/debit")))
        assert (status, body["reason"]) == (400, Reason.REQUEST_NOT_SUPPORTED)
        assert "id" in body["message"]
        assert not await branches(scene)
    assert seen == []


async def test_a_try_whose_calls_would_have_too_long_a_path_is_not_let_through() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        status, body = told(await scene.ask(request(path=f"/accounts/{'7' * 512}/debit")))
        assert (status, body["reason"]) == (413, Reason.REQUEST_TOO_LARGE)
        assert not await branches(scene)
    assert seen == []


@pytest.mark.parametrize(
    ("lost", "status", "reason"),
    [("join", 503, Reason.STORE_UNAVAILABLE), ("start", 503, Reason.STORE_UNAVAILABLE)],
)
async def test_what_is_not_durable_does_not_go_through(lost: str, status: int, reason: Reason) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        scene.store.starts_apart = True
        scene.store.lost_calls.add(lost)
        answer = told(await scene.ask(request()))
    assert (answer[0], answer[1]["reason"]) == (status, reason)
    assert seen == []


@pytest.mark.parametrize("apart", [False, True])
async def test_a_try_is_started_before_it_goes_through(apart: bool) -> None:  # noqa: FBT001  a table's column
    found: list[bool] = []

    async def note() -> None:
        found.extend(each.started for each in await branches(scene))

    async with staged(noting([], note)) as scene:
        await begun(scene)
        scene.store.starts_apart = apart
        await scene.ask(request())
    assert found == [True]


async def test_a_store_that_notes_both_in_one_step_is_not_asked_for_a_second() -> None:
    async with staged(answering([], OK)) as scene:
        await begun(scene)
        scene.store.lost_calls.add("start")
        assert (await scene.ask(request())).endswith(b"done")


async def test_a_try_for_an_xid_that_nobody_knows_is_refused() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        answer = told(await scene.ask(request()))
    assert (answer[0], answer[1]["reason"]) == (400, Reason.UNKNOWN_TRANSACTION)
    assert seen == []


async def test_a_try_that_comes_after_the_outcome_is_refused() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        await scene.store.decide(XID, Decision(Outcome.ROLLBACK, Reason.DEADLINE_EXCEEDED))
        answer = told(await scene.ask(request()))
    assert (answer[0], answer[1]["reason"]) == (409, Reason.ALREADY_DECIDED)
    assert seen == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_try_that_is_too_large_to_keep_is_refused_clearly(*, chunked: bool) -> None:
    seen: list[Seen] = []
    large = b"x" * (BODY_BYTES_MAX + 1)
    whole = request(body=large)
    if chunked:
        head = b"POST /accounts/7/debit HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n"
        whole = head + b"xid: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % str(XID).encode()
        whole += b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        status, body = told(await scene.ask(whole))
        assert (await branches(scene)) == ()
    assert (status, body["reason"]) == (413, Reason.REQUEST_TOO_LARGE)
    assert str(BODY_BYTES_MAX) in body["message"]
    assert seen == []


async def test_a_call_of_grpc_that_comes_over_http1_is_no_try() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        status, body = told(await scene.ask(request(XID, "Content-Type: application/grpc")))
        assert await branches(scene) == ()
    assert (status, body["reason"], seen) == (501, Reason.REQUEST_NOT_SUPPORTED, [])


async def test_a_try_of_exactly_the_limit_is_kept() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        assert b" 200 " in await scene.ask(request(body=b"x" * BODY_BYTES_MAX))
        (branch,) = await branches(scene)
    assert branch.calls is not None
    assert len(branch.calls.request.body) == BODY_BYTES_MAX


async def test_each_try_without_a_key_is_a_branch_of_its_own() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        for _ in range(2):
            await scene.ask(request())
        assert len(await branches(scene)) == len(seen) == 2


async def test_a_repeat_gets_the_first_one_s_answer_and_the_application_does_not_see_it() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        first = await scene.ask(request(XID, "Idempotency-Key: k1"))
        again = await scene.ask(request(XID, "Idempotency-Key: k1"))
        await scene.ask(request(XID, "Idempotency-Key: k2"))
        assert len(await branches(scene)) == len(seen) == 2
    for answer in (first, again):
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"X-Mine: 1" in answer
        assert answer.endswith(b"done")


@pytest.mark.parametrize("lines", [["a", "b"], ["a", "a"], [""], ["\xfc"]])
async def test_a_key_that_does_not_say_which_try_it_is_is_refused(lines: list[str]) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        status, body = told(await scene.ask(request(XID, *(f"Idempotency-Key: {each}" for each in lines))))
        assert not await branches(scene)
    assert (status, body["reason"]) == (400, Reason.REQUEST_NOT_SUPPORTED)
    assert "idempotency-key must be there once" in body["message"]
    assert seen == []


async def test_a_repeat_waits_for_the_first_one() -> None:
    seen: list[Seen] = []
    go = asyncio.Event()

    async def note() -> None:
        await go.wait()

    async with staged(noting(seen, note)) as scene:
        await begun(scene)
        asking = [asyncio.create_task(scene.ask(request(XID, "Idempotency-Key: k"))) for _ in range(3)]
        async with asyncio.timeout(10):
            while not seen or scene.proxy.under_way.count < 3:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.002)
        go.set()
        answers = await asyncio.gather(*asking)
    assert all(answer.endswith(b"done") for answer in answers)
    assert len(seen) == 1


async def test_a_repeat_that_takes_the_place_of_a_try_that_was_not_let_through_is_under_way() -> None:
    seen: list[Seen] = []
    under_way: list[bool] = []

    async def note() -> None:
        (branch,) = await branches(scene)
        under_way.append(scene.proxy.tries.under_way(branch.id))

    async with staged(noting(seen, note)) as scene:
        await begun(scene)
        scene.store.lost_calls.add("join")
        asking = [asyncio.create_task(scene.ask(request(XID, "Idempotency-Key: k"))) for _ in range(2)]
        done, (repeat,) = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        assert [told(each.result())[0] for each in done] == [503]
        scene.store.lost_calls.clear()
        assert (await repeat).endswith(b"done")
        (branch,) = await branches(scene)
        assert not scene.proxy.tries.under_way(branch.id)
    assert under_way == [True]


async def test_a_key_of_another_request_is_refused() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        await scene.ask(request(XID, "Idempotency-Key: k"))
        answer = told(await scene.ask(request(XID, "Idempotency-Key: k", body=b"31")))
    assert (answer[0], answer[1]["reason"]) == (422, Reason.TRY_REPEATED)
    assert len(seen) == 1


async def test_a_repeat_of_a_try_whose_answer_was_lost_is_refused_and_the_branch_stays() -> None:
    seen: list[Seen] = []

    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.close()

    async with staged(lose) as scene:
        await begun(scene)
        assert told(await scene.ask(request(XID, "Idempotency-Key: k")))[0] == 502
        status, body = told(await scene.ask(request(XID, "Idempotency-Key: k")))
        (branch,) = await branches(scene)
    assert (status, body["reason"]) == (409, Reason.TRY_REPEATED)
    assert len(seen) == 1
    assert branch.started


async def test_a_repeat_at_another_pod_is_refused() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as one, staged(answering(seen, OK), one.store) as other:
        await begun(one)
        await one.ask(request(XID, "Idempotency-Key: k"))
        status, body = told(await other.ask(request(XID, "Idempotency-Key: k")))
    assert (status, body["reason"]) == (409, Reason.TRY_REPEATED)
    assert "another pod" in body["message"]
    assert len(seen) == 1


class Rows:
    """The guard rows of an app whose first try was done, or not."""

    def __init__(self, *, done: bool) -> None:
        self._done = done
        self.asked: list[Guarded] = []

    async def done(self, call: Guarded) -> bool:
        self.asked.append(call)
        return self._done


@pytest.mark.parametrize(
    ("path", "operation"), [("/accounts/7/debit", Operation.TRY), ("/rooms/7/book", Operation.STEP)]
)
async def test_a_repeat_at_another_pod_is_done_if_its_guard_row_says_so(
    path: str, operation: Operation
) -> None:
    seen: list[Seen] = []
    rows = Rows(done=True)
    wanted = request(XID, "Idempotency-Key: k", path=path)
    async with staged(answering(seen, OK)) as one, staged(answering(seen, OK), one.store, rows=rows) as other:
        await begun(one)
        await one.ask(wanted)
        for _ in range(2):
            assert (await other.ask(wanted)).startswith(b"HTTP/1.1 200 OK")
        (branch,) = await branches(one)
    assert rows.asked == [Guarded.of(branch.id, operation)]  # then its answer is remembered
    assert len(seen) == 1
    assert bool(branch.completed) == (operation is Operation.STEP)


async def test_a_repeat_of_a_try_whose_answer_was_lost_is_done_if_its_guard_row_says_so() -> None:
    seen: list[Seen] = []

    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.close()

    async with staged(lose, rows=Rows(done=True)) as scene:
        await begun(scene)
        assert told(await scene.ask(request(XID, "Idempotency-Key: k")))[0] == 502
        assert (await scene.ask(request(XID, "Idempotency-Key: k"))).startswith(b"HTTP/1.1 200 OK")
    assert len(seen) == 1


async def test_a_repeat_of_which_no_guard_row_says_that_it_was_done_is_refused() -> None:
    seen: list[Seen] = []
    rows = Rows(done=False)
    async with staged(answering(seen, OK)) as one, staged(answering(seen, OK), one.store, rows=rows) as other:
        await begun(one)
        await one.ask(request(XID, "Idempotency-Key: k"))
        status, body = told(await other.ask(request(XID, "Idempotency-Key: k")))
    assert (status, body["reason"]) == (409, Reason.TRY_REPEATED)
    assert len(rows.asked) == len(seen) == 1


async def test_a_repeat_is_not_called_done_once_the_outcome_is_taken() -> None:
    rows = Rows(done=True)
    async with staged(answering([], OK)) as one, staged(answering([], OK), one.store, rows=rows) as other:
        await begun(one)
        await one.ask(request(XID, "Idempotency-Key: k"))
        await one.store.decide(XID, Decision(Outcome.ROLLBACK, Reason.DECIDED_BY_PERSON))
        status, body = told(await other.ask(request(XID, "Idempotency-Key: k")))
    assert (status, body["reason"]) == (409, Reason.ALREADY_DECIDED)
    assert not rows.asked


async def test_a_repeat_of_another_request_is_refused_whatever_its_guard_row_says() -> None:
    rows = Rows(done=True)
    async with staged(answering([], OK)) as one, staged(answering([], OK), one.store, rows=rows) as other:
        await begun(one)
        await one.ask(request(XID, "Idempotency-Key: k"))
        status, _ = told(await other.ask(request(XID, "Idempotency-Key: k", body=b"31")))
    assert (status, rows.asked) == (422, [])


async def test_what_is_remembered_is_bounded() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        known = scene.proxy.tries._known
        for number in range(REMEMBERED_MAX + 1):
            async with scene.proxy.tries.let_through(XID, DEBIT, "/accounts/7/debit", Request(), str(number)):
                pass
        assert len(known) <= REMEMBERED_MAX


async def test_a_request_can_begin_a_transaction_and_be_its_first_branch() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        assert b" 200 " in await scene.ask(request(None))
        (transaction,) = scene.store.begun
        (branch,) = await branches(scene, transaction.xid)
    assert scene.store.decided[transaction.xid].outcome is Outcome.COMMIT
    assert (branch.started, branch.outcome) == (True, Outcome.COMMIT)


async def test_a_request_that_begins_and_cannot_be_kept_begins_nothing() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        assert told(await scene.ask(request(None, body=b"x" * (BODY_BYTES_MAX + 1))))[0] == 413
    assert (scene.store.begun, seen) == ([], [])


async def called(scene: Scene, outcome: Outcome, attempt: int = 1) -> int | Finding:
    await scene.store.decide(XID, Decision(outcome, Reason.REQUEST_SUCCEEDED))
    (branch,) = await branches(scene)
    duty = tcc.duty(branch)
    assert isinstance(duty, Call)
    return await scene.caller.call(branch.id, duty, attempt)


@pytest.mark.parametrize(
    ("outcome", "word", "path"),
    [(Outcome.COMMIT, "confirm", "/accounts/7/confirm"), (Outcome.ROLLBACK, "cancel", "/accounts/7/cancel")],
)
async def test_the_calls_repeat_the_try(outcome: Outcome, word: str, path: str) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        await scene.ask(request(XID, "Content-Type: text/plain", "Cookie: secret"))
        assert await called(scene, outcome, attempt=3) == 200
        (branch,) = await branches(scene)
    call = seen[1]
    assert call.head.startswith(f"POST {path}?a=1 HTTP/1.1\r\n")
    assert call.body == b"30"
    expected = {
        "content-type": ["text/plain"],
        "cookie": [],
        "globaltx-xid": [str(XID)],
        "x-dbpack-xid": [str(XID)],
        "globaltx-branch": [branch.id.name],
        "globaltx-operation": [word],
        "globaltx-attempt": ["3"],
    }
    assert {name: call.header(name) for name in expected} == expected


async def test_no_cancel_overtakes_a_try_that_is_under_way_here() -> None:
    seen: list[Seen] = []
    go = asyncio.Event()

    async def note() -> None:
        if len(seen) == 1:
            await go.wait()

    async with staged(noting(seen, note)) as scene:
        await begun(scene)
        asking = asyncio.create_task(scene.ask(request()))
        async with asyncio.timeout(10):
            while not seen:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.002)
        with pytest.raises(CallFailedError, match="still under way"):
            await called(scene, Outcome.ROLLBACK)
        go.set()
        await asking
        assert await called(scene, Outcome.ROLLBACK) == 200


async def test_a_mandatory_route_refuses_an_xid_that_nobody_knows() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        status, body = told(await scene.ask(request(path="/strict")))
        assert (status, body["reason"]) == (400, Reason.UNKNOWN_TRANSACTION)
        await begun(scene)
        assert b" 200 " in await scene.ask(request(path="/strict"))
        status, body = told(await scene.ask(request(None, path="/strict")))
        assert (status, body["reason"]) == (400, Reason.XID_REQUIRED)
        status, body = told(await scene.ask(request(path="/never")))
        assert (status, body["reason"]) == (400, Reason.XID_NOT_ALLOWED)
    assert len(seen) == 1


CARRIERS = ("globaltx-xid", "x-dbpack-xid", "xid", "baggage")


@pytest.mark.parametrize(("path", "edge"), [("/alone", False), ("/elsewhere", True)])
async def test_an_xid_that_must_go_no_further_is_taken_out_of_every_header(path: str, *, edge: bool) -> None:
    seen: list[Seen] = []
    lines = (f"globaltx-xid: {XID}", f"x-dbpack-xid: {XID}", f"baggage: a=1,globaltx-xid={XID}")
    async with staged(answering(seen, OK), edge=edge) as scene:
        await scene.ask(request(XID, *lines, path=path))
    assert [seen[0].header(name) for name in CARRIERS] == [[], [], [], ["a=1"]]


@pytest.mark.parametrize("path", ["/create", "/elsewhere"])
async def test_at_the_edge_no_call_of_a_transaction_is_believed_in_any_spelling(path: str) -> None:
    seen: list[Seen] = []
    guard = f"{XID}/debit-1/confirm"
    lines = (f"globaltx-guard: {guard}", f"Globaltx_Guard: {guard}", f"globaltx_xid: {XID}", "my_own: 1")
    async with staged(answering(seen, OK), edge=True) as scene:
        await scene.ask(request(None, *lines, f"X_DBPACK-XID: {XID}", path=path))
    (found,) = seen
    assert str(XID) not in found.head
    assert found.header("my_own") == ["1"]


@pytest.mark.parametrize(("path", "edge"), [("/new", False), ("/create", True)])
async def test_a_new_transaction_takes_the_place_of_the_one_that_came_in(path: str, *, edge: bool) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK), edge=edge) as scene:
        await scene.ask(request(path=path))
        (transaction,) = scene.store.begun
    assert transaction.xid != XID
    assert seen[0].header("xid") == []
    assert seen[0].header("globaltx-xid") == [str(transaction.xid)]
    assert scene.store.decided[transaction.xid].outcome is Outcome.COMMIT


async def test_an_undecided_branch_is_where_it_was() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, b"HTTP/1.1 409 No\r\nContent-Length: 0\r\n\r\n")) as scene:
        await begun(scene)
        assert b" 409 " in await scene.ask(request())
        (branch,) = await branches(scene)
    assert (branch.started, branch.state) == (True, State.ACTIVE)


async def answered_when(finding: Finding, answer: bytes) -> bytes:
    """Ask a try of whose guard row the application's work finds that out."""

    async def note() -> None:
        (branch,) = await branches(scene)
        scene.guards.found(Guarded.of(branch.id, Operation.TRY), finding)

    async with staged(noting([], note, answer)) as scene:
        await begun(scene)
        return await scene.ask(request())


async def test_a_try_that_was_done_before_is_answered_as_done_whatever_the_application_says() -> None:
    answer = await answered_when(Finding.REPEATED, ERROR)
    assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_a_try_that_was_done_before_and_is_answered_well_gets_that_answer() -> None:
    answer = await answered_when(Finding.REPEATED, OK)
    assert answer.endswith(b"done")


@pytest.mark.parametrize("answer", [OK, ERROR])
async def test_a_try_that_came_late_is_refused_whatever_the_application_says(answer: bytes) -> None:
    status, body = told(await answered_when(Finding.LATE, answer))
    assert (status, body["reason"]) == (409, Reason.ALREADY_DECIDED)


@pytest.mark.parametrize("finding", [Finding.REPEATED, Finding.EMPTY])
async def test_a_call_that_its_guard_row_knows_is_done_whatever_is_answered(finding: Finding) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await begun(scene)
        await scene.ask(request())
        (branch,) = await branches(scene)
        scene.guards.found(Guarded.of(branch.id, Operation.CONFIRM), finding)
        assert await called(scene, Outcome.COMMIT) is finding
        assert await called(scene, Outcome.COMMIT) == 200  # it is told once
    assert [each.header("globaltx-guard") for each in seen] == [
        [f"{XID}/{branch.id.name}/try"],
        *[[f"{XID}/{branch.id.name}/confirm"]] * 2,
    ]
