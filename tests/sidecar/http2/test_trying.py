"""Unary calls of gRPC as tries and steps: kept, registered, called again; by a real client and server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from multidict import CIMultiDict

from globaltx.coordinator.policy import Propagation, Route, Saga, Tcc
from globaltx.coordinator.reasons import Reason
from globaltx.modes import saga, tcc
from globaltx.modes.guard_row import Finding, Guarded
from globaltx.modes.tcc import Call, Operation
from globaltx.transaction.calls import BODY_BYTES_MAX
from globaltx.transaction.model import Decision, Mode
from globaltx.transaction.states import Outcome
from globaltx_sidecar.branch.call_desk import CallFailedError
from globaltx_sidecar.http.filter import Filter
from globaltx_sidecar.http.tries import Answered
from globaltx_sidecar.http2.metadata import is_one_message
from globaltx_sidecar.http2.outbox import Data, Head
from globaltx_sidecar.http2.trying import sent
from tests.sidecar.eventually import eventually
from tests.sidecar.http.scene import FaultyStore
from tests.sidecar.http2.scene import (
    CARRIED,
    TIMEOUT,
    XID,
    GrpcScene,
    Hangs,
    bank,
    branch_of,
    fails,
    fine,
    known,
    silence,
)

if TYPE_CHECKING:
    from globaltx.transaction.model import Branch

DEBIT = Route(
    "debit",
    path="/bank/Debit",
    propagation=Propagation.MANDATORY,
    timeout=TIMEOUT,
    tcc=Tcc("/bank/ConfirmDebit", "/bank/CancelDebit", headers=("x-kept",)),
)
BOOK = Route("book", path="/bank/Book", timeout=TIMEOUT, saga=Saga("/bank/Unbook"))
BEGINS = Route("begins", path="/bank/Begins", tcc=Tcc("/bank/Confirm", "/bank/Cancel"))
ROUTES = Filter([DEBIT, BOOK])
OK = grpc.StatusCode.OK


class Rows:
    """Guard rows by which the first try was done."""

    async def done(self, _: Guarded) -> bool:
        return True


async def called(scene: GrpcScene, outcome: Outcome, attempt: int = 1) -> int | Finding:
    """Make the call that an outcome asks for, as the leader does."""
    branch = replace(await branch_of(scene), outcome=outcome)
    duty = (saga if branch.mode is Mode.SAGA else tcc).duty(branch)
    assert isinstance(duty, Call)
    return await scene.http.caller.call(branch.id, duty, attempt)


async def test_a_try_is_durable_before_the_application_sees_it_and_is_kept_whole() -> None:
    found: list[Branch] = []

    async def notes(request: bytes, _: Any) -> bytes:
        found.append(await branch_of(scenes[0]))
        return request

    scenes: list[GrpcScene] = []
    async with bank(notes, ROUTES, store=await known()) as scene:
        scenes.append(scene)
        answered = await scene.call("Debit", b"thirty", CARRIED, ("x-kept", "a"), ("x-lost", "b"))
    assert (answered.code, answered.answer) == (OK, b"thirty")
    (branch,) = found
    calls = branch.calls
    assert calls is not None
    assert (branch.mode, branch.started) == (Mode.TCC, True)
    assert (calls.on_commit, calls.on_rollback) == ("/bank/ConfirmDebit", "/bank/CancelDebit")
    assert calls.request.body == b"\0" + len(b"thirty").to_bytes(4, "big") + b"thirty"
    assert dict(calls.request.headers) == {"x-kept": "a", "content-type": "application/grpc"}
    seen = scene.bank.seen[0]
    assert seen["globaltx-xid"] == str(XID)
    assert seen["globaltx-branch"] == branch.id.name
    assert (seen["globaltx-operation"], seen["globaltx-attempt"]) == ("try", "1")
    assert seen["globaltx-guard"] == f"{XID}/{branch.id.name}/try"


@pytest.mark.parametrize(
    ("method", "outcome", "path", "operation"),
    [
        ("Debit", Outcome.COMMIT, "ConfirmDebit", "confirm"),
        ("Debit", Outcome.ROLLBACK, "CancelDebit", "cancel"),
        ("Book", Outcome.ROLLBACK, "Unbook", "compensate"),
    ],
)
async def test_the_calls_are_of_grpc_with_the_same_message(
    method: str, outcome: Outcome, path: str, operation: str
) -> None:
    messages: list[bytes] = []

    async def notes(request: bytes, _: Any) -> bytes:
        messages.append(request)
        return request

    async with bank(notes, ROUTES, store=await known()) as scene:
        await scene.call(method, bytes(range(256)), CARRIED, ("x-kept", "a"))
        assert await called(scene, outcome, attempt=3) == 0
    assert messages == [bytes(range(256))] * 2
    assert scene.bank.methods[-1] == f"/bank/{path}"
    seen, first = scene.bank.seen[-1], scene.bank.seen[0]
    assert seen["globaltx-branch"] == first["globaltx-branch"]
    assert seen["globaltx-xid"] == str(XID)
    assert (seen["globaltx-operation"], seen["globaltx-attempt"]) == (operation, "3")
    assert seen["globaltx-guard"].endswith(f"/{operation}")
    assert seen.get("x-kept") == ("a" if method == "Debit" else None)


async def test_a_compressed_message_can_be_read_again() -> None:
    messages: list[bytes] = []

    async def notes(request: bytes, _: Any) -> bytes:
        messages.append(request)
        return request

    async with bank(notes, ROUTES, store=await known()) as scene:
        call = scene.channel.unary_unary("/bank/Debit")
        await call(b"x" * 5000, metadata=[CARRIED], compression=grpc.Compression.Gzip, timeout=10)
        calls = (await branch_of(scene)).calls
        assert calls is not None
        assert len(calls.request.body) < 1000
        assert await called(scene, Outcome.COMMIT) == 0
    assert messages == [b"x" * 5000] * 2


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=str)
async def test_a_call_is_known_by_its_grpc_status(code: grpc.StatusCode) -> None:
    async def answers(request: bytes, context: Any) -> bytes:
        if (
            request == b"fine"
            and scenes[0].bank.methods[-1].endswith("Debit")
            and len(scenes[0].bank.seen) == 1
        ):
            return request
        if code is not OK:
            await context.abort(code, "so it is")
        return request

    scenes: list[GrpcScene] = []
    async with bank(answers, ROUTES, store=await known()) as scene:
        scenes.append(scene)
        await scene.call("Debit", b"ten", CARRIED)
        assert await called(scene, Outcome.COMMIT) == code.value[0]


async def test_what_gives_no_answer_to_a_call_is_called_again() -> None:
    hasty = replace(DEBIT, tcc=Tcc("/bank/Confirm", "/bank/Cancel", timeout=timedelta(milliseconds=200)))
    async with silence() as address, bank(routes=Filter([hasty]), store=await known()) as scene:
        await scene.call("Debit", b"", CARRIED)
        scene.http.proxy.upstream.address = address
        with pytest.raises(CallFailedError, match="did not answer within"):
            await called(scene, Outcome.COMMIT)
        scene.http.proxy.upstream.address = "127.0.0.1:1"
        with pytest.raises(CallFailedError, match="gave no answer"):
            await called(scene, Outcome.COMMIT)


async def test_an_application_that_no_longer_speaks_http2_is_told_of() -> None:
    async def speaks_http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(speaks_http1, "127.0.0.1", 0)
    async with server, bank(routes=ROUTES, store=await known()) as scene:
        await scene.call("Debit", b"", CARRIED)
        scene.http.proxy.upstream.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(CallFailedError, match="speaks no HTTP/2"):
            await called(scene, Outcome.COMMIT)


async def test_no_cancel_overtakes_a_try_that_is_under_way_here() -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def waits(request: bytes, _: Any) -> bytes:
        arrived.set()
        await go.wait()
        return request

    async with bank(waits, ROUTES, store=await known()) as scene:
        asking = asyncio.create_task(scene.call("Debit", b"", CARRIED))
        await arrived.wait()
        with pytest.raises(CallFailedError, match="still under way"):
            await called(scene, Outcome.ROLLBACK)
        go.set()
        assert (await asking).code is OK
        assert await called(scene, Outcome.ROLLBACK) == 0


@pytest.mark.parametrize(
    ("lost", "code"), [("join", grpc.StatusCode.UNAVAILABLE), ("start", grpc.StatusCode.UNAVAILABLE)]
)
async def test_what_is_not_durable_does_not_go_through(lost: str, code: grpc.StatusCode) -> None:
    store = await known()
    store.starts_apart = lost == "start"
    store.lost_calls.add(lost)
    async with bank(routes=ROUTES, store=store) as scene:
        answered = await scene.call("Debit", b"", CARRIED)
    assert (answered.code, "StoreUnavailable" in answered.details) == (code, True)
    assert scene.bank.seen == []


async def test_a_try_that_comes_after_the_outcome_is_refused() -> None:
    store = await known()
    await store.decide(XID, Decision(Outcome.ROLLBACK, Reason.DECIDED_BY_PERSON))
    async with bank(routes=ROUTES, store=store) as scene:
        answered = await scene.call("Debit", b"", CARRIED)
        unknown = await scene.call("Debit", b"", ("xid", "shop.nobody"))
        without = await scene.call("Debit", b"")
    assert (answered.code, "AlreadyDecided" in answered.details) == (grpc.StatusCode.ABORTED, True)
    assert unknown.code is without.code is grpc.StatusCode.INVALID_ARGUMENT
    assert scene.bank.seen == []


async def test_a_try_that_fails_is_a_branch_and_its_answer_is_given() -> None:
    async with bank(fails, ROUTES, store=await known()) as scene:
        for method in ("Debit", "Book"):
            answered = await scene.call(method, b"money", CARRIED)
            assert (answered.code, answered.details) == (grpc.StatusCode.FAILED_PRECONDITION, "no money")
        branches = (await scene.store.read(XID)).branches
    assert [(each.started, each.completed) for each in branches] == [(True, 0)] * 2


async def test_a_step_has_its_place_before_its_answer_is_given() -> None:
    store = await known()
    async with bank(routes=ROUTES, store=store) as scene:
        assert (await scene.call("Book", b"", CARRIED)).code is OK
        assert (await branch_of(scene)).completed == 1
        store.lost_calls.add("complete")
        answered = await scene.call("Book", b"", CARRIED)
    assert answered.code is grpc.StatusCode.UNAVAILABLE
    assert "its place is not known" in answered.details


@pytest.mark.parametrize("size", [BODY_BYTES_MAX - 5, BODY_BYTES_MAX - 4, 10 * BODY_BYTES_MAX])
async def test_what_can_be_kept_goes_through_and_what_cannot_is_refused(size: int) -> None:
    async with bank(routes=ROUTES, store=await known()) as scene:
        answered = await scene.call("Debit", bytes(size), CARRIED)
        await eventually(lambda: scene.http.proxy.under_way.count == 0)
        if size == BODY_BYTES_MAX - 5:
            assert (answered.code, answered.answer) == (OK, bytes(size))
            assert await called(scene, Outcome.COMMIT) == 0  # its message is larger than a window
            return
    assert answered.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(BODY_BYTES_MAX) in answered.details
    assert scene.bank.seen == []


async def test_many_large_tries_on_one_connection_go_through() -> None:
    async with bank(routes=ROUTES, store=await known()) as scene:
        asking = (scene.call("Debit", bytes(60_000), CARRIED, within=60) for _ in range(100))
        assert {each.code for each in await asyncio.gather(*asking)} == {OK}


async def test_a_stream_of_messages_is_no_try() -> None:
    async def several() -> Any:
        for each in (b"one", b"two"):
            yield each

    async with bank(routes=ROUTES, store=await known()) as scene:
        call = scene.channel.stream_unary("/bank/Debit")(several(), metadata=[CARRIED])
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "unary" in (await call.details() or "")
    assert scene.bank.seen == []


async def test_two_keys_do_not_say_which_try_it_is() -> None:
    keys = ("idempotency-key", "a"), ("idempotency-key", "b")
    async with bank(fine, ROUTES, store=await known()) as scene:
        called = await scene.call("Debit", b"ten", CARRIED, *keys)
    assert (called.code, scene.bank.seen) == (grpc.StatusCode.INVALID_ARGUMENT, [])
    assert "must be there once" in called.details


async def test_a_repeat_gets_the_first_one_s_answer_and_the_application_does_not_see_it() -> None:
    async with bank(fine, ROUTES, store=await known()) as scene:
        given = [await scene.call("Debit", b"ten", CARRIED, ("idempotency-key", "k")) for _ in range(3)]
        other = await scene.call("Debit", b"nine", CARRIED, ("idempotency-key", "k"))
    assert [(each.code, each.answer, each.trailing.get("x-trailer")) for each in given] == [
        (OK, b"ten", "1")
    ] * 3
    assert (len(scene.bank.seen), "another request" in other.details) == (1, True)


async def test_a_repeat_of_a_try_that_failed_fails_in_the_same_way() -> None:
    async with bank(fails, ROUTES, store=await known()) as scene:
        given = [await scene.call("Debit", b"ten", CARRIED, ("idempotency-key", "k")) for _ in range(2)]
    assert {(each.code, each.details) for each in given} == {(grpc.StatusCode.FAILED_PRECONDITION, "no ten")}
    assert len(scene.bank.seen) == 1


async def test_a_repeat_at_another_pod_is_done_if_its_guard_row_says_so() -> None:
    store, key = await known(), ("idempotency-key", "k")
    async with bank(routes=ROUTES, store=store) as one, bank(routes=ROUTES, store=store) as other:
        await one.call("Debit", b"ten", CARRIED, key)
        refused = await other.call("Debit", b"ten", CARRIED, key)
        other.http.proxy.tries._rows = Rows()
        answered = await other.call("Debit", b"ten", CARRIED, key)
    assert (refused.code, "TryRepeated" in refused.details) == (grpc.StatusCode.ABORTED, True)
    assert (answered.code, answered.answer) == (OK, b"")
    assert other.bank.seen == []


@pytest.mark.parametrize(
    ("does", "finding", "code"),
    [
        (fails, Finding.REPEATED, OK),
        (fine, Finding.REPEATED, OK),
        (fails, Finding.LATE, grpc.StatusCode.ABORTED),
        (fine, Finding.LATE, grpc.StatusCode.ABORTED),
    ],
)
async def test_what_a_guard_row_says_of_a_try_stands_above_its_answer(
    does: Any, finding: Finding, code: grpc.StatusCode
) -> None:
    async def told(request: bytes, context: Any) -> bytes:
        guards = scenes[0].http.guards
        guards.found(Guarded.of((await branch_of(scenes[0])).id, Operation.TRY), finding)
        return bytes(await does(request, context))

    scenes: list[GrpcScene] = []
    async with bank(told, ROUTES, store=await known()) as scene:
        scenes.append(scene)
        assert (await scene.call("Debit", b"ten", CARRIED)).code is code


async def test_a_client_that_gives_up_leaves_a_branch_and_tells_the_application() -> None:
    hangs = Hangs()
    async with bank(hangs, ROUTES, store=await known()) as scene:
        call = scene.channel.unary_unary("/bank/Debit")(b"", metadata=[CARRIED])
        await hangs.arrived.wait()
        call.cancel()
        await asyncio.wait_for(hangs.cancelled.wait(), 10)
        await eventually(lambda: scene.http.proxy.under_way.count == 0)
        branch = await branch_of(scene)
        await eventually(lambda: not scene.http.proxy.tries.under_way(branch.id))
    assert branch.started


async def test_a_client_that_gives_up_before_its_branch_is_durable_is_not_passed_on() -> None:
    joining, go = asyncio.Event(), asyncio.Event()

    class Slow(FaultyStore):
        async def join(self, *args: Any, **kwargs: Any) -> Branch:
            joining.set()
            await go.wait()
            return await super().join(*args, **kwargs)

    async with bank(routes=ROUTES, store=await known(Slow())) as scene:
        call = scene.channel.unary_unary("/bank/Debit")(b"", metadata=[CARRIED])
        await joining.wait()
        call.cancel()
        await eventually(lambda: scene.http.proxy.under_way.count == 0)
        go.set()
        with suppress(asyncio.CancelledError):
            await call
        assert (await scene.call("Debit", b"", CARRIED)).code is OK
    assert len(scene.bank.seen) == 1


async def test_the_route_s_time_ends_a_try() -> None:
    hasty = Filter([replace(DEBIT, timeout=timedelta(milliseconds=300))])
    async with bank(Hangs(), hasty, store=await known()) as scene:
        answered = await scene.call("Debit", b"", CARRIED)
        await eventually(lambda: scene.http.proxy.under_way.count == 0)
    assert (answered.code, "0.3 s" in answered.details) == (grpc.StatusCode.DEADLINE_EXCEEDED, True)


async def test_what_says_of_the_try_alone_how_it_goes_on_its_way_is_not_repeated() -> None:
    named = replace(DEBIT, tcc=Tcc("/bank/Confirm", "/bank/Cancel", headers=("te", "grpc-timeout", "x-kept")))
    async with bank(routes=Filter([named]), store=await known()) as scene:
        await scene.call("Debit", b"", CARRIED, ("x-kept", "a"))
        assert await called(scene, Outcome.COMMIT) == 0
    assert scene.bank.seen[1]["x-kept"] == "a"


@pytest.mark.parametrize(
    ("answer", "items"),
    [
        (
            Answered(200, "", CIMultiDict({":status": "503"}), b"away"),
            [Head([(b":status", b"503")]), Data(b"away", end=True)],
        ),
        (
            Answered(200, "", CIMultiDict({":status": "200", "grpc-status": "9"}), b""),
            [Head([(b":status", b"200"), (b"grpc-status", b"9")], end=True)],
        ),
    ],
)
def test_an_answer_that_was_none_of_grpc_is_not_given_again_as_done(
    answer: Answered, items: list[Head | Data]
) -> None:
    assert sent(answer) == items


@pytest.mark.parametrize(
    ("body", "is_one"),
    [
        (b"", False),
        (b"\0\0\0\0", False),
        (b"\0\0\0\0\0", True),
        (b"\1\0\0\0\2ab", True),
        (b"\0\0\0\0\2a", False),
        (b"\0\0\0\0\1ab", False),
        (b"\0\0\0\0\0" * 2, False),
    ],
)
def test_one_message_is_told_from_none_and_from_several(body: bytes, is_one: bool) -> None:  # noqa: FBT001
    assert is_one_message(body) is is_one
