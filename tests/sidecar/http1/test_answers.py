from __future__ import annotations

import pytest

from globaltx_sidecar.http1.answers import AnswerReader, End, Event, Head, Switched
from globaltx_sidecar.http1.heads import CONTINUED_MAX, HEAD_BYTES_ALL, HEAD_BYTES_MAX, HEADERS_MAX

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n%b\r\n"
SWITCH = b"HTTP/1.1 101 Now\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly"


def fed(reader: AnswerReader, raw: bytes, piece: int = 0) -> list[Event]:
    """What bytes bring, in pieces or whole; pieces of a body as one."""
    events: list[Event] = []
    for at in range(0, len(raw), piece or len(raw)):
        for event in reader.feed(raw[at : at + (piece or len(raw))]):
            if isinstance(event, bytes) and events and isinstance(events[-1], bytes):
                events[-1] += event
            else:
                events.append(event)
    return events


def read(raw: bytes, piece: int = 0, method: str = "GET") -> tuple[list[Event], AnswerReader]:
    reader = AnswerReader()
    reader.expect(method, upgrade=True)
    return fed(reader, raw, piece), reader


@pytest.mark.parametrize("piece", [0, 1])
def test_an_answer_is_a_head_a_body_and_an_end_and_then_the_next_may_come(piece: int) -> None:
    events, reader = read(OK, piece)
    assert events == [Head(200, b"OK", [(b"Content-Length", b"2")]), b"ok", End([])]
    assert reader.keeps
    reader.expect("GET")
    assert fed(reader, OK, piece) == events
    assert reader.keeps
    assert not reader.failed


@pytest.mark.parametrize("piece", [0, 1])
def test_trailers_stand_at_the_end(piece: int) -> None:
    events, reader = read(CHUNKS % b"X-Sum: 1\r\nX-Sum: 2\r\n", piece)
    assert events[1:] == [b"ok", End([(b"X-Sum", b"1"), (b"X-Sum", b"2")])]
    assert reader.keeps


@pytest.mark.parametrize("piece", [0, 1])
@pytest.mark.parametrize(
    ("raw", "method", "keeps"),
    [
        (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", "GET", True),
        (b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", "GET", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HEAD", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", True),
        (b"HTTP/1.1 200 OK\r\n\r\n", "HEAD", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "HEAD", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", "HEAD", False),
    ],
)
def test_some_answers_have_no_body_whatever_they_say(
    raw: bytes, method: str, piece: int, *, keeps: bool
) -> None:
    events, reader = read(raw, piece, method)
    assert [type(event) for event in events] == [Head, End]
    assert (reader.keeps, reader.failed) == (keeps, "")
    reader.expect("GET")
    assert fed(reader, OK, piece)[1:] == [b"ok", End([])]


@pytest.mark.parametrize("piece", [0, 1])
def test_what_is_announced_comes_before_the_answer(piece: int) -> None:
    events, reader = read(b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, piece)
    assert events[0] == Head(103, b"Early", [(b"Link", b"a")])
    assert [event.announces for event in events if isinstance(event, Head)] == [True, True, False]
    assert reader.keeps


@pytest.mark.parametrize("piece", [0, 1])
def test_an_answer_without_a_length_ends_with_the_connection(piece: int) -> None:
    events, reader = read(b"HTTP/1.1 200 OK\r\n\r\nok", piece)
    assert events[1:] == [b"ok"]
    assert reader.end() == [End([])]
    assert (reader.keeps, reader.failed) == (False, "")


@pytest.mark.parametrize("raw", [b"", OK[:10], OK[:-1], (CHUNKS % b"")[:-2], CHUNKS % b"X: 1"])
def test_an_answer_that_breaks_off_has_no_end(raw: bytes) -> None:
    events, reader = read(raw) if raw else ([], read(b"\r\n")[1])
    assert not any(isinstance(event, End) for event in [*events, *reader.end()])
    assert reader.failed


def test_a_switch_hands_on_what_has_come_already() -> None:
    events, reader = read(SWITCH)
    assert [type(event) for event in events] == [Head, Switched]
    assert events[1] == Switched(b"early")
    assert not reader.failed


REFUSED = {
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a coding that is not known": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "a chunk of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nok\r\n0\r\n\r\n",
    "a bare carriage return": b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "a nul": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "a blank before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "another version": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"nonsense\r\n\r\n",
    "no status": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "a switch that is none": b"HTTP/1.1 101 Now\r\n\r\n",
    "too much announced": b"HTTP/1.1 102 Wait\r\n\r\n" * (CONTINUED_MAX + 1),
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * (HEADERS_MAX + 1) + b"\r\n",
    "too many trailers": CHUNKS % (b"X: 1\r\n" * (HEADERS_MAX + 1)),
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n",
    "a head without an end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_BYTES_ALL,
    "a long reason": b"HTTP/1.1 200 " + b"x" * HEAD_BYTES_ALL,
    "a chunk extension without an end": (CHUNKS % b"")[:55] + b"x" * HEAD_BYTES_ALL,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("piece", [0, 1000])
def test_what_a_proxy_must_not_pass_on_fails(raw: bytes, piece: int) -> None:
    events, reader = read(raw, piece)
    assert reader.failed
    assert not reader.keeps
    assert not any(isinstance(event, End) for event in events)


@pytest.mark.parametrize("piece", [0, 1])
@pytest.mark.parametrize("more", [OK, b"x", b"HTTP/1.1 103 Early\r\n\r\n"])
@pytest.mark.parametrize(
    ("first", "method"),
    [(OK, "GET"), (OK[:-2], "HEAD"), (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HEAD")],
)
def test_more_than_was_asked_for_is_nobodys_answer(
    first: bytes, method: str, more: bytes, piece: int
) -> None:
    events, reader = read(first + more, piece, method)
    assert sum(isinstance(event, Head) for event in events) == 1
    assert isinstance(events[-1], End)
    assert reader.failed
    assert not reader.keeps


def test_a_switch_that_nobody_asked_for_fails() -> None:
    reader = AnswerReader()
    reader.expect("GET")
    assert reader.feed(SWITCH) == []
    assert "nobody asked" in reader.failed


def test_a_reason_is_cleaned_of_what_could_be_read_as_something_else() -> None:
    events, _ = read(b"HTTP/1.1 200 O\x00\xe9\tK\r\nContent-Length: 0\r\n\r\n")
    assert isinstance(events[0], Head)
    assert events[0].reason == b"O\xe9K"
