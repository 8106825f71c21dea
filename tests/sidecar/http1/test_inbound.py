"""A client's way in, by raw bytes, in front of a raw application behind a real proxy."""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.states import Outcome
from globaltx_sidecar.http import arrivals
from globaltx_sidecar.http1 import inbound
from globaltx_sidecar.http1 import server as http1_server
from tests.sidecar.eventually import eventually
from tests.sidecar.http.scene import Seen, answering, staged
from tests.sidecar.http.test_requests import Slow
from tests.sidecar.http.test_tries import begun, called
from tests.sidecar.http1.test_connections import (
    CREATE,
    GET,
    LAST,
    OK,
    SECONDS,
    Shop,
    answered,
    asking,
    refused,
)
from tests.sidecar.http1.written import Written

if TYPE_CHECKING:
    from globaltx_sidecar.http1.exchange import Request

CHUNKED = b"POST %b HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"


class Listening:
    """An application that notes all bytes until its connection ends, and never answers."""

    def __init__(self) -> None:
        self.got = b""
        self.came, self.ended = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            while data := await reader.read(65536):
                self.got += data
                self.came.set()
        self.ended.set()


@pytest.mark.parametrize("path", [b"/a", b"/create"])
async def test_a_malformed_chunk_ends_the_request_as_broken_off_and_never_as_whole(path: bytes) -> None:
    application = Listening()
    async with staged(application) as scene, asking(scene) as (reader, writer):
        writer.write(CHUNKED % path + b"2\r\nok\r\n")
        await application.came.wait()
        writer.write(b"zz\r\n0\r\n\r\n" + LAST)
        status, told = refused(await reader.read())
        await application.ended.wait()
        decided = [each.reason for each in scene.store.decided.values()]
    assert (status, told["reason"]) == (400, "RequestNotSupported")
    assert "the request's body broke off" in told["message"]
    assert application.got.endswith(b"2\r\nok\r\n")
    assert b"\r\n0\r\n" not in application.got
    assert b"/last" not in application.got
    assert decided == ([Reason.REQUEST_ABORTED] if path == b"/create" else [])


async def test_a_malformed_chunk_of_a_try_is_refused_and_registers_nothing() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        xid = b"Host: shop\r\nxid: shop.t1"
        request = (CHUNKED % b"/accounts/7/debit").replace(b"Host: shop", xid)
        status, told = refused(await scene.ask(request + b"2\r\nok\r\nzz\r\n"))
    assert (status, told["reason"]) == (400, "RequestNotSupported")
    assert not seen


@pytest.mark.parametrize("streamed", [False, True])
async def test_trailers_of_a_request_reach_the_application_but_none_that_means_something_here(
    *, streamed: bool
) -> None:
    raw = b""
    done = asyncio.Event()

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal raw
        with closing(writer):
            raw = await reader.readuntil(b"\r\n\r\n")
            done.set()
            while not raw.endswith((b"X-Sum: 1\r\n\r\n", b"0\r\n\r\n")):
                raw += await reader.readexactly(1)
            writer.write(OK)

    trailers = (
        b"X-Sum: 1\r\nGlobaltx-Xid: shop.t1\r\nxid: shop.t1\r\nbaggage: a\r\nTraceparent: b\r\nCookie: c\r\n"
        b"globaltx_guard: d\r\nX_DBPack-Xid: shop.t1\r\nContent_Length: 1\r\n"
    )
    head = (CHUNKED % b"/a").replace(b"Host: shop", b"Host: shop\r\nTrailer: X-Sum")
    async with staged(application) as scene, asking(scene) as (reader, writer):
        writer.write(head + b"2\r\nok\r\n")
        if streamed:
            await done.wait()
        writer.write(b"0\r\n" + trailers + b"\r\n")
        assert (await answered(reader))[1] == b"ok"
    assert raw.endswith(b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert b"\r\nTrailer: X-Sum\r\n" in raw


@pytest.mark.parametrize("xid", [b"", b"\r\nxid: shop.t1"])
@pytest.mark.parametrize("sum_", [b"X-Sum: 1\r\n", b""])
async def test_trailers_of_a_try_go_on_with_it_and_with_no_call_at_its_end(xid: bytes, sum_: bytes) -> None:
    raw: list[bytes] = []

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            got = await reader.readuntil(b"\r\n\r\n")
            while not got.endswith((b"0\r\n" + sum_ + b"\r\n", b"\r\n\r\n30")):
                got += await reader.readexactly(1)
            raw.append(got)
            writer.write(OK)

    head = (CHUNKED % b"/accounts/7/debit").replace(b"Host: shop", b"Host: shop\r\nTrailer: X-Sum" + xid)
    async with staged(application) as scene, asking(scene) as (reader, writer):
        await begun(scene)
        named = sum_ and sum_ + b"xid: shop.t2\r\n"
        writer.write(head + b"1\r\n3\r\n1\r\n0\r\n0\r\n" + named + b"\r\n")
        assert (await answered(reader))[1] == b"ok"
        if xid:
            assert await called(scene, Outcome.ROLLBACK) == 200
    whole = b"2\r\n30\r\n0\r\nX-Sum: 1\r\n\r\n" if sum_ else b"\r\n\r\n30"
    assert raw[0].endswith(whole)
    assert (b"\r\nTrailer: X-Sum\r\n" in raw[0]) is bool(sum_)
    assert (b"chunked" in raw[0], b"Content-Length" in raw[0]) == (bool(sum_), not sum_)
    assert all(each.endswith(b"\r\n\r\n30") for each in raw[1:])
    assert len(raw) == (2 if xid else 1)


async def test_a_body_behind_an_offer_of_http_2_is_passed_on() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene, asking(scene) as (reader, writer):
        offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        for _ in range(2):
            writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\n" + offer + b"Content-Length: 4\r\n\r\nbody")
            assert (await answered(reader))[1] == b"ok"
    assert [each.body for each in seen] == [b"body", b"body"]
    assert seen[0].header("upgrade") == seen[0].header("http2-settings") == []


async def test_a_websocket_with_a_body_is_refused() -> None:
    async with staged(answering([], OK)) as scene:
        asked = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        status, told = refused(await scene.ask(asked + b"Content-Length: 2\r\n\r\nok"))
    assert (status, told["reason"]) == (501, "RequestNotSupported")


async def test_what_is_pipelined_waits_until_the_request_before_it_is_answered() -> None:
    seen: list[bytes] = []
    go = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                seen.append(head.split()[1])
                await go.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + head.split()[1])

    much = 20_000
    async with staged(slow) as scene, asking(scene) as (reader, writer):
        writer.write(b"".join(GET.replace(b"/a", b"/%d" % (each % 10)) for each in range(much)))
        await eventually(lambda: bool(seen))
        assert scene.proxy.under_way.count == 1
        assert seen == [b"/0"]
        go.set()
        got = [(await answered(reader))[1] for _ in range(50)]
    assert got == [b"/%d" % (each % 10) for each in range(50)]


