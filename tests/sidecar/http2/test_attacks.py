"""What is known to bring servers of HTTP/2 down: each ends its own connection, and the others go on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hpack import Encoder
from hyperframe import frame as frames

from globaltx_sidecar.http import server
from globaltx_sidecar.http2 import exchange
from globaltx_sidecar.http2.side import TABLE_BYTES_MAX
from tests.sidecar.eventually import eventually
from tests.sidecar.http2.scene import bank

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.sidecar.http2.scene import GrpcScene

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SECONDS = 20.0
HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/bank/Plain"),
    (":authority", "bank"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


def request(stream: int, *more: tuple[str, str], flags: tuple[str, ...] = ("END_HEADERS",)) -> bytes:
    return frames.HeadersFrame(stream, Encoder().encode([*HEADERS, *more]), flags=flags).serialize()


def rapid_reset() -> Iterator[bytes]:
    for stream in range(1, 2 * 5000, 2):
        yield request(stream) + frames.RstStreamFrame(stream, ErrorCodes.CANCEL).serialize()


def made_to_reset() -> Iterator[bytes]:
    """The client does what is wrong on a stream, so that the server takes it back (CVE-2025-8671)."""
    for stream in range(1, 2 * 5000, 2):
        yield request(stream) + frames.WindowUpdateFrame(stream, 2**31 - 1).serialize()


def continuations() -> Iterator[bytes]:
    yield request(1, flags=())
    for _ in range(10_000):
        yield frames.ContinuationFrame(1, b"").serialize()


def large_continuations() -> Iterator[bytes]:
    yield request(1, flags=())
    for _ in range(10_000):
        yield frames.ContinuationFrame(1, Encoder().encode([("x", "y" * 8000)], huffman=False)).serialize()


def pings() -> Iterator[bytes]:
    for _ in range(20_000):
        yield frames.PingFrame(0, b"12345678").serialize()


def settings() -> Iterator[bytes]:
    for _ in range(20_000):
        yield frames.SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: 65535}).serialize()


def priorities() -> Iterator[bytes]:
    for number in range(20_000):
        yield frames.PriorityFrame(2 * number + 1, 0, 16).serialize()


def empty_data() -> Iterator[bytes]:
    yield request(1)
    for _ in range(20_000):
        yield frames.DataFrame(1, b"").serialize()


def unknown() -> Iterator[bytes]:
    for _ in range(20_000):
        yield bytes.fromhex("000001fa0000000000") + b"x"


FLOODS = [
    rapid_reset,
    made_to_reset,
    continuations,
    large_continuations,
    pings,
    settings,
    priorities,
    empty_data,
    unknown,
]


@asynccontextmanager
async def attacked() -> AsyncIterator[GrpcScene]:
    """A bank that is in order before and after."""
    async with bank() as scene:
        yield scene
        assert (await scene.call("Plain")).code is grpc.StatusCode.OK
        await eventually(lambda: scene.http.proxy.under_way.count == 0)
        assert scene.http.server._arrivals._door is not None
        assert scene.http.server._arrivals._door._budget.used == 0


async def goodbye(scene: GrpcScene, attack: Iterator[bytes]) -> tuple[int, int]:
    """Send what an attacker sends; the codes of the first and the last GOAWAY that it gets, -1 if none."""
    reader, writer = await scene.http.connect()
    told = asyncio.create_task(_read(reader))
    writer.write(PREFACE + frames.SettingsFrame(0).serialize())
    try:
        async with asyncio.timeout(SECONDS):
            for each in attack:
                if told.done():
                    break
                writer.write(each)
                await writer.drain()
            answer = await told
    except ConnectionError:
        answer = await told
    finally:
        writer.close()
    codes = list(_goodbyes(answer))
    return (codes[0], codes[-1]) if codes else (-1, -1)


async def _read(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    try:
        while chunk := await reader.read(65536):
            answer += chunk
    except ConnectionError:
        pass
    return answer


def _goodbyes(answer: bytes) -> Iterator[int]:
    while len(answer) >= 9:
        length = int.from_bytes(answer[:3], "big")
        if answer[3] == 7:
            yield int.from_bytes(answer[13:17], "big")
        answer = answer[9 + length :]


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_ends_its_connection_and_no_other(flood: Any) -> None:
    async with attacked() as scene:
        _, code = await goodbye(scene, flood())
    # Where the kernel drops what was written last, because more was on its way, there is no word at all.
    assert code in {ErrorCodes.ENHANCE_YOUR_CALM, -1}
    assert len(scene.bank.seen) < 1000


async def test_headers_that_grow_when_they_are_read_are_refused() -> None:
    """Each byte stands for 4,000: https://www.rfc-editor.org/rfc/rfc7541#section-7.3."""
    encoder = Encoder()
    block = encoder.encode([*HEADERS, ("x", "y" * 4000)], huffman=False) + b"\xbe" * 4000

    def bomb() -> Iterator[bytes]:
        yield frames.HeadersFrame(1, block, flags=("END_HEADERS", "END_STREAM")).serialize()

    async with attacked() as scene:
        assert (await goodbye(scene, bomb()))[1] == ErrorCodes.ENHANCE_YOUR_CALM
    assert len(scene.bank.seen) == 1


