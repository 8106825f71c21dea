from __future__ import annotations

from itertools import pairwise

import pytest

from globaltx_sidecar.http1.answers import End
from globaltx_sidecar.http1.heads import HEAD_BYTES_ALL, HEAD_BYTES_MAX, HEADERS_MAX
from globaltx_sidecar.http1.requests import Event, RequestHead, RequestReader

GET = b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-Same: 1\r\nx-same:  2 \r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
CHUNKS = (
    b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\nbo\r\n2\r\ndy\r\n0\r\n%b\r\n"
)
UPGRADE = b"POST /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"


def feeding(reader: RequestReader, raw: bytes, piece: int = 0) -> list[Event]:
    """What bytes bring, in pieces or whole, each request let in when the one before is whole."""
    events: list[Event] = []
    for at in range(0, len(raw), piece or len(raw) or 1):
        found = reader.feed(raw[at : at + (piece or len(raw))])
        while found or reader.whole:
            events += found
            found = reader.proceed() if reader.whole else []
    return events


def joined(events: list[Event]) -> list[Event]:
    """Pieces of a body as one."""
    whole: list[Event] = []
    for event in events:
        if isinstance(event, bytes) and whole and isinstance(whole[-1], bytes):
            whole[-1] += event
        else:
            whole.append(event)
    return whole


def read(raw: bytes, piece: int = 0) -> tuple[list[Event], RequestReader]:
    reader = RequestReader()
    return joined(feeding(reader, raw, piece)), reader


@pytest.mark.parametrize("piece", [0, 1, 2, 3, 7])
def test_requests_come_one_after_the_other_however_they_are_cut(piece: int) -> None:
    raw = GET + b"\r\n" + POST + CHUNKS % b"X-Sum: 1\r\n" + POST + GET
    events, reader = read(raw, piece)
    heads = [event for event in events if isinstance(event, RequestHead)]
    assert [(head.method, head.target, head.has_body) for head in heads] == [
        ("GET", "/a?b", False),
        ("POST", "/a", True),
        ("POST", "/a", True),
        ("POST", "/a", True),
        ("GET", "/a?b", False),
    ]
    assert heads[0].headers.getall("X-Same") == ["1", "2"]
    assert [event for event in events if isinstance(event, bytes)] == [b"body"] * 3
    assert [event.trailers for event in events if isinstance(event, End)] == [
        [],
        [],
        [(b"X-Sum", b"1")],
        [],
        [],
    ]
    assert reader.failed is None
    assert not reader.begun


def test_what_stands_behind_a_request_is_not_read_before_it_may() -> None:
    reader = RequestReader()
    events = reader.feed(POST + GET + b"nonsense")
    assert [type(event) for event in events] == [RequestHead, bytes, End]
    assert (reader.whole, reader.unread, reader.failed) == (True, True, None)
    assert reader.feed(b" more") == []
    assert [type(event) for event in reader.proceed()] == [RequestHead, End]
    assert reader.proceed() == []
    assert reader.failed is not None
    assert not reader.unread


@pytest.mark.parametrize("piece", [0, 1])
@pytest.mark.parametrize(
    "raw",
    [
        UPGRADE + b"Content-Length: 4\r\n\r\nbody",
        UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        UPGRADE + b"Content-Length: 29\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n--",
    ],
)
def test_an_offer_of_another_protocol_does_not_cut_a_body_off(raw: bytes, piece: int) -> None:
    events, reader = read(raw + GET, piece)
    assert [type(event) for event in events] == [RequestHead, bytes, End, RequestHead, End]
    assert isinstance(events[0], RequestHead)
    assert events[0].upgrade
    assert events[1] == raw.partition(b"\r\n\r\n")[2].removeprefix(b"4\r\n").removesuffix(b"\r\n0\r\n\r\n")
    assert reader.failed is None


def test_what_follows_an_upgrade_is_left_as_it_is() -> None:
    reader = RequestReader()
    raw = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert [type(event) for event in reader.feed(raw + b"\x81\r\n\r\nearly")] == [RequestHead, End]
    assert reader.rest() == b"\x81\r\n\r\nearly"


@pytest.mark.parametrize(
    ("raw", "keeps"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_it_says_whether_another_request_may_follow(raw: bytes, *, keeps: bool) -> None:
    events, _ = read(raw)
    assert isinstance(events[0], RequestHead)
    assert events[0].keeps is keeps
    assert not events[0].upgrade


REFUSED = {
    "no HTTP": (b"nonsense\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "another version": (b"GET / HTTP/2.0\r\n\r\n", 505),
    "no version": (b"GET /\r\n\r\n", 505),
    "a coding that is not known": (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400),
    "too many headers": (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * (HEADERS_MAX + 1) + b"\r\n", 431),
    "a long header": (b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n", 431),
    "a long target": (b"GET /" + b"x" * HEAD_BYTES_MAX + b" HTTP/1.1\r\n\r\n", 414),
    "a head without an end": (b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES_ALL, 431),
    "nothing but line breaks": (b"\r\n" * HEAD_BYTES_ALL, 431),
    "a chunk extension without an end": ((CHUNKS % b"")[:-30] + b"x" * HEAD_BYTES_ALL, 431),
    "too many trailers": (CHUNKS % (b"X: 1\r\n" * (HEADERS_MAX + 1)), 431),
    "a chunk of no size": (CHUNKS.replace(b"2\r\ndy", b"-2\r\ndy") % b"", 400),
    "a length behind chunks": (CHUNKS % b"Content-Length: 4\r\n", 400),
}


@pytest.mark.parametrize(("raw", "status"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("piece", [0, 1000])
def test_what_a_proxy_must_not_pass_on_fails(raw: bytes, status: int, piece: int) -> None:
    events, reader = read(raw, piece)
    assert reader.failed is not None
    assert reader.failed.status == status
    assert not any(isinstance(event, End) for event in events)
    assert reader.feed(GET) == []


def test_a_body_of_nothing_but_the_ends_of_heads_is_read_in_one_go() -> None:
    body = b"\r\n\r\n" * 100_000
    raw = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    events, _ = read(raw + body + GET)
    assert events[1] == body
    assert [type(a) for a, _ in pairwise(events)] == [RequestHead, bytes, End, RequestHead]