async def test_what_is_pipelined_waits_until_the_answers_before_it_are_read() -> None:
    """Else who asks and does not read would have us keep any number of answers."""
    requests: list[Request] = []

    def pass_on(request: Request) -> bool:
        requests.append(request)
        return True

    async def handle(_: Request) -> None:
        raise AssertionError

    transport = Written()
    http1_server.Http1Server(handle, pass_on, arrivals.malformed, SECONDS).enter(transport, GET * 3)
    connection = transport.get_protocol()
    assert isinstance(connection, inbound.Inbound)
    connection.pause_writing()
    requests[0].give_back(OK)
    connection.data_received(GET)
    assert (len(requests), transport.data, transport.paused) == (1, OK, True)
    connection.resume_writing()
    for number in range(1, 4):
        assert len(requests) == number + 1
        requests[number].give_back(OK)
    assert (transport.data, transport.paused, transport.closed) == (OK * 4, False, False)
    connection.connection_lost(None)
    connection.leave()


async def test_a_request_whose_body_nobody_wanted_lets_the_next_one_in() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await reader.read()

    async with staged(early) as scene, asking(scene) as (reader, writer):
        writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nbegun")
        assert (await answered(reader))[1] == b"ok"
        writer.write(b"x" * 499_995 + LAST)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_was_not_invited_is_not_waited_for() -> None:
    async with staged(answering([], OK)) as scene, asking(scene) as (reader, writer):
        expect = (
            b"Host: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: upgrade\r\nUpgrade: x\r\n"
        )
        writer.write(b"POST /a HTTP/1.1\r\n" + expect + b"\r\n")
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert b"\r\nConnection: close\r\n" in answer


async def test_a_client_of_http_1_0_may_keep_its_connection() -> None:
    old = GET.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\nConnection: keep-alive\r\n")
    async with staged(answering([], OK)) as scene, asking(scene) as (reader, writer):
        for _ in range(2):
            writer.write(old)
            head, body = await answered(reader)
            assert head.startswith(b"HTTP/1.0 200 OK\r\n")
            assert b"\r\nConnection: keep-alive\r\n" in head
            assert body == b"ok"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ],
)
async def test_what_is_malformed_is_told_and_the_connection_ends(raw: bytes, status: int) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene, asking(scene) as (reader, writer):
        writer.write(raw + GET)
        answer = await reader.read()
        assert refused(answer)[0] == status
        assert refused(answer)[1]["reason"] == "RequestNotSupported"
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.count(b"HTTP/1.1 ") == 1
    assert not seen