async def test_too_many_headers_are_refused() -> None:
    async with attacked() as scene:
        called = await scene.call("Plain", b"", *((f"x-{n}", "") for n in range(260)))
    assert called.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "256" in called.details


BROKEN = {
    "no settings first": frames.PingFrame(0, b"12345678").serialize(),
    "no frame": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a frame too large": b"\x00\x40\x01\x00\x00\x00\x00\x00\x01",
    "a stream of the server's": frames.SettingsFrame(0).serialize() + request(2),
    "a capital in a name": frames.SettingsFrame(0).serialize() + request(1, ("X-Capital", "1")),
    "a line end in a value": frames.SettingsFrame(0).serialize() + request(1, ("x", "1\r\ny: 2")),
    "a line end in a name": frames.SettingsFrame(0).serialize() + request(1, ("x: 1\r\ny", "2")),
    "a header of one hop": frames.SettingsFrame(0).serialize() + request(1, ("transfer-encoding", "chunked")),
    "two paths": frames.SettingsFrame(0).serialize() + request(1, (":path", "/bank/Other")),
    "a body longer than it says": frames.SettingsFrame(0).serialize()
    + request(1, ("content-length", "1"))
    + frames.DataFrame(1, b"more", flags=("END_STREAM",)).serialize(),
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("piece", [0, 1])
async def test_what_is_broken_ends_its_connection(raw: bytes, piece: int) -> None:
    async with attacked() as scene:
        reader, writer = await scene.http.connect()
        whole = PREFACE + raw
        for at in range(0, len(whole), piece or len(whole)):
            writer.write(whole[at : at + (piece or len(whole))])
        answer = await asyncio.wait_for(_read(reader), SECONDS)
        writer.close()
        assert list(_goodbyes(answer))[-1] != 0
        await eventually(lambda: scene.http.proxy.under_way.count == 0)
    assert all("other" not in each and "y" not in each for each in scene.bank.seen)


async def test_more_requests_at_a_time_than_were_agreed_on_end_the_connection() -> None:
    def many() -> Iterator[bytes]:
        for number in range(150):
            yield request(2 * number + 1)

    async with attacked() as scene:
        assert (await goodbye(scene, many()))[1] > 0
    assert len(scene.bank.seen) <= 101


async def test_a_client_cannot_make_us_keep_more_headers_than_we_wish() -> None:
    async with attacked() as scene:
        reader, writer = await scene.http.connect()
        asked = frames.SettingsFrame(0, {SettingCodes.HEADER_TABLE_SIZE: 2**30})
        writer.write(PREFACE + asked.serialize())
        await asyncio.wait_for(reader.read(1), SECONDS)
        door = scene.http.server._arrivals._door
        assert door is not None
        (bridge,) = door._open
        encoder = bridge.client.h2.encoder  # type: ignore[union-attr]
        await eventually(lambda: bridge.client.speaks)  # type: ignore[union-attr]
        assert encoder.header_table_size <= TABLE_BYTES_MAX
        writer.close()


async def test_whose_bodies_wait_for_ever_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "WAITING_BYTES_ALL", 32 * 1024)
    async with attacked() as scene, asyncio.timeout(SECONDS):
        reader, writer = await scene.http.connect()
        client = H2Connection()
        client.initiate_connection()
        client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.send_headers(1, [*HEADERS[:2], (":path", "/bank/Many"), *HEADERS[3:]])
        client.send_data(1, b"\0\0\0\0\x0210", end_stream=True)
        writer.write(client.data_to_send())
        resets: list[int] = []
        while not resets:
            for event in client.receive_data(await reader.read(65536)):
                resets += [event.error_code] if type(event).__name__ == "StreamReset" else []  # type: ignore[attr-defined]
        writer.close()
    assert resets == [ErrorCodes.ENHANCE_YOUR_CALM]


async def test_who_says_nothing_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.1)
    async with bank() as scene:
        for begun in (b"", b"PRI * HTTP/2.0"):
            reader, writer = await scene.http.connect()
            writer.write(begun)
            assert await asyncio.wait_for(_read(reader), SECONDS) == b""
            writer.close()
