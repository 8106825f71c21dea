"""Reads whole responses to commands of our own, bounded, as values.

`results` follows what is passed on; this is for the trains that the sidecar itself sends,
whose rows (images) it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from globaltx_sidecar.mysql.packets import (
    EOF_BYTE,
    EOF_LENGTH,
    ERR_BYTE,
    LOCAL_INFILE_BYTE,
    OK_BYTE,
    PAYLOAD_LENGTH_MAX,
    Err,
    Ok,
    PacketError,
    Status,
    parse_eof,
    parse_err,
    parse_ok,
    parse_row,
    read_lenenc,
)
from globaltx_sidecar.mysql.reader import PacketReader

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

ROWS_BYTES_MAX: Final = 16 * 1024 * 1024
"""More of images than this for one statement is not kept: the statement is refused."""
_MORE_RESULTS: Final = int(Status.MORE_RESULTS_EXISTS)
_CURSOR_EXISTS: Final = int(Status.CURSOR_EXISTS)
_PACKET_BYTES_MAX: Final = 64 * 1024 * 1024

Row = tuple[bytes | None, ...]


@dataclass(slots=True)
class Result:
    """One result of a response; ``end`` is its OK (or EOF), or the ERR that stopped everything."""

    end: Ok | Err
    rows: list[Row] = field(default_factory=list)
    columns: int = 0
    overflowed: bool = False
    """There were more rows than are kept."""
    payloads: list[bytes] = field(default_factory=list)
    """All its packets, if it was to be kept verbatim; then ``rows`` is empty."""
    rows_at: int = 0
    """Where in them its rows begin."""

    @property
    def row_count(self) -> int:
        """How many rows were kept."""
        return len(self.payloads) - self.rows_at - 1 if self.payloads else len(self.rows)

    def text_rows(self) -> list[Row]:
        """Read the rows, whether it was kept verbatim or not.

        Raises:
            PacketError: they are no rows of the text protocol.
        """
        if not self.payloads:
            return self.rows
        return [parse_row(payload, self.columns) for payload in self.payloads[self.rows_at : -1]]

    def answer(self, *, set_: int = 0, clear: int = 0) -> tuple[bytes, ...]:
        """Give the packets of a result that is no error, with other status flags.

        One with rows must have been kept verbatim.
        """
        if self.payloads:
            return tuple(self._flagged(set_, clear))
        if self.columns or isinstance(self.end, Err):
            message = "a result was not kept, or is an error"
            raise ValueError(message)
        return (self.end.with_status(set_=set_, clear=clear).encode(),)

    def _flagged(self, set_: int, clear: int) -> Iterator[bytes]:
        definitions_end = 1 + self.columns
        for index, payload in enumerate(self.payloads):
            ends = index == len(self.payloads) - 1 or (self.columns and index == definitions_end)
            yield _flagged(payload, set_, clear) if ends else payload


@dataclass(slots=True)
class Reply:
    """The whole response to one command; only the last result can be an error."""

    results: list[Result]

    @property
    def last(self) -> Result:
        """The result that ends the response."""
        return self.results[-1]

    @property
    def error(self) -> Err | None:
        """The error that ended it, if one did."""
        return self.last.end if isinstance(self.last.end, Err) else None


class Collector:
    """Makes replies of bytes; made for one connection, used for one train after the other."""

    def __init__(self, *, deprecate_eof: bool) -> None:
        self._deprecate_eof = deprecate_eof
        self._reader = PacketReader(_PACKET_BYTES_MAX)
        self._parser: Generator[None, bytes, Reply] | None = None
        self.verbatim = False
        """Keep the packets of the replies that come, and read no rows."""

    @property
    def pending(self) -> int:
        """How many bytes are left that belong to no reply."""
        return self._reader.pending

    def collect(self, data: bytes) -> list[Reply]:
        """Take in bytes and give the replies that are whole.

        Raises:
            PacketError: they are no response, or a packet is too large.
        """
        replies = []
        for payload in self._reader.payloads(data):
            if self._parser is None:
                self._parser = self._reply()
                next(self._parser)
            try:
                self._parser.send(payload)
            except StopIteration as end:
                self._parser = None
                replies.append(end.value)
        return replies

    def _reply(self) -> Generator[None, bytes, Reply]:
        results: list[Result] = []
        while True:
            payloads: list[bytes] = []
            result = yield from self._result(payloads)
            if self.verbatim and not result.overflowed:
                result.payloads = payloads
            results.append(result)
            if isinstance(result.end, Err) or not result.end.status & _MORE_RESULTS:
                return Reply(results)

    def _result(self, payloads: list[bytes]) -> Generator[None, bytes, Result]:
        """Read one result; ``payloads`` gets its packets, if they are to be kept."""
        first = yield
        if self.verbatim:
            payloads.append(first)
        if not first or first[0] == LOCAL_INFILE_BYTE:
            message = "the server asked for something that no command of ours can lead to"
            raise PacketError(message)
        if first[0] == OK_BYTE:
            return Result(parse_ok(first))
        if (end := _end(first)) is not None:
            return Result(end)
        columns, _ = read_lenenc(first, 0)
        for _ in range(columns if self._deprecate_eof else columns + 1):
            payload = yield
            if self.verbatim:
                payloads.append(payload)
        if not self._deprecate_eof:
            defined = parse_eof(payload)
            if defined.status & _CURSOR_EXISTS:
                return Result(defined, columns=columns)
        return (yield from self._rows(columns, payloads))

    def _rows(self, columns: int, payloads: list[bytes]) -> Generator[None, bytes, Result]:
        rows: list[Row] = []
        rows_at = len(payloads)
        kept = 0
        while True:
            payload = yield
            if self.verbatim:
                payloads.append(payload)
            if (end := _end(payload)) is not None:
                return Result(end, rows, columns, overflowed=kept > ROWS_BYTES_MAX, rows_at=rows_at)
            kept += len(payload)
            if kept > ROWS_BYTES_MAX:
                rows.clear()
                payloads.clear()
            elif not self.verbatim:
                rows.append(parse_row(payload, columns))


def _flagged(payload: bytes, set_: int, clear: int) -> bytes:
    """Change status flags in what ends a result, or its column definitions."""
    end = _end(payload) if payload[:1] != bytes((OK_BYTE,)) else parse_ok(payload)
    if not isinstance(end, Ok):
        return payload
    end = end.with_status(set_=set_, clear=clear)
    if len(payload) != EOF_LENGTH or payload[:1] != bytes((EOF_BYTE,)):
        return end.encode()
    return payload[:3] + end.status.to_bytes(2, "little")


def _end(payload: bytes) -> Ok | Err | None:
    """Read what ends a result; None if it is a row."""
    first = payload[0] if payload else 0
    if first < EOF_BYTE:
        return None
    if first == ERR_BYTE:
        return parse_err(payload)
    if len(payload) < PAYLOAD_LENGTH_MAX:
        return parse_eof(payload) if len(payload) == EOF_LENGTH else parse_ok(payload)
    return None
