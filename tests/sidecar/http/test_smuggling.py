"""Requests whose end can be read in two ways: the application must never see one more than the proxy did."""

from __future__ import annotations

import asyncio

import pytest

from tests.sidecar.http.scene import Seen, answering, staged

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
INNER = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SECONDS = 5.0
LENGTH = str(len(INNER)).encode()
CHUNKS = b"0\r\n\r\n" + INNER


def framed(*lines: bytes, body: bytes = CHUNKS) -> bytes:
    return b"\r\n".join([b"POST /outer HTTP/1.1", b"Host: a", *lines, b"", b""]) + body


AMBIGUOUS = {
    "both framings": framed(b"Content-Length: 6", b"Transfer-Encoding: chunked"),
    "both framings, the other way": framed(b"Transfer-Encoding: chunked", b"Content-Length: 6"),
    "two lengths": framed(b"Content-Length: 0", b"Content-Length: " + LENGTH, body=INNER),
    "two lengths in one": framed(b"Content-Length: 0, " + LENGTH, body=INNER),
    "a signed length": framed(b"Content-Length: +0", body=INNER),
    "a length in other digits": framed("Content-Length: \u0661".encode(), body=INNER),
    "a coding that is none": framed(b"Transfer-Encoding: xchunked"),
    "a coding twice": framed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "chunked and then another": framed(b"Transfer-Encoding: chunked, gzip"),
    "a space before the colon": framed(b"Transfer-Encoding : chunked"),
    "a folded line": framed(b"X: 1\r\n Transfer-Encoding: chunked", b"Content-Length: 5"),
    "a vertical tab": framed(b"Transfer-Encoding: \x0bchunked"),
    "a nul": framed(b"Transfer-Encoding: chunked\x00"),
    "a chunk size in C": framed(b"Transfer-Encoding: chunked", body=b"0x0\r\n\r\n" + INNER),
    "a negative chunk": framed(b"Transfer-Encoding: chunked", body=b"-1\r\n\r\n" + INNER),
    "a chunk that is longer than it says": framed(
        b"Transfer-Encoding: chunked", body=b"1\r\nab\r\n0\r\n\r\n" + INNER
    ),
    "a bare line feed ends the head": b"POST /outer HTTP/1.1\nHost: a\nContent-Length: 0\n\n" + INNER,
    "a bare carriage return in a header": framed(b"X: a\rContent-Length: " + LENGTH, body=INNER),
    "HTTP/1.0 with chunks": framed(b"Transfer-Encoding: chunked").replace(b"HTTP/1.1", b"HTTP/1.0", 1),
}


@pytest.mark.parametrize("raw", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
@pytest.mark.parametrize("piece", [0, 1])
async def test_what_can_be_read_in_two_ways_never_reaches_the_application_as_two(
    raw: bytes, piece: int
) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        answered = await _talk(scene.port, raw, piece)
        assert len(seen) <= answered  # each request that it has seen is one that the proxy has read
    assert all(b"/smuggled" not in each.body for each in seen)


async def test_a_pipeline_of_whole_requests_is_answered_in_order() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        one = framed(b"Content-Length: 1", body=b"x")
        answered = await _talk(scene.port, one + one + framed(b"Content-Length: 0", body=INNER), 0)
    assert answered == len(seen) == 5
    assert [each.body for each in seen] == [b"x", b"x", b"", b"", b""]


async def _talk(port: int, raw: bytes, piece: int) -> int:
    """Send bytes and one more plain request behind them; how many answers came until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    whole, answers = raw + LAST, b""
    try:
        for at in range(0, len(whole), piece or len(whole)):
            writer.write(whole[at : at + (piece or len(whole))])
            await writer.drain()
        async with asyncio.timeout(SECONDS):
            while chunk := await reader.read(65536):
                answers += chunk
    except (ConnectionError, TimeoutError):
        pass  # closed in the middle of our writing, or it waits for more of a body, as it may
    writer.close()
    return answers.count(b"HTTP/1.1 ")