async def test_what_is_malformed_behind_a_request_does_not_harm_it() -> None:
    async with staged(answering([], OK)) as scene:
        answer = await scene.ask(GET + b"nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"ok" + b"HTTP/1.1 400 " in answer


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what takes too long at once, and find everything too long."""
    monkeypatch.setattr(http1_server, "LOOK_SECONDS", 0.01)
    for name in ("HEAD_SECONDS", "SILENT_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(inbound, name, 0.05)


@pytest.mark.usefixtures("hasty")
async def test_a_head_that_does_not_come_is_a_408() -> None:
    async with staged(answering([], OK)) as scene, asking(scene) as (reader, writer):
        writer.write(GET[:-2])
        assert refused(await reader.read())[0] == 408


@pytest.mark.usefixtures("hasty")
async def test_a_body_that_does_not_come_is_a_408_and_rolls_back() -> None:
    application = Listening()
    async with staged(application) as scene, asking(scene) as (reader, writer):
        writer.write(CREATE[:-2])
        status, told = refused(await reader.read())
        await application.ended.wait()
        (decision,) = scene.store.decided.values()
    assert (status, told["outcome"]) == (408, "Rollback")
    assert decision.outcome is Outcome.ROLLBACK


@pytest.mark.usefixtures("hasty")
async def test_a_client_that_reads_nothing_for_too_long_is_left() -> None:
    much = b"HTTP/1.1 200 OK\r\nContent-Length: 64000000\r\n\r\n" + b"x" * 64_000_000
    async with staged(Shop(much)) as scene:
        _, writer = await scene.connect()  # whose reader takes 128 KiB by itself
        writer.write(GET)
        await eventually(lambda: scene.proxy.under_way.count == 1)
        await eventually(lambda: scene.proxy.under_way.count == 0)
        writer.transport.abort()


async def test_a_client_that_says_nothing_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_server, "LOOK_SECONDS", 0.01)
    async with staged(answering([], OK)) as scene, asking(scene) as (reader, writer):
        writer.write(GET)
        await answered(reader)
        assert scene.server._arrivals._http1 is not None
        scene.server._arrivals._http1.idle_seconds = 0.05
        with suppress(ConnectionError):
            assert await reader.read() == b""


async def test_one_connection_too_many_takes_the_place_of_one_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http1_server, "CONNECTIONS_MAX", 2)
    async with staged(answering([], OK)) as scene, asking(scene) as first, asking(scene) as second:
        for reader, writer in (first, second):
            writer.write(GET)
            await answered(reader)
        async with asking(scene) as (reader, writer):
            writer.write(GET)
            assert (await answered(reader))[1] == b"ok"
        with suppress(ConnectionError):  # however it is told
            assert await first[0].read() == b""
        second[1].write(GET)
        assert (await answered(second[0]))[1] == b"ok"


async def test_one_connection_too_many_is_refused_where_all_others_have_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http1_server, "CONNECTIONS_MAX", 1)
    slow = Slow()
    async with staged(slow) as scene, asking(scene) as (busy, asks):
        asks.write(GET)
        await slow.came.wait()
        async with asking(scene) as (reader, writer):
            writer.write(GET)
            with suppress(ConnectionError):
                assert await reader.read() == b""
        slow.go.set()
        assert (await answered(busy))[1] == b"done"


async def test_of_those_that_say_nothing_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "WAITING_MAX", 1)
    async with (
        staged(answering([], OK)) as scene,
        asking(scene) as (silent, _),
        asking(scene) as (reader, writer),
    ):
        with suppress(ConnectionError):
            assert await silent.read() == b""
        writer.write(GET)
        assert (await answered(reader))[1] == b"ok"


@pytest.mark.parametrize("request_", [GET, GET.replace(b"Host", b"TE: trailers\r\nHost")])
async def test_a_bug_that_one_request_finds_is_a_500_for_it_alone(
    request_: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with staged(answering([], OK)) as scene, asking(scene) as (reader, writer):
        writer.write(GET)
        assert (await answered(reader))[0].startswith(b"HTTP/1.1 200 ")
        with monkeypatch.context() as patched:
            patched.setattr(scene.proxy.filter, "find", None)
            writer.write(request_)
            assert (await reader.read()).startswith(b"HTTP/1.1 500 ")
        assert (await scene.ask(LAST)).startswith(b"HTTP/1.1 200 ")
        assert scene.proxy.under_way.count == 0
    assert [each.message for each in caplog.records] == ["a request could not be answered"]


async def test_a_stop_closes_who_waits_and_tells_who_is_answered() -> None:
    came, go = asyncio.Event(), asyncio.Event()

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"/slow" in head:
                    came.set()
                    await go.wait()
                writer.write(OK)

    async with staged(application) as scene, asking(scene) as (idle, idle_writer):
        idle_writer.write(GET)
        await answered(idle)
        async with asking(scene) as (reader, writer):
            writer.write(GET.replace(b"/a", b"/slow"))
            await came.wait()
            stopping = asyncio.create_task(scene.server.stop(timedelta(seconds=SECONDS)))
            assert await idle.read() == b""
            go.set()
            answer = await reader.read()
            await stopping
    assert answer.endswith(b"ok")
    assert b"\r\nConnection: close\r\n" in answer


async def test_a_stop_cuts_off_what_takes_longer_than_its_grace() -> None:
    application = Listening()
    async with staged(application) as scene, asking(scene) as (reader, writer):
        writer.write(GET)
        await application.came.wait()
        await scene.server.stop(timedelta(0))
        with suppress(ConnectionError):
            assert await reader.read() == b""
        await application.ended.wait()
        assert scene.proxy.under_way.count == 0
