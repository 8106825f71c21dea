from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.model import Decision
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from globaltx_sidecar.http import proxy as proxy_module
from globaltx_sidecar.http import under_way
from tests.sidecar.http.scene import FaultyStore, Seen, answering, read_request, staged

if TYPE_CHECKING:
    from tests.sidecar.http.scene import Scene

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\noops"
BEGIN = (
    b"POST /create?token=secret HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
)
GET = b"GET /%7Ea//b/../c?x=%20y HTTP/1.1\r\nHost: shop.example:8080\r\nConnection: close\r\n\r\n"


def parse(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines[1:])
    return int(lines[0].split()[1]), {name.lower(): value for name, _, value in pairs}, body


def refused(answer: bytes) -> tuple[int, dict[str, Any]]:
    status, _, body = parse(answer)
    told: dict[str, Any] = json.loads(body)
    assert told["error"] == "globaltx"
    return status, told


def only_decision(scene: Scene) -> Decision:
    (decision,) = scene.store.decided.values()
    return decision


async def test_a_plain_request_passes_untouched() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        status, headers, body = parse(await scene.ask(GET))
    assert (status, body) == (200, b"ok")
    assert "server" not in headers
    assert "content-type" not in headers
    assert seen[0].head == "GET /%7Ea//b/../c?x=%20y HTTP/1.1\r\nHost: shop.example:8080"
    assert not scene.store.begun


@pytest.mark.parametrize("piece", [0, 1])
async def test_a_route_begins_and_commits_before_the_client_is_answered(piece: int) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        status, headers, body = parse(await scene.ask(BEGIN, piece=piece))
    (transaction,) = scene.store.begun
    decision = only_decision(scene)
    assert (status, body) == (200, b"ok")
    assert headers["globaltx-xid"] == str(transaction.xid)
    assert (transaction.initiator, transaction.policy) == ("order", "orders")
    assert seen[0].header("x-dbpack-xid") == seen[0].header("globaltx-xid") == [str(transaction.xid)]
    assert seen[0].header("baggage") == [f"globaltx-xid={transaction.xid}"]
    assert seen[0].body == b"body"
    assert (decision.outcome, decision.reason) == (Outcome.COMMIT, Reason.REQUEST_SUCCEEDED)


async def test_a_status_that_does_not_mean_commit_rolls_back_and_says_why() -> None:
    async with staged(answering([], BAD)) as scene:
        status, _, body = parse(await scene.ask(BEGIN))
    decision = only_decision(scene)
    assert (status, body) == (400, b"oops")
    assert (decision.outcome, decision.reason, decision.by) == (
        Outcome.ROLLBACK,
        Reason.REQUEST_FAILED,
        "order-1",
    )
    assert decision.message == "POST /create was answered with status 400 by order-1"


async def test_the_statuses_that_mean_commit_are_the_routes() -> None:
    created = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
    async with staged(answering([], created)) as scene:
        await scene.ask(BEGIN.replace(b"POST /create", b"PUT /many/1"))
        await scene.ask(BEGIN)
    assert [each.outcome for each in scene.store.decided.values()] == [Outcome.COMMIT, Outcome.ROLLBACK]


async def test_the_request_goes_on_while_begin_is_still_in_flight() -> None:
    store, arrived = FaultyStore(), asyncio.Event()
    begin = store.begin

    async def slow_begin(transaction: Any) -> None:
        await arrived.wait()
        await begin(transaction)

    store.begin = slow_begin  # type: ignore[method-assign]  # holds the call until the application has the request

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with staged(application, store) as scene:
        assert parse(await scene.ask(BEGIN))[0] == 200


async def test_an_xid_that_comes_in_is_passed_on_and_nothing_begins() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await scene.ask(BEGIN.replace(b"Host: shop", b"Host: shop\r\nxid: shop.abc"))
    assert seen[0].header("xid") == seen[0].header("x-dbpack-xid") == ["shop.abc"]
    assert not scene.store.begun
    assert not scene.store.decided


async def test_a_broken_xid_on_a_route_is_the_clients_mistake() -> None:
    async with staged(answering([], OK)) as scene:
        status, told = refused(await scene.ask(BEGIN.replace(b"Host: shop", b"Host: shop\r\nxid: no")))
    assert (status, told["reason"]) == (400, "InvalidXid")


async def test_another_outcome_that_was_taken_before_is_told_and_never_a_200() -> None:
    store = FaultyStore()

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        xid = Xid.parse((await read_request(reader)).header("globaltx-xid")[0])
        await store.until(lambda: bool(store.begun))
        late = Decision(Outcome.ROLLBACK, Reason.DEADLINE_EXCEEDED, by="operator")
        await super(FaultyStore, store).decide(xid, late)
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with staged(application, store) as scene:
        status, told = refused(await scene.ask(BEGIN))
    assert (status, told["reason"], told["outcome"]) == (503, "DeadlineExceeded", "Rollback")
    assert told["xid"] == str(scene.store.begun[0].xid)


