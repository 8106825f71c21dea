from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from h2.events import PingAckReceived
from h2.settings import SettingCodes
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as some

from globaltx.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Frame,
    FrameReader,
    PeerError,
    frame,
    number,
    read_number,
    settings,
)
from globaltx.stores.etcd import headers
from globaltx.stores.etcd.calls import WINDOW
from globaltx.stores.etcd.http2 import POOL, REPLIES_MAX, Conversation
from tests.stores.etcd.peer import Server, enclosed

if TYPE_CHECKING:
    from globaltx.stores.etcd.calls import Call

BLOCK = headers.call("KV/Txn", "etcd:2379", "", tls=False)
BYTES_MAX = 8 << 20
HELLO = frame(SETTINGS, 0, 0)


def packed(*told: tuple[str, str]) -> bytes:
    """Headers by no table, as a peer may pack them that was allowed none."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode(told)


BEGIN = packed((":status", "200"), ("content-type", "application/grpc"))
END = packed(("grpc-status", "0"))


class Pair:
    """Both sides, and what goes between them, cut as told."""

    def __init__(self, server: Server | None = None, size: int = 1 << 30) -> None:
        self.server = server or Server()
        self.client = Conversation()
        self.size = size
        self.changed: list[Call] = []
        self.exchange()

    def exchange(self) -> None:
        while True:
            there, back = self.client.take(), self.server.take()
            if not there and not back:
                return
            if there:
                self.server.feed(there)
            for at in range(0, len(back), self.size):
                self.changed += self.client.feed(back[at : at + self.size])

    def begin(self, request: bytes = b"ask", *, lasts: bool = False) -> Call:
        call = self.client.begin(BLOCK, request, BYTES_MAX, lasts=lasts)
        self.exchange()
        return call


def after_a_call(*came: bytes, lasts: bool = False) -> tuple[Conversation, Call]:
    client = Conversation()
    call = client.begin(BLOCK, b"ask", BYTES_MAX, lasts=lasts)
    client.take()
    for each in (HELLO, *came):
        client.feed(each)
    return client, call


@pytest.mark.parametrize("size", [1, 2, 9, 10, 1 << 30])
def test_calls_are_answered_in_any_order(size: int) -> None:
    pair = Pair(size=size)
    calls = [pair.begin(b"ask %d" % each) for each in range(5)]
    assert [each.number for each in calls] == [1, 3, 5, 7, 9]
    for stream in (5, 1, 9, 3, 7):
        request = pair.server.requests[stream]
        assert request.whole
        pair.server.answer(stream, request.message.replace(b"ask", b"answer"))
    pair.exchange()
    assert [bytes(each.messages[0]) for each in calls] == [b"answer %d" % each for each in range(5)]
    assert [each.number for each in pair.changed] == [5, 1, 9, 3, 7]
    assert all(each.status is not None and each.status.code == 0 for each in calls)
    assert not pair.client.calls


def test_headers_are_those_of_grpc() -> None:
    client, server = Conversation(), Server()
    client.begin(headers.call("KV/Txn", "etcd:2379", "t.1", tls=True), b"", BYTES_MAX)
    server.feed(client.take())
    assert server.requests[1].headers == {
        b":method": b"POST",
        b":scheme": b"https",
        b":path": b"/etcdserverpb.KV/Txn",
        b":authority": b"etcd:2379",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
        b"hasleader": b"true",
        b"token": b"t.1",
    }
    assert server.requests[1].message == b""


@pytest.mark.parametrize("length", [1, 126, 127, 128, 254, 255, 5000])
def test_long_tokens_are_carried(length: int) -> None:
    client, server = Conversation(), Server()
    client.begin(headers.call("KV/Txn", "etcd", "x" * length, tls=False), b"", BYTES_MAX)
    server.feed(client.take())
    assert server.requests[1].headers[b"token"] == b"x" * length


@pytest.mark.parametrize("token", ["a\r\nb", "a\0", "é", "x" * 20000])
def test_what_no_header_can_hold_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="header"):
        headers.call("KV/Txn", "etcd", token, tls=False)


@given(seed=some.integers(), sizes=some.lists(some.integers(0, 300_000), min_size=1, max_size=6))
def test_large_messages_pass_both_ways_whatever_the_windows(seed: int, sizes: list[int]) -> None:
    chance = random.Random(seed)  # noqa: S311
    window = chance.choice([1, 1000, 65535, 1 << 20])
    if window == 1:
        sizes = [each % 500 for each in sizes]
    pair = Pair(Server({SettingCodes.INITIAL_WINDOW_SIZE: window}), size=chance.choice([97, 16384, 1 << 30]))
    messages = [chance.randbytes(each) for each in sizes]
    calls = [pair.client.begin(BLOCK, each, BYTES_MAX) for each in messages]
    pair.exchange()
    for call, message in zip(calls, messages, strict=True):
        assert pair.server.requests[call.number].message == message
        pair.server.begin(call.number)
    for call, message in zip(calls, messages, strict=True):
        pair.server.say(call.number, message, chance.choice([100, 5000, 16384]))
        pair.server.end(call.number)
        pair.exchange()
    assert [each.messages[0] for each in calls] == messages


def test_an_answer_may_be_larger_than_all_windows() -> None:
    pair, message = Pair(), bytes(7 << 20)
    call = pair.begin()
    pair.server.begin(call.number)
    data, at = enclosed(message), 0
    while at < len(data):
        room = min(pair.server.h2.local_flow_control_window(call.number), 16384)
        assert room > 0
        pair.server.h2.send_data(call.number, data[at : at + room])
        at += room
        pair.exchange()
    pair.server.end(call.number)
    pair.exchange()
    assert call.messages[0] == message


def test_a_request_waits_for_a_peer_that_is_not_ready() -> None:
    pair = Pair(Server(acknowledges=False))
    call = pair.begin(b"x" * 200_000)
    assert len(pair.server.requests[call.number].body) == 65535
    pair.server.h2.increment_flow_control_window(100_000, call.number)
    pair.exchange()
    assert len(pair.server.requests[call.number].body) == 65535
    pair.server.h2.increment_flow_control_window(200_000)
    pair.exchange()
    assert len(pair.server.requests[call.number].body) == 165_535
    pair.server.answer(call.number, b"enough")
    pair.exchange()
    assert call.messages[0] == b"enough"
    assert pair.server.requests[call.number].reset is not None  # of the rest nobody will hear


def test_a_lasting_call_that_nobody_takes_from_holds_the_peer_back() -> None:
    pair = Pair()
    call = pair.begin(lasts=True)
    assert not pair.server.requests[call.number].whole
    pair.server.begin(call.number)
    sent, message = 0, bytes(1000)
    while pair.server.say(call.number, message) == len(enclosed(message)):
        sent += 1
        pair.exchange()
    assert sent * 1000 < WINDOW
    other = pair.begin()
    pair.server.answer(other.number, b"of another")
    pair.exchange()
    assert other.messages[0] == b"of another"
    assert sum(map(len, call.messages)) <= WINDOW
    while pair.client.next(call) is not None:
        pass
    pair.exchange()
    assert pair.server.h2.local_flow_control_window(call.number) > WINDOW // 2


def test_a_lasting_call_tells_each_message_and_its_end() -> None:
    pair = Pair()
    call = pair.begin(lasts=True)
    pair.server.begin(call.number)
    for each in (b"one", b"two"):
        pair.server.say(call.number, each)
        pair.exchange()
        assert pair.changed.pop() is call
        assert (pair.client.next(call), pair.client.next(call)) == (each, None)
    pair.server.end(call.number, ("grpc-status", "14"), ("grpc-message", "no%20leader"))
    pair.exchange()
    assert call.status is not None
    assert (call.status.code, call.status.message) == (14, "no leader")


def test_a_call_that_is_left_is_told_and_what_still_comes_of_it_does_no_harm() -> None:
    pair = Pair()
    call, other = pair.begin(), pair.begin()
    pair.server.begin(call.number)
    pair.server.say(call.number, bytes(50_000))
    late = pair.server.take()
    pair.client.leave(call)
    pair.server.feed(pair.client.take())
    assert pair.server.requests[call.number].reset == 8
    pair.client.feed(late)
    pair.server.answer(other.number, b"fine")
    pair.exchange()
    assert other.messages[0] == b"fine"
    pair.client.leave(other)
    assert pair.client.take() == b""  # it has ended: nothing to tell


def test_what_is_left_counts_for_the_connection() -> None:
    client, call = after_a_call()
    client.leave(call)
    client.take()
    allowed = POOL
    for _ in range(POOL // 16384 * 3):
        client.feed(frame(DATA, 0, call.number, bytes(16384)))
        told = FrameReader().feed(client.take())
        allowed += sum(read_number(each.payload) for each in told if each[0] == WINDOW_UPDATE) - 16384
        assert 0 < allowed <= POOL


def test_pings_are_answered_when_there_is_time() -> None:
    pair = Pair()
    pair.server.h2.ping(b"12345678")
    pair.client.feed(pair.server.take())
    assert pair.client.owes_pongs
    assert pair.client.take(pongs=False) == b""
    pair.exchange()
    assert any(isinstance(each, PingAckReceived) for each in pair.server.others)
    assert not pair.client.owes_pongs


def test_who_goes_away_ends_what_it_had_begun_and_gets_no_more() -> None:
    pair = Pair()
    calls = [pair.begin() for _ in range(3)]
    pair.server.h2.close_connection(last_stream_id=3)
    back = pair.server.take()
    assert pair.client.feed(back) == [calls[2]]
    assert calls[2].status is not None
    assert "before" in calls[2].status.message
    assert not pair.client.usable
    pair.client.feed(frame(HEADERS, END_HEADERS, 3, BEGIN) + frame(DATA, 0, 3, enclosed(b"fine")))
    pair.client.feed(frame(HEADERS, END_HEADERS | END_STREAM, 3, END))
    assert calls[1].messages[0] == b"fine"


def test_no_more_calls_than_the_peer_allows() -> None:
    pair = Pair(Server({SettingCodes.MAX_CONCURRENT_STREAMS: 2}))
    call = pair.begin()
    usable = [pair.client.usable]
    pair.begin()
    usable.append(pair.client.usable)
    pair.server.answer(call.number, b"")
    pair.exchange()
    assert [*usable, pair.client.usable] == [True, False, True]


def test_the_windows_of_calls_follow_the_settings() -> None:
    pair = Pair(Server(acknowledges=False))
    call = pair.begin(b"x" * 60_000)
    pair.server.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    pair.exchange()
    other = pair.begin(b"x" * 100)
    assert len(pair.server.requests[other.number].body) == 10
    pair.server.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
    pair.exchange()
    assert pair.server.requests[other.number].whole
    assert call.send_window == 65_535 - 60_005


@pytest.mark.parametrize(
    ("came", "code", "said"),
    [
        ([(":status", "404"), ("content-type", "text/plain")], 12, "status 404"),
        ([(":status", "503")], 14, "status 503"),
        ([(":status", "200"), ("content-type", "text/html")], 2, "text/html"),
        ([(":status", "teapot")], 2, "teapot"),
        ([("content-type", "application/grpc")], 2, "status"),
    ],
)
@pytest.mark.parametrize("last", [0, END_STREAM])
def test_what_is_no_answer_of_grpc_is_told(
    came: list[tuple[str, str]], code: int, said: str, last: int
) -> None:
    client, call = after_a_call(frame(HEADERS, END_HEADERS | last, 1, packed(*came)))
    assert call.status is not None
    assert call.status.code == code
    assert said in call.status.message
    assert not client.calls


@pytest.mark.parametrize(
    ("trailers", "code", "message"),
    [
        ([("grpc-status", "0"), ("grpc-message", "")], 0, ""),
        (
            [("grpc-status", "7"), ("grpc-message", "etcdserver: permission denied")],
            7,
            "etcdserver: permission denied",
        ),
        ([("grpc-status", "3"), ("grpc-message", "caf%C3%A9 100%")], 3, "café 100%"),
        ([("grpc-status", "3"), ("grpc-message", "%FF")], 3, "\N{REPLACEMENT CHARACTER}"),
        ([("grpc-status", "3"), ("grpc-message", "x" * 5000)], 3, "x" * 1024),
        ([("grpc-status", "seven")], 2, "no answer of gRPC"),
        ([("grpc-status", "777")], 2, "no answer of gRPC"),
        ([("x", "y")], 2, "no answer of gRPC"),
    ],
)
def test_how_calls_end(trailers: list[tuple[str, str]], code: int, message: str) -> None:
    begun = frame(HEADERS, END_HEADERS, 1, BEGIN)
    _, call = after_a_call(begun, frame(HEADERS, END_HEADERS | END_STREAM, 1, packed(*trailers)))
    assert call.status is not None
    assert call.status.code == code
    assert call.status.message.startswith(message)
    at_once = [(":status", "200"), ("content-type", "application/grpc+proto"), *trailers]
    _, call = after_a_call(frame(HEADERS, END_HEADERS | END_STREAM, 1, packed(*at_once)))
    assert call.status is not None
    assert call.status.code == code


def test_headers_may_be_padded_weighed_and_cut() -> None:
    began = bytes((3,)) + bytes(5) + BEGIN[:2] + bytes(3)
    client, call = after_a_call(
        frame(HEADERS, PADDED | WITH_PRIORITY, 1, began),
        frame(CONTINUATION, 0, 1, BEGIN[2:5]),
        frame(CONTINUATION, END_HEADERS, 1, BEGIN[5:]),
        frame(PRIORITY, 0, 1, bytes(5)),
        frame(99, 0xFF, 77, b"of a later standard"),
        frame(DATA, PADDED, 1, bytes((4,)) + enclosed(b"fine") + bytes(4)),
        frame(HEADERS, END_STREAM, 1, END[:1]),
        frame(CONTINUATION, END_HEADERS, 1, END[1:]),
    )
    assert (call.messages[0], client.calls) == (b"fine", {})


def test_an_informational_answer_is_passed_over() -> None:
    _, call = after_a_call(
        frame(HEADERS, END_HEADERS, 1, packed((":status", "103"))),
        frame(HEADERS, END_HEADERS, 1, BEGIN),
        frame(DATA, 0, 1, enclosed(b"fine")),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, END),
    )
    assert call.messages[0] == b"fine"


def test_a_reset_call_is_told() -> None:
    client, call = after_a_call(frame(RST_STREAM, 0, 1, number(7)), frame(RST_STREAM, 0, 1, number(7)))
    assert call.status is not None
    assert (call.status.code, client.calls) == (14, {})
    assert "before it was begun" in call.status.message


BEGUN = frame(HEADERS, END_HEADERS, 1, BEGIN)
NOT_ALLOWED = {
    "no settings first": frame(PING, 0, 0, bytes(8)),
    "HTTP/1.1": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nno",
    "TLS": bytes.fromhex("15030300020228") + bytes(60),
    "settings that break off": HELLO + frame(SETTINGS, 0, 0, b"12345"),
    "tiny frames": HELLO + frame(SETTINGS, 0, 0, settings({5: 100})),
    "a window too large": HELLO + frame(SETTINGS, 0, 0, settings({4: 2**31})),
    "a window opened too far": HELLO + frame(WINDOW_UPDATE, 0, 0, number(2**31 - 1)),
    "a call's window opened too far": HELLO + frame(WINDOW_UPDATE, 0, 1, number(2**31 - 1)),
    "a window opened by nothing": HELLO + frame(WINDOW_UPDATE, 0, 0, number(0)),
    "a call's window opened by nothing": HELLO + frame(WINDOW_UPDATE, 0, 1, number(0)),
    "a long frame": HELLO + b"\x00\x40\x01" + bytes(6),
    "a short ping": HELLO + frame(PING, 0, 0, b"1"),
    "a short going away": HELLO + frame(GOAWAY, 0, 0, b"1"),
    "a short reset": HELLO + frame(RST_STREAM, 0, 1, b"1"),
    "a push": HELLO + frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + BEGIN),
    "an answer to nobody": HELLO + frame(HEADERS, END_HEADERS, 3, BEGIN),
    "an answer to the connection": HELLO + frame(HEADERS, END_HEADERS, 0, BEGIN),
    "an even call": HELLO + frame(DATA, 0, 2, b"x"),
    "data before headers": HELLO + frame(DATA, 0, 1, enclosed(b"x")),
    "headers twice": HELLO + BEGUN * 2,
    "headers that are interrupted": HELLO + frame(HEADERS, 0, 1, BEGIN) + frame(PING, 0, 0, bytes(8)),
    "headers of another between": HELLO + frame(HEADERS, 0, 1, BEGIN) + frame(CONTINUATION, 4, 3, b""),
    "headers that have not begun": HELLO + frame(CONTINUATION, END_HEADERS, 1, BEGIN),
    "headers without an end": HELLO
    + frame(HEADERS, 0, 1, BEGIN)
    + frame(CONTINUATION, 0, 1, bytes(16384)) * 5,
    "headers of a table": HELLO + frame(HEADERS, END_HEADERS, 1, b"\xbe"),
    "headers that open a table": HELLO + frame(HEADERS, END_HEADERS, 1, b"\x3f\xe1\x1f" + BEGIN),
    "headers that break off": HELLO + frame(HEADERS, END_HEADERS, 1, BEGIN[:-1]),
    "padding longer than the frame": HELLO + BEGUN + frame(DATA, PADDED, 1, b"\x05abc"),
    "padding without a length": HELLO + BEGUN + frame(DATA, PADDED, 1),
    "a packed message": HELLO + BEGUN + frame(DATA, 0, 1, b"\x01\0\0\0\x01x"),
    "a message too long": HELLO + BEGUN + frame(DATA, 0, 1, b"\0\xff\xff\xff\xff"),
    "two answers": HELLO + BEGUN + frame(DATA, 0, 1, enclosed(b"a") + enclosed(b"b")),
    "a message that breaks off": HELLO + BEGUN + frame(DATA, 0, 1, b"\0\0") + frame(HEADERS, 5, 1, END),
    "pings without number": HELLO + frame(PING, 0, 0, bytes(8)) * (REPLIES_MAX + 1),
    "settings without number": HELLO * (REPLIES_MAX + 2),
}


@pytest.mark.parametrize("size", [1, 1 << 30])
@pytest.mark.parametrize("what", NOT_ALLOWED)
def test_what_is_not_allowed_is_refused(what: str, size: int) -> None:
    client = Conversation()
    client.begin(BLOCK, b"ask", BYTES_MAX)
    client.take()
    came = NOT_ALLOWED[what]
    with pytest.raises(PeerError):  # noqa: PT012  which piece it is depends on the size
        for at in range(0, len(came), size):
            client.feed(came[at : at + size])


def test_a_peer_that_keeps_to_no_window_is_refused() -> None:
    client, call = after_a_call(BEGUN, lasts=True)
    with pytest.raises(PeerError, match="than was allowed"):  # noqa: PT012
        for _ in range(WINDOW // 1000 + 2):
            client.feed(frame(DATA, 0, 1, enclosed(bytes(995))))
    assert sum(map(len, call.messages)) <= WINDOW


@given(some.data())
def test_whatever_comes_is_read_or_refused(data: some.DataObject) -> None:
    client = Conversation()
    for lasts in (False, True):
        client.begin(BLOCK, b"ask", 5000, lasts=lasts)
    payloads = some.sampled_from([b"", BEGIN, END, number(0), number(5), enclosed(b"a"), bytes(8), b"\0\0\0"])
    frames = some.builds(
        frame,
        some.integers(0, 10),
        some.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D]),
        some.sampled_from([0, 1, 1, 3, 3, 5]),
        some.one_of(payloads, some.binary(max_size=40)),
    )
    try:
        for each in [HELLO, *data.draw(some.lists(frames, max_size=12))]:
            client.feed(each)
            client.take()
    except PeerError:
        return
    assert len(client.calls) <= 2


@given(came=some.binary(max_size=200), size=some.integers(1, 30))
def test_frames_are_cut_the_same_however_they_come(came: bytes, size: int) -> None:
    def cut(size: int) -> tuple[list[Frame], bool]:
        reader = FrameReader()
        found: list[Frame] = []
        try:
            for at in range(0, len(came), size):
                found += reader.feed(came[at : at + size])
        except PeerError:
            return found, False
        return found, True

    assert cut(size) == cut(1)
