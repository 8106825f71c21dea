"""Requests with ids of their own through a real proxy: passed on once, answered each time."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid, xid_of_request
from globaltx_sidecar.http.tries import ANSWER_BYTES_MAX
from tests.sidecar.http.scene import FaultyStore, Seen, answering, read_request, staged

if TYPE_CHECKING:
    from tests.sidecar.http.scene import Application

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Mine: 1\r\n\r\ndone"
FAILED = b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno"


def request(*lines: str, body: bytes = b"30") -> bytes:
    head = ["POST /once HTTP/1.1", "Host: shop", "Connection: close", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, *lines, "", ""]).encode() + body


NAMED = request("Idempotency-Key: order-7")


def told(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def xid_in(answer: bytes) -> str:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return next(line.partition(": ")[2] for line in lines if line.lower().startswith("globaltx-xid"))


class Slow:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.came, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen.append(await read_request(reader))
        self.came.set()
        await self.go.wait()
        writer.write(OK)
        writer.close()


@pytest.mark.parametrize(("answer", "outcome"), [(OK, Outcome.COMMIT), (FAILED, Outcome.ROLLBACK)])
async def test_a_repeat_is_the_same_transaction_and_gets_its_answer(answer: bytes, outcome: Outcome) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, answer)) as scene:
        first, second = await scene.ask(NAMED), await scene.ask(NAMED)
    assert len(seen) == len(scene.store.begun) == 1
    assert xid_in(first) == xid_in(second) == str(scene.store.begun[0].xid)
    assert first.split(b"\r\n")[0] == second.split(b"\r\n")[0]
    assert first.rpartition(b"\r\n\r\n")[2] == second.rpartition(b"\r\n\r\n")[2]
    assert (b"X-Mine: 1" in second) == (answer is OK)
    assert [each.outcome for each in scene.store.decided.values()] == [outcome]


async def test_another_id_another_caller_and_no_id_are_other_requests() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        for lines in (
            ["Idempotency-Key: order-7"],
            ["Idempotency-Key: order-8"],
            ["Idempotency-Key: order-7", "Authorization: Bearer somebody"],
            [],
            [],
        ):
            await scene.ask(request(*lines))
    assert len(seen) == len({each.xid for each in scene.store.begun}) == 5


@pytest.mark.parametrize("header", ["Authorization", "Proxy-Authorization", "Cookie", "X-API-Key", "API-Key"])
async def test_nobody_gets_the_answer_of_another_caller(header: str) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        for caller in ("kim", "lee", "kim"):
            await scene.ask(request("Idempotency-Key: order-7", f"{header}: {caller}"))
    assert [each.header(header) for each in seen] == [["kim"], ["lee"]]


async def test_a_repeat_waits_for_the_first() -> None:
    slow = Slow()
    async with staged(slow) as scene:
        first = asyncio.create_task(scene.ask(NAMED))
        await slow.came.wait()
        second = asyncio.create_task(scene.ask(NAMED))
        done, _ = await asyncio.wait({second}, timeout=0.05)
        assert not done
        slow.go.set()
        assert (await first).endswith(b"done")
        assert (await second).endswith(b"done")
    assert len(slow.seen) == 1


async def test_who_hangs_up_and_repeats_gets_the_answer_all_the_same() -> None:
    slow = Slow()
    async with staged(slow) as scene:
        _, writer = await scene.connect()
        writer.write(NAMED)
        await slow.came.wait()
        writer.transport.abort()
        slow.go.set()
        assert (await scene.ask(NAMED)).endswith(b"done")
    assert len(slow.seen) == 1


@pytest.mark.parametrize(
    ("lines", "body", "status"),
    [
        (["Idempotency-Key: order-7"], b"31 or more", 422),
        (["Idempotency-Key: order-7", "Content-Type: text/plain"], b"30", 422),
        (["Idempotency-Key: "], b"30", 400),
        (["Idempotency-Key: a", "Idempotency-Key: b"], b"30", 400),
        ([f"Idempotency-Key: {'a' * 256}"], b"30", 400),
    ],
)
async def test_a_wrong_id_is_refused(lines: list[str], body: bytes, status: int) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await scene.ask(NAMED)
        assert told(await scene.ask(request(*lines, body=body)))[0] == status
    assert len(seen) == 1


@pytest.mark.parametrize(("answer", "outcome"), [(OK, "Commit"), (FAILED, "Rollback")])
async def test_another_pod_passes_nothing_on_and_tells_the_outcome(answer: bytes, outcome: str) -> None:
    """Two proxies over one store: so it is after a restart, too."""
    seen: list[Seen] = []
    store = FaultyStore()
    async with staged(answering(seen, answer), store) as one, staged(answering(seen, answer), store) as other:
        await one.ask(NAMED)
        status, body = told(await other.ask(NAMED))
    assert (status, body["reason"], body["outcome"]) == (409, Reason.REQUEST_REPEATED, outcome)
    assert body["xid"] == str(store.begun[0].xid)
    assert len(seen) == 1


async def test_of_one_under_way_elsewhere_it_is_told() -> None:
    slow: Slow = Slow()
    application: Application = slow
    store = FaultyStore()
    async with staged(application, store) as one, staged(answering(slow.seen, OK), store) as other:
        first = asyncio.create_task(one.ask(NAMED))
        await slow.came.wait()
        status, body = told(await other.ask(NAMED))
        slow.go.set()
        await first
    assert (status, body["reason"], body["outcome"]) == (409, Reason.REQUEST_REPEATED, None)
    assert len(slow.seen) == 1


async def test_what_was_not_begun_is_not_let_through_and_may_be_sent_again() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        scene.store.lost_calls.add("begin")
        status, body = told(await scene.ask(NAMED))
        assert (status, body["reason"], seen) == (503, Reason.STORE_UNAVAILABLE, [])
        scene.store.lost_calls.clear()
        assert (await scene.ask(NAMED)).endswith(b"done")
    assert len(seen) == 1


async def test_an_answer_that_is_too_large_to_keep_is_told_by_its_outcome() -> None:
    seen: list[Seen] = []
    size = ANSWER_BYTES_MAX + 1
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (size, b"x" * size)
    async with staged(answering(seen, large)) as scene:
        assert (await scene.ask(NAMED)).endswith(b"xxx")
        status, body = told(await scene.ask(NAMED))
    assert (status, body["reason"], body["outcome"]) == (409, Reason.REQUEST_REPEATED, "Commit")
    assert len(seen) == 1


def test_an_xid_of_a_request_tells_every_part_from_every_other() -> None:
    one = xid_of_request("shop", "order", "create", "kim", "7")
    assert one == xid_of_request("shop", "order", "create", "kim", "7")
    others = {
        xid_of_request("other", "order", "create", "kim", "7"),
        xid_of_request("shop", "orders", "create", "kim", "7"),
        xid_of_request("shop", "order", "change", "kim", "7"),
        xid_of_request("shop", "order", "create", "lee", "7"),
        xid_of_request("shop", "order", "create", "kim", "8"),
    }
    assert len({one, *others}) == 6
    assert Xid.parse(str(one)) == one