@pytest.mark.parametrize("answer", [OK, BAD])
@pytest.mark.parametrize(
    "lost", [{"lost_calls": {"decide"}}, {"lost_answers": {"decide"}}, {"lost_calls": {"begin"}}]
)
async def test_an_outcome_that_is_not_known_is_never_told_as_success(
    lost: dict[str, set[str]], answer: bytes
) -> None:
    store = FaultyStore()
    for name, calls in lost.items():
        setattr(store, name, calls)
    async with staged(answering([], answer), store) as scene:
        raw = await scene.ask(BEGIN)
    status, told = refused(raw)
    assert (status, told["reason"], told["outcome"]) == (503, "StoreUnavailable", None)
    assert parse(raw)[1]["globaltx-xid"] == told["xid"]


async def test_an_application_that_is_down_is_a_502_and_rolls_back() -> None:
    async with staged(answering([], OK)) as scene:
        scene.proxy.upstream.address = "127.0.0.1:1"
        status, told = refused(await scene.ask(BEGIN))
        plain_status, plain_told = refused(await scene.ask(GET))
    assert (status, told["reason"], told["outcome"]) == (502, "ApplicationUnavailable", "Rollback")
    assert (plain_status, plain_told["reason"]) == (502, "ApplicationUnavailable")
    assert "takes no connection" in plain_told["message"]
    assert only_decision(scene).reason == Reason.REQUEST_ABORTED


@pytest.mark.parametrize(
    "part", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", b"nonsense\r\n\r\n"]
)
async def test_an_answer_that_breaks_off_is_a_502_and_rolls_back(part: bytes) -> None:
    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(part)
        writer.close()

    async with staged(application) as scene:
        status, told = refused(await scene.ask(BEGIN))
    assert (status, told["outcome"]) == (502, "Rollback")
    assert only_decision(scene).reason == Reason.REQUEST_ABORTED


async def test_an_application_that_exceeds_the_routes_time_is_a_504_and_rolls_back() -> None:
    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the proxy gives up
        writer.close()

    async with staged(application) as scene:
        status, told = refused(await scene.ask(BEGIN.replace(b"/create", b"/hasty")))
    assert (status, told["outcome"]) == (504, "Rollback")
    assert only_decision(scene).reason == Reason.REQUEST_ABORTED


async def test_a_client_that_hangs_up_does_not_change_the_outcome() -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await gone.wait()
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with staged(application) as scene:
        _, writer = await scene.connect()
        writer.write(BEGIN)
        await arrived.wait()
        writer.transport.abort()
        gone.set()
        await scene.store.until(lambda: bool(scene.store.decided))
        assert only_decision(scene).outcome is Outcome.COMMIT


