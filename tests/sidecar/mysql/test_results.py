"""The follower against its dumb twin: what reads every response whole."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx_sidecar.mysql.packets import Err, Ok, PacketError, Status, frame, lenenc
from globaltx_sidecar.mysql.replies import ROWS_BYTES_MAX, Collector
from globaltx_sidecar.mysql.results import Follower, Shape

COLUMN = b"\x03def" + b"\x04shop\x04item\x04item\x02id\x02id" + b"\x0c" + bytes(12)
SIZES = st.lists(st.integers(1, 40), min_size=1)
STATUSES = st.sampled_from([0, 1, 2, 3, 0x22, 0x4002])


@dataclass(frozen=True)
class Result:
    """A result as a server writes it."""

    end: Ok | Err
    columns: int = 0
    rows: tuple[tuple[bytes | None, ...], ...] = ()

    def payloads(self, *, deprecate_eof: bool, more: bool) -> list[bytes]:
        end = self._end(deprecate_eof=deprecate_eof, more=more)
        if not self.columns:
            return [end]
        definitions = [lenenc(self.columns), *[COLUMN] * self.columns]
        if not deprecate_eof:
            definitions.append(b"\xfe\0\0\2\0")
        return [*definitions, *map(_row, self.rows), end]

    def _end(self, *, deprecate_eof: bool, more: bool) -> bytes:
        if isinstance(self.end, Err):
            return self.end.encode()
        ok = self.end.with_status(set_=Status.MORE_RESULTS_EXISTS) if more else self.end
        if not self.columns:
            return ok.encode()
        if deprecate_eof:
            return Ok(0, 0, ok.status, ok.warnings, ok.tail, 0xFE).encode()
        return b"\xfe" + ok.warnings.to_bytes(2, "little") + ok.status.to_bytes(2, "little")


def _row(values: tuple[bytes | None, ...]) -> bytes:
    return b"".join(b"\xfb" if value is None else lenenc(len(value)) + value for value in values)


def oks() -> st.SearchStrategy[Ok]:
    return st.builds(Ok, st.integers(0, 70_000), st.integers(0, 70_000), STATUSES, st.integers(0, 3))


@st.composite
def results(draw: st.DrawFn) -> Result:
    columns = draw(st.integers(0, 3))
    values = st.tuples(*[st.none() | st.binary(max_size=20) for _ in range(columns)])
    rows = tuple(draw(st.lists(values, max_size=5))) if columns else ()
    return Result(draw(oks()), columns, rows)


@st.composite
def responses(draw: st.DrawFn) -> list[Result]:
    found = draw(st.lists(results(), min_size=1, max_size=3))
    if draw(st.booleans()):
        found[-1] = Result(Err(1213, "40001", "Deadlock"), found[-1].columns, found[-1].rows)
    return found


def written(response: list[Result], *, deprecate_eof: bool) -> bytes:
    payloads: list[bytes] = []
    for number, result in enumerate(response, 1):
        payloads += result.payloads(deprecate_eof=deprecate_eof, more=number < len(response))
    return b"".join(frame(payload, number) for number, payload in enumerate(payloads, 1))


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, position = [], 0
    for number in range(len(data)):
        if position >= len(data):
            break
        size = sizes[number % len(sizes)]
        pieces.append(data[position : position + size])
        position += size
    return pieces


@given(all_responses=st.lists(responses(), min_size=1, max_size=4), deprecate_eof=st.booleans(), sizes=SIZES)
def test_the_end_of_every_response_is_found(
    *, all_responses: list[list[Result]], deprecate_eof: bool, sizes: list[int]
) -> None:
    data = [written(response, deprecate_eof=deprecate_eof) for response in all_responses]
    for pieces in (data, cut(b"".join(data), sizes), cut(b"".join(data), [1])):
        follower = Follower(deprecate_eof=deprecate_eof)
        for _ in all_responses:
            follower.expect(Shape.RESULT)
        for number, piece in enumerate(pieces, 1):
            follower.follow(piece)
            if pieces is data:
                assert follower.in_flight == len(all_responses) - number
                end = all_responses[number - 1][-1].end
                assert follower.certain is isinstance(end, Ok)
                if isinstance(end, Ok):
                    assert follower.status == end.status
        assert follower.in_flight == 0


@given(
    response=responses(),
    deprecate_eof=st.booleans(),
    cut_off=st.integers(0, 30),
    behind=st.binary(max_size=12),
    change=st.none() | st.tuples(st.integers(0, 400), st.integers(0, 255)),
)
def test_what_is_taken_whole_would_have_been_followed_to_the_same_end(
    *,
    response: list[Result],
    deprecate_eof: bool,
    cut_off: int,
    behind: bytes,
    change: tuple[int, int] | None,
) -> None:
    data = bytearray(written(response, deprecate_eof=deprecate_eof) + behind)
    if change is not None:
        data[change[0] % len(data)] = change[1]
    received = bytes(data[: len(data) - cut_off] or data)
    quick, slow = Follower(deprecate_eof=deprecate_eof), Follower(deprecate_eof=deprecate_eof)
    quick.expect(Shape.RESULT)
    slow.expect(Shape.RESULT)
    if quick.took_whole(received):
        slow.follow(received)
        assert slow.in_flight == quick.in_flight == 0
        assert (quick.status, quick.certain) == (slow.status, slow.certain)
    else:
        assert (quick.in_flight, quick.status, quick.certain) == (1, 0, False)


@pytest.mark.parametrize("deprecate_eof", [False, True])
@pytest.mark.parametrize(
    "result",
    [
        Result(Ok(3, 7, 2)),
        Result(Ok(0, 0, 3), 2, ((b"a", None), (b"b" * 300, b"c"))),
        Result(Ok(), 1),
        Result(Ok(0, 0, 3), 1, ((b"d" * 100,),) * 50),
    ],
)
def test_common_responses_are_taken_whole(*, result: Result, deprecate_eof: bool) -> None:
    follower = Follower(deprecate_eof=deprecate_eof)
    follower.expect(Shape.RESULT)
    data = written([result], deprecate_eof=deprecate_eof)
    assert not any(follower.took_whole(data[:size]) for size in range(len(data)))
    assert not follower.took_whole(data + b"\0")
    assert follower.took_whole(data)
    assert (follower.in_flight, follower.certain) == (0, True)
    assert isinstance(result.end, Ok)
    assert follower.status == result.end.status


def test_a_cursor_has_no_rows_to_be_walked() -> None:
    response = [lenenc(1), COLUMN, b"\xfe\0\0" + int(Status.CURSOR_EXISTS).to_bytes(2, "little")]
    data = b"".join(frame(payload, number) for number, payload in enumerate(response, 1))
    follower = Follower(deprecate_eof=False)
    follower.expect(Shape.RESULT)
    assert not follower.took_whole(data)
    follower.follow(data)
    assert follower.in_flight == 0


@given(all_responses=st.lists(responses(), min_size=1, max_size=3), deprecate_eof=st.booleans(), sizes=SIZES)
def test_the_collector_reads_what_was_written(
    *, all_responses: list[list[Result]], deprecate_eof: bool, sizes: list[int]
) -> None:
    data = b"".join(written(response, deprecate_eof=deprecate_eof) for response in all_responses)
    for pieces in ([data], cut(data, sizes), cut(data, [1])):
        collector = Collector(deprecate_eof=deprecate_eof)
        replies = [reply for piece in pieces for reply in collector.collect(piece)]
        assert collector.pending == 0
        assert [len(reply.results) for reply in replies] == [len(response) for response in all_responses]
        for reply, response in zip(replies, all_responses, strict=True):
            assert [tuple(result.rows) for result in reply.results] == [result.rows for result in response]
            assert reply.error == (response[-1].end if isinstance(response[-1].end, Err) else None)


@given(data=st.binary(max_size=200), shape=st.sampled_from(Shape), deprecate_eof=st.booleans())
def test_garbage_is_a_packet_error_or_is_waited_for(
    *, data: bytes, shape: Shape, deprecate_eof: bool
) -> None:
    follower = Follower(deprecate_eof=deprecate_eof)
    follower.expect(shape)
    collector = Collector(deprecate_eof=deprecate_eof)
    for reads in (follower.follow, collector.collect):
        with suppress(PacketError):
            reads(data)


def test_values_that_begin_like_an_end() -> None:
    """A text row begins with 0xFE only if its first value has 16 MiB or more; a binary one with 0."""
    follower = Follower(deprecate_eof=True)
    follower.expect(Shape.RESULT)
    follower.follow(frame(b"\x01", 1) + frame(COLUMN, 2))
    value = b"x" * (1 << 24)
    follower.follow(frame(lenenc(len(value)) + value, 3))
    assert follower.in_flight == 1
    follower.follow(frame(b"\x00\x00" + b"\xfe" * 30, 5))
    assert follower.in_flight == 1
    follower.follow(frame(Ok(header=0xFE, status=2).encode(), 6))
    assert (follower.in_flight, follower.status) == (0, 2)


@pytest.mark.parametrize("deprecate_eof", [False, True])
@pytest.mark.parametrize(("parameters", "columns"), [(0, 0), (2, 0), (0, 3), (2, 3)])
def test_prepare_responses(*, deprecate_eof: bool, parameters: int, columns: int) -> None:
    payloads = [b"\0\7\0\0\0" + columns.to_bytes(2, "little") + parameters.to_bytes(2, "little") + b"\0\0\0"]
    for count in (parameters, columns):
        payloads += [COLUMN] * count
        if count and not deprecate_eof:
            payloads.append(b"\xfe\0\0\2\0")
    data = b"".join(frame(payload, number) for number, payload in enumerate(payloads, 1))
    for pieces in ([data], cut(data, [1])):
        follower = Follower(deprecate_eof=deprecate_eof)
        follower.expect(Shape.PREPARE)
        follower.expect(Shape.PREPARE)
        for piece in pieces:
            assert follower.in_flight >= 2
            follower.follow(piece)
        assert follower.in_flight == 1
        follower.follow(frame(Err(1064, "42000", "no").encode(), 1))
        first, second = follower.prepared
        assert first is not None
        assert (first.statement_id, first.parameters, first.columns) == (7, parameters, columns)
        assert second is None


def test_a_cursor_opens_without_rows() -> None:
    follower = Follower(deprecate_eof=False)
    follower.expect(Shape.RESULT)
    follower.follow(frame(b"\x01", 1) + frame(COLUMN, 2) + frame(b"\xfe\0\0\x42\0", 3))
    assert follower.in_flight == 0
    follower.expect(Shape.ROWS)
    follower.follow(frame(b"\0\0\1\0\0\0", 1) + frame(b"\xfe\0\0\x82\0", 2))
    assert follower.in_flight == 0


def test_a_file_is_asked_for() -> None:
    follower = Follower(deprecate_eof=False)
    follower.expect(Shape.RESULT)
    follower.follow(frame(b"\xfb/tmp/rows.csv", 1))
    wanted = [follower.wants_file]
    follower.file_sent()
    assert [*wanted, follower.wants_file] == [True, False]
    follower.follow(frame(Ok(3, status=2).encode(), 3))
    assert follower.in_flight == 0


def test_one_packet_and_authentication() -> None:
    follower = Follower(deprecate_eof=False)
    follower.expect(Shape.ONE_PACKET)
    follower.follow(frame(b"Uptime: 5", 1))
    assert follower.in_flight == 0
    follower.expect(Shape.AUTHENTICATION)
    follower.follow(frame(b"\xfemysql_native_password\0" + bytes(21), 1))
    follower.follow(frame(b"\x01\x04", 3))
    assert follower.in_flight == 1
    follower.follow(frame(Ok(status=2).encode(), 5))
    assert (follower.in_flight, follower.status) == (0, 2)


def test_what_nobody_asked_for() -> None:
    follower = Follower(deprecate_eof=False)
    follower.follow(frame(Err(4031, "HY000", "idle for too long").encode(), 0))
    with pytest.raises(PacketError):
        follower.follow(frame(Ok().encode(), 0))


def test_more_rows_than_are_kept() -> None:
    collector = Collector(deprecate_eof=True)
    row = frame(lenenc(1 << 20) + b"x" * (1 << 20), 9)
    collector.collect(frame(b"\x01", 1) + frame(COLUMN, 2))
    for _ in range(ROWS_BYTES_MAX // (1 << 20) + 2):
        assert not collector.collect(row)
    (reply,) = collector.collect(frame(Ok(header=0xFE).encode(), 10))
    assert reply.last.overflowed
    assert not reply.last.rows
