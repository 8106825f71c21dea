"""Messages that go on in the bytes that they came in: byte by byte, none that would be written otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from globaltx_sidecar.http1.answers import AnswerReader, Head
from globaltx_sidecar.http1.heads import answer_head, by_name, decoded, request_head
from globaltx_sidecar.http1.requests import RequestHead, RequestReader, is_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = b"{method} {target} HTTP/1.1{version}\r\n{line}Host: a\r\n{start}X-A{name}:{value} v{end}\r\n\r\n"
ANSWER = (
    b"HTTP/1.1 200 OK{reason}\r\n{line}Date: a\r\nContent-Length: 0\r\n"
    b"{start}X-A{name}:{value} v{end}\r\n\r\n"
)
PLACES = {
    REQUEST: ("method", "target", "version", "line", "start", "name", "value", "end"),
    ANSWER: ("reason", "line", "start", "name", "value", "end"),
}


def each(template: bytes, place: str) -> Iterator[bytes]:
    """The message with each byte there, alone, twice, and before a letter."""
    usual = {"method": b"GET", "target": b"/a"}
    filled = template
    for other in PLACES[template]:
        if other != place:
            filled = filled.replace(b"{%b}" % other.encode(), usual.get(other, b""))
    for byte in map(bytes, zip(range(256), strict=True)):
        for put in (byte, byte * 2, byte + b"a"):
            yield filled.replace(b"{%b}" % place.encode(), usual.get(place, b"") + put)


@pytest.mark.parametrize("place", PLACES[REQUEST])
def test_a_request_that_goes_on_as_it_came_is_read_as_one_written_anew(place: str) -> None:
    plain = 0
    for raw in each(REQUEST, place):
        reader = RequestReader()
        head = next((event for event in reader.feed(raw) if isinstance(event, RequestHead)), None)
        if head is None or reader.failed or not is_plain(head, reader.as_it_came()):
            continue
        plain += 1
        (again, *_) = RequestReader().feed(request_head(head.method, head.target, head.headers))
        assert isinstance(again, RequestHead)
        assert (again.method, again.target, again.pairs) == (head.method, head.target, head.pairs), raw
    assert plain > 0 or place in {"method", "version", "line", "start"}


@pytest.mark.parametrize("place", PLACES[ANSWER])
def test_an_answer_that_goes_on_as_it_came_is_read_as_one_written_anew(place: str) -> None:
    plain = 0
    for raw in each(ANSWER, place):
        reader, other = AnswerReader(), AnswerReader()
        reader.expect("GET")
        events = reader.feed(raw)
        if len(events) < 2 or not reader.is_plain(raw, events):
            continue
        plain += 1
        head = events[0]
        assert isinstance(head, Head)
        other.expect("GET")
        (again, *_) = other.feed(answer_head(head.status, decoded(head.reason), by_name(head.headers)))
        assert again == head, raw
    assert plain > 0 or place in {"line", "start"}


@pytest.mark.parametrize(
    "lengths", [b"Content-Length: 4\r\nContent-Length: 4", b"Content-Length: 4, 4", b"Content-Length: +4"]
)
def test_a_length_that_can_be_read_in_two_ways_is_refused_and_not_passed_on(lengths: bytes) -> None:
    reader = RequestReader()
    assert reader.feed(b"POST /a HTTP/1.1\r\nHost: a\r\n%b\r\n\r\nbody" % lengths) == []
    assert reader.failed is not None
    assert reader.as_it_came() == b""


def test_what_came_in_two_goes_or_with_a_second_one_is_told_apart() -> None:
    raw = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
    for cut in range(1, len(raw)):
        reader = RequestReader()
        reader.feed(raw[:cut])
        reader.feed(raw[cut:])
        assert (reader.whole, reader.as_it_came()) == (True, b"")
    reader = RequestReader()
    reader.feed(raw + raw[:9])
    assert reader.as_it_came() == raw
    reader.proceed()
    reader.feed(raw[9:])
    assert (reader.whole, reader.as_it_came()) == (True, b"")


ANSWERED = b"HTTP/1.1 200 OK\r\nDate: a\r\nContent-Length: 2\r\nX: HTTP/1.1 200 OK\r\n\r\nok"


@pytest.mark.parametrize(
    "raw",
    [
        ANSWERED + b"\r\n",
        ANSWERED + b"\n",
        b"\r\n" + ANSWERED,
        ANSWERED.replace(b"\r\n\r\n", b"\r\n\n"),
        ANSWERED.replace(b"\r\n", b"\n").replace(b"OK\nDate", b"OK\r\nDate"),
        ANSWERED.replace(b"\r\n\r\nok", b"\r\n\n\r\n\r\n").replace(b": 2", b": 4"),
    ],
)
def test_an_answer_goes_on_as_it_came_only_if_its_head_ends_as_it_should_and_nothing_stands_behind(
    raw: bytes,
) -> None:
    reader = AnswerReader()
    reader.expect("GET")
    events = reader.feed(raw)
    assert (reader.failed, len(events)) == ("", 3)
    assert not reader.is_plain(raw, events)