async def test_a_client_that_hangs_up_inside_its_body_rolls_back() -> None:
    arrived = asyncio.Event()

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()
        writer.close()

    async with staged(application) as scene:
        _, writer = await scene.connect()
        writer.write(BEGIN[:-2])
        await arrived.wait()
        writer.transport.abort()
        await scene.store.until(lambda: bool(scene.store.decided))
        assert only_decision(scene).reason == Reason.REQUEST_ABORTED


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Give back each body in chunks as it comes in, without waiting for its end."""
    try:
        while not reader.at_eof():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            size = -1
            while size:
                line = await reader.readline()
                size = int(line, 16)
                writer.write(line + await reader.readexactly(size + 2))
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def test_bodies_stream_both_ways_without_waiting_for_their_end() -> None:
    async with staged(echo) as scene:
        reader, writer = await scene.connect()
        writer.write(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for word in (b"one", b"three"):
            writer.write(b"%x\r\n%b\r\n" % (len(word), word))
            async with asyncio.timeout(10):
                assert (await reader.readuntil(word)).endswith(word)
        writer.write(b"0\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.readuntil(b"0\r\n\r\n")
        writer.close()


@pytest.mark.parametrize("size", [0, 1, 65536, 3_000_000])
@pytest.mark.parametrize("path", ["/create", "/plain"])
async def test_bodies_of_any_size_arrive_whole_on_one_kept_connection(path: str, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    async def pieces() -> Any:
        for at in range(0, len(body), 100_000):
            yield body[at : at + 100_000]

    async with (
        staged(echo) as scene,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
    ):
        for _ in range(2):
            async with session.post(f"http://127.0.0.1:{scene.port}{path}", data=pieces()) as answer:
                assert answer.status == 200
                assert await answer.read() == body
        assert scene.server._arrivals._http1 is not None
        assert len(scene.server._arrivals._http1.connections) == 1


async def test_a_large_answer_is_decided_on_its_first_part_and_then_streamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proxy_module, "HOLD_BYTES_MAX", 1000)
    decided = asyncio.Event()

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"a" * 1000)
        await decided.wait()
        writer.write(b"b" * 1000)
        await writer.drain()
        writer.close()

    async with staged(application) as scene:
        asking = asyncio.create_task(scene.ask(BEGIN))
        await scene.store.until(lambda: bool(scene.store.decided))
        decided.set()
        assert parse(await asking)[2] == b"a" * 1000 + b"b" * 1000
    assert scene.proxy._held_bytes == 0


async def test_an_answer_that_breaks_off_after_its_head_breaks_off_for_the_client_too() -> None:
    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await writer.drain()
        writer.close()

    async with staged(application) as scene:
        answer = await scene.ask(GET)
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b""),
        (
            b"HTTP/1.1 302 Go\r\nLocation: /\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
            b"",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nraw", b"raw"),
        (b"HTTP/1.1 299 Odd Reason\r\nServer: mine\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\nx", b"x"),
    ],
)
async def test_answers_are_passed_on_as_they_are(answer: bytes, body: bytes) -> None:
    async with staged(answering([], answer)) as scene:
        got = await scene.ask(GET)
    assert got.startswith(answer.partition(b"\r\n")[0])
    assert got.partition(b"\r\n\r\n")[2] == body
    for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        assert line.lower() in got.lower()  # aiohttp spells well-known names in its own way


@pytest.mark.parametrize("path", ["/elsewhere", "/create"])
async def test_a_reason_in_other_bytes_is_no_fault_of_the_answer(path: str) -> None:
    answer = b"HTTP/1.1 103 Fr\xfch\r\n\r\nHTTP/1.1 200 Erledigt f\xfcr heute\r\nContent-Length: 2\r\n\r\nok"
    async with staged(answering([], answer)) as scene:
        told = await scene.ask(f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert b"HTTP/1.1 200 Erledigt f\xfcr heute\r\n" in told
    assert (b"HTTP/1.1 103 Fr\xfch\r\n" in told) == (path == "/elsewhere")
    assert told.endswith(b"ok")


async def test_a_head_request_keeps_its_length_and_has_no_body() -> None:
    async with staged(answering([], b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as scene:
        status, headers, body = parse(await scene.ask(GET.replace(b"GET", b"HEAD")))
    assert (status, headers["content-length"], body) == (200, "5", b"")


async def test_an_expected_body_is_invited() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        reader, writer = await scene.connect()
        head, _, body = BEGIN.rpartition(b"\r\n\r\n")
        writer.write(head + b"\r\nExpect: 100-continue\r\n\r\n")
        async with asyncio.timeout(10):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert (await reader.read()).endswith(b"ok")
        writer.close()
    assert seen[0].header("expect") == []


@pytest.mark.parametrize(
    "broken",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
@pytest.mark.parametrize("piece", [0, 1])
async def test_malformed_http_closes_the_connection_and_harms_nobody(broken: bytes, piece: int) -> None:
    async with staged(answering([], OK)) as scene:
        reader, writer = await scene.connect()
        try:
            for at in range(0, len(broken), piece or len(broken)):
                writer.write(broken[at : at + (piece or len(broken))])
            writer.write_eof()
            async with asyncio.timeout(20):
                answer = await reader.read()
            assert answer == b"" or parse(answer)[0] >= 400
        except ConnectionError:
            pass  # closed in the middle of our writing, as it should
        writer.close()
        assert parse(await scene.ask(GET))[0] == 200
        assert scene.proxy.under_way.count == 0


@pytest.mark.parametrize("request_line", [b"CONNECT shop:443 HTTP/1.1", b"OPTIONS * HTTP/1.1"])
async def test_what_has_no_path_is_refused(request_line: bytes) -> None:
    async with staged(answering([], OK)) as scene:
        status, told = refused(await scene.ask(request_line + b"\r\nHost: shop\r\nConnection: close\r\n\r\n"))
    assert (status, told["reason"]) == (501, "RequestNotSupported")


async def test_a_protocol_that_cannot_be_passed_on_is_refused_and_an_offer_of_http_2_is_ignored() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        asked = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\nUpgrade: %b\r\n\r\n"
        status, told = refused(await scene.ask(asked % b"smtp"))
        assert parse(await scene.ask(asked % b"h2c"))[0] == 200
    assert (status, told["reason"]) == (501, "RequestNotSupported")
    assert [each.header("upgrade") for each in seen] == [[]]


async def test_more_requests_than_it_can_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way, "REQUESTS_MAX", 0)
    async with staged(answering([], OK)) as scene:
        status, told = refused(await scene.ask(GET))
    assert (status, told["reason"]) == (503, "Overloaded")


async def test_a_stop_lets_the_request_under_way_end() -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await go.wait()
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with staged(application) as scene:
        asking = asyncio.create_task(scene.ask(BEGIN))
        await arrived.wait()
        stopping = asyncio.create_task(scene.server.stop(timedelta(seconds=5)))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionError):
            await scene.connect()
        go.set()
        assert parse(await asking)[0] == 200
        await stopping
    assert only_decision(scene).outcome is Outcome.COMMIT
