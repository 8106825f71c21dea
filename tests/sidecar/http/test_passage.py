"""Requests that go on as they came: but for the bytes nobody can tell them from those taken apart."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx_sidecar.http.filter import Pass
from globaltx_sidecar.http1 import answers, inbound
from globaltx_sidecar.http1.lost import SilentError
from tests.sidecar.eventually import eventually
from tests.sidecar.http.scene import Scene, Seen, read_request, staged
from tests.sidecar.http.test_tries import begun
from tests.sidecar.http1.test_connections import GET, POST, Shop, answered, asking, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

DATE = b"Date: Fri, 27 Nov 2026 14:00:00 GMT"
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"\r\nContent-Length: 2\r\n\r\nok"
ODD_GET = (
    b"GET /a?b=%c3%a4 HTTP/1.1\r\nhOST:shop\r\nX-Odd: \t two  blanks \r\nX-Odd: again\r\nCookie: a=1\r\n\r\n"
)
ODD_OK = (
    b"HTTP/1.1 200 Fine by me\r\nX-Odd:1\r\ndAte:  now \r\nSet-Cookie: a\r\nset-cookie: b\r\n"
    b"Content-Length:2\r\n\r\nok"
)
POSTED = b"POST /a HTTP/1.1\r\nHost: shop\r\n%b\r\nContent-Length: 4\r\n\r\nbody"
REQUESTS = {
    "plain": GET,
    "odd": ODD_GET,
    "body": POST,
    "empty body": b"POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n",
    "chunks": b"POST /a HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "keep-alive": b"GET /a HTTP/1.1\r\nHost: shop\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n",
    "hop": b"GET /a HTTP/1.1\r\nHost: shop\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n",
    "te": b"GET /a HTTP/1.1\r\nHost: shop\r\nTE: trailers\r\n\r\n",
    "expect": b"POST /a HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
    "no host": b"GET /a HTTP/1.1\r\nX: 1\r\n\r\n",
    "absolute": b"GET http://else/a HTTP/1.1\r\nHost: shop\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: shop\r\n\r\n",
    "blank line before": b"\r\n" + GET,
    "blanks in the line": GET.replace(b"/a HTTP", b"/a  HTTP"),
    "xid": b"GET /a HTTP/1.1\r\nHost: shop\r\nxid: shop.t1\r\n\r\n",
    "no xid": b"GET /a HTTP/1.1\r\nHost: shop\r\nxid: something else\r\n\r\n",
    "baggage": b"GET /a HTTP/1.1\r\nHost: shop\r\nBaggage: a=1,globaltx-xid=shop.t1\r\n\r\n",
    "foreign step": (
        b"GET /a HTTP/1.1\r\nHost: shop\r\nglobaltx-saga: else.t1\r\n"
        b"globaltx-guard: else.t1 branch step\r\n\r\n"
    ),
    "posted xid": POSTED % b"globaltx-xid: shop.t1",
    "posted seed": POSTED % b"X-DBPack-Xid: shop.t1",
    "posted baggage": POSTED % b"Baggage: a=1,globaltx-xid=shop.t1",
    "two xids": POSTED % b"globaltx-xid: shop.t1\r\nglobaltx-xid: shop.t2",
    "one xid twice": POSTED % b"globaltx-xid: shop.t1\r\nglobaltx-xid: shop.t1",
    "underscore": POSTED % b"xid: shop.t1\r\nglobaltx_xid: shop.t2",
    "a branch from elsewhere": POSTED % b"xid: shop.t1\r\nglobaltx-branch: x\r\nGlobaltx-Attempt: 7",
    "key": POSTED % b"xid: shop.t1\r\nIdempotency-Key: 7",
    "coding": POSTED % b"xid: shop.t1\r\nContent-Encoding: gzip",
    "offer of HTTP/2": (
        b"GET /a HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    ),
}
_NEW_XID = re.compile(rb"\b[0-9a-hjkmnp-tv-z]{20}\b")
_NEW_BRANCH = re.compile(rb"-[0-9a-f]{10}\b")
PATHS = {"pass": b"/a", "begin": b"/create", "try": b"/accounts/7/debit", "step": b"/rooms/7/book"}
ANSWERS = {
    "plain": OK,
    "odd": ODD_OK,
    "no date": OK.replace(DATE, b"X: 1"),
    "no reason": OK.replace(b"200 OK", b"200 "),
    "odd reason": OK.replace(b"200 OK", b"200 O\tK\xe4"),
    "lines that end by a line feed": OK.replace(b"\r\n", b"\n"),
    "headers that end by a line feed": OK.replace(b"\r\n", b"\n").replace(b"OK\n", b"OK\r\n"),
    "a blank line of a line feed": OK.replace(b"\r\n\r\n", b"\r\n\n"),
    "line breaks behind it": OK + b"\r\n\n",
    "chunks": OK.replace(
        b"Content-Length: 2\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ),
    "trailers": OK.replace(
        b"Content-Length: 2\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    ),
    "keep-alive": OK.replace(DATE, DATE + b"\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5"),
    "hop": OK.replace(DATE, DATE + b"\r\nConnection: X-Hop\r\nX-Hop: 1"),
    "no content": b"HTTP/1.1 204 No Content\r\n" + DATE + b"\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\n" + DATE + b"\r\nContent-Length: 2\r\n\r\n",
    "announced": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK,
    "error": OK.replace(b"200 OK", b"503 Later"),
}
CLOSING = {
    "old": b"HTTP/1.0 200 OK\r\n" + DATE + b"\r\nContent-Length: 2\r\n\r\nok",
    "until the end": b"HTTP/1.1 200 OK\r\n" + DATE + b"\r\n\r\nok",
    "last": OK.replace(DATE, DATE + b"\r\nConnection: close"),
}


class Raw:
    """An application that keeps the bytes of each request, and answers all but two by the same.

    The first, which has a connection kept, and the one behind the one that matters get another answer.
    """

    def __init__(self, answer: bytes, *, closes: bool = False) -> None:
        self.answer, self.closes = answer, closes
        self.requests: list[bytes] = []

    @property
    def got(self) -> bytes:
        """What came behind the first one."""
        return self.requests[1] if len(self.requests) > 1 else b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        comes = b""
        with closing(writer):
            while data := await reader.read(65536):
                comes += data
                if not ended(comes):
                    continue
                self.requests.append(comes)
                comes = b""
                match len(self.requests):
                    case 1:
                        writer.write(OK)
                    case 2:
                        writer.write(self.answer)
                        if self.closes:
                            return
                    case _:
                        writer.write(OK.replace(b"\r\nok", b"\r\n!!"))


class Patient:
    """An application that answers the first request at once, and the others when it is told to."""

    def __init__(self) -> None:
        self.came, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            await read_request(reader)
            writer.write(OK)
            while True:
                await read_request(reader)
                self.came.set()
                await self.go.wait()
                writer.write(OK)


def ended(got: bytes) -> bool:
    head, _, body = got.partition(b"\r\n\r\n")
    return b"Content-Length: 4" not in head or body == b"body"


async def shown(scene: Scene, application: Raw, request: bytes) -> tuple[bytes, bytes]:
    """What an application gets of a request, and its client of the answer, which is asked for one more."""
    async with asking(scene) as (reader, writer):
        writer.write(request + GET.replace(b"Host", b"Connection: close\r\nHost"))
        gave = await reader.read()
        return application.got, gave


def plainly(message: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """A message as it is understood, whatever xid and branch were made for it."""
    message = _NEW_BRANCH.sub(b"-branch", _NEW_XID.sub(b"new", message))
    head, _, body = message.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    pairs = (line.partition(b":") for line in lines)
    known = [(name.lower(), value.strip()) for name, _, value in pairs]
    return first, sorted(pair for pair in known if pair[0] != b"host" or pair[1] == b"shop"), body


def _cases() -> Iterator[tuple[str, str, str]]:
    yield from (("pass", name, "plain") for name in REQUESTS)
    yield from (("pass", "plain", name) for name in (*ANSWERS, *CLOSING))
    yield from (("pass", "body", name) for name in ("odd", "chunks", "announced", "no date"))
    for path in ("begin", "try", "step"):
        yield from ((path, name, "plain") for name in REQUESTS if REQUESTS[name].startswith(b"POST"))
        yield from ((path, "body", name) for name in (*ANSWERS, *CLOSING))


@pytest.mark.parametrize(("path", "request_", "answer"), [*_cases()])
async def test_what_goes_on_as_it_came_means_what_it_would_have_meant(
    path: str, request_: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ANSWERS.get(answer) or CLOSING[answer]
    request = REQUESTS[request_].replace(b"/a", PATHS[path])
    seen = []
    for as_it_comes in (False, True):
        application = Raw(told, closes=answer in CLOSING)
        async with staged(application) as scene:
            await begun(scene)
            await warmed(scene)
            with monkeypatch.context() as patched:
                if not as_it_comes:
                    patched.setattr(inbound, "is_plain", lambda *_: False)
                    patched.setattr(answers.AnswerReader, "is_plain", lambda *_: False)
                got, gave = await shown(scene, application, request)
        first, _, second = gave.rpartition(b"HTTP/1.1 200 OK")
        ends = [each.reason for each in scene.store.decided.values()]
        seen.append((plainly(got), plainly(undated(first)), second.endswith(b"!!"), ends))
    assert seen[0] == seen[1]
    assert any(seen[0])


async def warmed(scene: Scene) -> None:
    """Have one connection to the application kept."""
    async with asking(scene) as (reader, writer):
        writer.write(GET)
        await answered(reader)


def undated(message: bytes) -> bytes:
    """A message without the date that was put there."""
    lines = message.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith(b"Date: ") or line == DATE)


async def test_the_bytes_themselves_go_both_ways() -> None:
    application = Raw(ODD_OK)
    async with staged(application) as scene:
        await warmed(scene)
        async with asking(scene) as (reader, writer):
            writer.write(ODD_GET)
            assert await reader.readexactly(len(ODD_OK)) == ODD_OK
        assert application.got == ODD_GET
        assert scene.proxy.under_way.count == 0
        assert scene.proxy._counts[Pass]._value.get() == 2


@pytest.mark.parametrize("path", [b"/create", b"/%63reate", b"//create", b"/./create"])
async def test_what_a_route_claims_never_goes_on_as_it_came(path: bytes) -> None:
    application = Raw(OK)
    async with staged(application) as scene:
        await warmed(scene)
        async with asking(scene) as (reader, writer):
            writer.write(POST.replace(b"/a", path))
            await answered(reader)
        assert len(scene.store.decided) == 1
    assert b"globaltx-xid: " in application.got


@pytest.mark.parametrize("name", [b"globaltx-xid", b"globaltx_xid", b"X-DBPack_Xid", b"GLOBALTX-GUARD"])
async def test_at_the_edge_nothing_that_comes_from_outside_goes_on(name: bytes) -> None:
    application = Raw(OK)
    async with staged(application, edge=True) as scene:
        await warmed(scene)
        async with asking(scene) as (reader, writer):
            writer.write(GET.replace(b"Host", name + b": shop.t1\r\nHost"))
            await answered(reader)
    assert b"shop.t1" not in application.got


async def test_many_on_one_connection_are_answered_in_their_order() -> None:
    answers = [OK.replace(b"\r\nok", b"\r\n%02d" % each) for each in range(20)]
    async with staged(Shop(OK, *answers)) as scene:
        await warmed(scene)
        async with asking(scene) as (reader, writer):
            writer.write(GET * 10 + POST * 10)
            assert [(await answered(reader))[1] for _ in range(20)] == [b"%02d" % each for each in range(20)]


async def test_an_answer_in_pieces_is_waited_for() -> None:
    pieces = [OK[:30], OK[30:-1], OK[-1:]]

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                await came[0].wait()
                came.pop(0)
                writer.write(piece)

    came = [asyncio.Event() for _ in pieces]
    async with staged(application) as scene:
        await warmed(scene)
        async with asking(scene) as (reader, writer):
            writer.write(GET)
            while came:
                came[0].set()
                await asyncio.sleep(0)
            assert (await answered(reader))[1] == b"ok"
        await eventually(lambda: scene.proxy.under_way.count == 0)


@pytest.mark.parametrize(("request_", "status"), [(GET, b"200"), (POST, b"502")])
async def test_a_connection_that_was_closed_is_no_failure_of_what_may_be_repeated(
    request_: bytes, status: bytes
) -> None:
    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            first = not seen
            seen.append(Seen((await reader.readuntil(b"\r\n\r\n")).decode()))
            writer.write(OK)
            await writer.drain()
            if first:
                await reader.readuntil(b"\r\n\r\n")  # and gives no answer

    seen: list[Seen] = []
    async with staged(application) as scene:
        await warmed(scene)
        async with asking(scene) as (reader, writer):
            writer.write(request_)
            head, body = await answered(reader)
        await eventually(lambda: scene.proxy.under_way.count == 0)
    assert head.split()[1] == status
    if status == b"502":
        assert refused(head + body)[1]["reason"] == "ApplicationUnavailable"
        assert len(seen) == 1


async def test_what_is_announced_reaches_the_client_of_what_is_sent_once_more() -> None:
    announced = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK if not seen else announced + OK)
            seen.append(None)
            await reader.readuntil(b"\r\n\r\n")  # and gives no answer

    seen: list[None] = []
    async with staged(application) as scene:
        await warmed(scene)
        async with asking(scene) as (reader, writer):
            writer.write(GET)
            assert await reader.readuntil(b"\r\n\r\n") == announced
            assert (await answered(reader))[1] == b"ok"


@asynccontextmanager
async def waited_for(slow: Patient) -> AsyncIterator[tuple[Scene, asyncio.StreamReader]]:
    """A request that has reached the application as it came, and has no answer yet."""
    async with staged(slow) as scene:
        await warmed(scene)
        async with asking(scene) as (reader, writer):
            writer.write(GET)
            await slow.came.wait()
            yield scene, reader


async def test_who_hangs_up_is_forgotten_when_the_application_has_answered() -> None:
    slow = Patient()
    async with waited_for(slow) as (scene, _):
        assert scene.proxy.under_way.count == 1
        clients = scene.server._arrivals._http1
        assert clients is not None
        for each in tuple(clients.connections):
            each.abort()
        await eventually(lambda: not clients.connections)
        slow.go.set()
        await eventually(lambda: scene.proxy.under_way.count == 0)


async def test_who_has_hung_up_is_cut_off_by_a_stop_when_the_answer_takes_long() -> None:
    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await reader.readuntil(b"\r\n\r\n")
            came.set()
            await gone.wait()
            writer.write(OK[:30])
            await reader.read()

    came, gone = asyncio.Event(), asyncio.Event()
    async with staged(application) as scene:
        await warmed(scene)
        async with asking(scene) as (_, writer):
            writer.write(GET)
            await came.wait()
        clients = scene.server._arrivals._http1
        assert clients is not None
        await eventually(lambda: not clients.connections)
        gone.set()
        await eventually(lambda: bool(clients._tasks))
        await scene.server.stop(timedelta())
        assert scene.proxy.under_way.count == 0


async def test_a_stop_tells_who_is_still_answered_that_it_was_the_last() -> None:
    slow = Patient()
    async with waited_for(slow) as (scene, reader):
        stopping = asyncio.create_task(scene.server.stop(timedelta(seconds=5)))
        await asyncio.sleep(0)
        slow.go.set()
        assert b"connection: close" in (await answered(reader))[0].lower()
        await stopping


async def test_a_stop_that_waits_no_longer_cuts_off_what_has_no_task() -> None:
    slow = Patient()
    async with waited_for(slow) as (scene, reader):
        await scene.server.stop(timedelta())
        assert await reader.read() == b""
        slow.go.set()


async def test_an_application_that_says_nothing_for_too_long_is_a_504() -> None:
    slow = Patient()
    async with waited_for(slow) as (scene, reader):
        kept = scene.proxy.upstream._pool
        assert kept is not None
        for each in tuple(kept._open):
            assert each.waits_for_application
            each.fail(SilentError("it said nothing for too long"))
        status, told = refused(b"".join(await answered(reader)))
        slow.go.set()
        assert (status, told["reason"]) == (504, "ApplicationUnavailable")
