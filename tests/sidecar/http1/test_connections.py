"""The way to the application and back, by raw bytes at a raw application behind a real proxy."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.states import Outcome
from globaltx_sidecar.http import upstream
from globaltx_sidecar.http1 import pool
from globaltx_sidecar.http1.heads import HEADERS_MAX
from tests.sidecar.eventually import eventually
from tests.sidecar.http.scene import Scene, Seen, read_request, staged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECONDS = 10.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody"
CREATE = b"POST /create HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
MUCH = 64 * 1024 * 1024


class Shop:
    """An application that answers each request by the next of its answers; closes where there is none."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.seen: list[Seen] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.seen.append(await read_request(reader))
                if not self.answers:
                    return
                writer.write(self.answers.pop(0))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def asking(scene: Scene) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await scene.connect()
    try:
        async with asyncio.timeout(SECONDS):
            yield reader, writer
    finally:
        writer.transport.abort()


async def answered(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A head, and a body of its length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await reader.readexactly(int(length.partition(b":")[2]))


def refused(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    told: dict[str, Any] = json.loads(body)
    return int(head.split()[1]), told


@pytest.mark.parametrize("request_", [LAST, CREATE], ids=["passed on", "begins"])
async def test_trailers_of_an_answer_reach_the_client(request_: bytes) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
    shop = Shop(chunked + b"2\r\nok\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\nHost: no\r\n\r\n")
    async with staged(shop) as scene:
        answer = await scene.ask(request_.replace(b"Host: shop", b"Host: shop\r\nTE: deflate, trailers"))
    assert answer.endswith(b"2\r\nok\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n")
    assert b"\r\ntrailer: x-sum\r\n" in answer.lower()
    assert (shop.seen[0].header("te"), shop.seen[0].header("connection")) == (["trailers"], ["TE"])


async def test_a_client_without_chunks_gets_no_trailers() -> None:
    shop = Shop(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")
    async with staged(shop) as scene:
        answer = await scene.ask(LAST.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert answer.endswith(b"\r\n\r\nok")


async def test_what_is_announced_reaches_the_client_before_the_answer() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    shop = Shop(early + OK, early + OK)
    async with staged(shop) as scene:
        answer = await scene.ask(LAST)
        old = await scene.ask(LAST.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert old.startswith(b"HTTP/1.0 200 OK\r\n")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 101 Now\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "nobody asked for"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
            "Transfer-Encoding",
        ),
        (b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "header value"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * (HEADERS_MAX + 1) + b"\r\n", "more than"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", "more than"),
        (b"HTTP/1.1 102 Wait\r\n\r\n" * 99, "more than"),
    ],
)
async def test_an_answer_that_can_be_read_in_two_ways_is_a_502(answer: bytes, why: str) -> None:
    shop = Shop(answer, answer)
    async with staged(shop) as scene:
        whole = await scene.ask(LAST)
        status, told = refused(whole[whole.rindex(b"HTTP/1.1 ") :])
        assert (status, told["reason"]) == (502, "ApplicationUnavailable")
        assert why in told["message"]
        assert refused(await scene.ask(CREATE))[1]["outcome"] == "Rollback"


async def test_an_answer_to_nothing_is_never_the_next_request_s() -> None:
    shop = Shop(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbogus", OK)
    async with staged(shop) as scene, asking(scene) as (reader, writer):
        for _ in range(2):
            writer.write(GET)
            assert (await answered(reader))[1] == b"ok"
    assert (len(shop.seen), shop.connections) == (2, 2)


async def test_an_answer_that_ends_with_its_connection_is_passed_on() -> None:
    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000)

    async with staged(application) as scene:
        answer = await scene.ask(LAST.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert answer.partition(b"\r\n\r\n")[2] == b"x" * 300_000
        assert (await scene.ask(CREATE)).startswith(b"HTTP/1.1 200 ")


async def test_requests_one_after_the_other_share_a_connection_also_behind_a_head() -> None:
    shop = Shop(OK, OK[:-2], OK, b"HTTP/1.1 204 No\r\n\r\n", OK)
    async with staged(shop) as scene, asking(scene) as (reader, writer):
        for request, method in ((GET, b"GET"), (GET, b"HEAD"), (POST, b"POST"), (GET, b"GET"), (GET, b"GET")):
            writer.write(request.replace(b"GET", method, 1))
            assert b"HTTP/1.1 20" in await reader.readuntil(b"\r\n\r\n")
    assert (len(shop.seen), shop.connections) == (5, 1)


class Closing(Shop):
    """Closes each connection upon its second request, of which it says nothing."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.seen.append(await read_request(reader))
            writer.write(OK)
            self.seen.append(await read_request(reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def test_a_kept_connection_that_is_closed_is_no_failure_of_what_may_be_repeated() -> None:
    shop = Closing()
    async with staged(shop) as scene, asking(scene) as (reader, writer):
        for _ in range(2):
            writer.write(GET)
            assert (await answered(reader))[0].startswith(b"HTTP/1.1 200 ")
    assert (len(shop.seen), shop.connections) == (3, 2)


async def test_what_must_not_be_done_twice_is_not_repeated() -> None:
    shop = Closing()
    async with staged(shop) as scene, asking(scene) as (reader, writer):
        for status in (b"200", b"502"):
            writer.write(POST)
            assert (await answered(reader))[0].startswith(b"HTTP/1.1 " + status)
    assert (len(shop.seen), shop.connections) == (2, 1)


async def test_a_first_request_is_not_repeated() -> None:
    shop = Shop()
    async with staged(shop) as scene:
        assert refused(await scene.ask(LAST))[0] == 502
    assert len(shop.seen) == 1


async def test_an_answer_before_the_end_of_the_request_reaches_the_client_at_once() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too much\r\nContent-Length: 2\r\n\r\nno")
            await reader.read()

    async with staged(early) as scene, asking(scene) as (reader, writer):
        writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegun")
        head, body = await answered(reader)
        assert head.startswith(b"HTTP/1.1 413 ")
        assert body == b"no"
    await eventually(lambda: scene.proxy.under_way.count == 0)


async def test_an_application_that_reads_on_gets_the_rest_of_a_body_behind_its_head() -> None:
    got = bytearray()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
            got.extend(await reader.readexactly(10))
            writer.write(b"k")
            await reader.read()

    async with staged(slow) as scene, asking(scene) as (reader, writer):
        writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbegun")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"ended")
        assert await reader.readexactly(2) == b"ok"
    assert got == b"begunended"


async def test_a_body_that_breaks_off_rolls_back_and_is_no_bug_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    arrived = asyncio.Event()

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            arrived.set()
            await reader.read()

    async with staged(application) as scene, asking(scene) as (_, writer):
        writer.write(b"POST /create HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await arrived.wait()
        writer.transport.abort()
        await scene.store.until(lambda: bool(scene.store.decided))
        (decision,) = scene.store.decided.values()
    assert (decision.outcome, decision.reason) == (Outcome.ROLLBACK, Reason.REQUEST_ABORTED)
    assert "the request's body broke off" in decision.message
    assert not caplog.records


async def test_a_connection_that_was_switched_is_nobody_s_when_it_ends() -> None:
    shop = Shop(b"HTTP/1.1 101 Now\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    asked = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with staged(shop) as scene:
        async with asking(scene) as (reader, writer):
            writer.write(asked)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 Now\r\n")
        await eventually(lambda: scene.proxy.under_way.count == 0)
        assert scene.proxy.upstream._pool is not None
        assert not scene.proxy.upstream._pool._open


async def _standing(count: list[int]) -> int:
    """Wait until it stands still, for a while; give how far it came."""
    before = -1
    while before != count[0]:
        before = count[0]
        await asyncio.sleep(0.5)
    return before


async def test_a_client_that_does_not_read_is_waited_for() -> None:
    sent = [0]

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MUCH)
        try:
            while sent[0] < MUCH:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent[0] += 65536
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with staged(flood) as scene:
        reader, writer = await scene.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        before = await _standing(sent)
        assert before < MUCH // 2
        async with asyncio.timeout(60):
            await reader.readexactly(MUCH)
        writer.transport.abort()


async def test_an_application_that_does_not_read_is_waited_for() -> None:
    go, got = asyncio.Event(), [0]

    async def lazy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            await go.wait()
            while got[0] < MUCH:
                got[0] += len(await reader.read(65536))
            writer.write(OK)

    async with staged(lazy) as scene:
        reader, writer = await scene.connect()
        sent = [0]

        async def upload() -> None:
            writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MUCH)
            while sent[0] < MUCH:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent[0] += 65536

        uploading = asyncio.create_task(upload())
        assert await _standing(sent) < MUCH // 2
        go.set()
        async with asyncio.timeout(60):
            await uploading
            assert (await answered(reader))[1] == b"ok"
        writer.transport.abort()


async def test_an_application_that_says_nothing_for_too_long_is_a_504(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream, "READ_SECONDS", 0.05)
    monkeypatch.setattr(pool, "_LOOK_SECONDS", 0.01)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            await reader.read()

    async with staged(silent) as scene:
        status, told = refused(await scene.ask(LAST))
    assert (status, told["reason"]) == (504, "ApplicationUnavailable")


async def test_a_connection_that_nobody_uses_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(pool, "_LOOK_SECONDS", 0.01)
    ended = asyncio.Event()

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await read_request(reader)
            writer.write(OK)
            assert await reader.read() == b""
            ended.set()

    async with staged(application) as scene:
        assert (await scene.ask(LAST)).endswith(b"ok")
        async with asyncio.timeout(SECONDS):
            await ended.wait()
