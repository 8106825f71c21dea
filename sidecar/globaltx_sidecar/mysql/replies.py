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
    from collections.abc import Generator

ROWS_BYTES_MAX: Final = 16 * 1024 * 1024
"""More of images than this for one statement is not kept: the statement is refused."""
_MORE_RESULTS: Final = int(Status.MORE_RESULTS_EXISTS)
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

    @property
    def pending(self) -> int:
        """How many bytes are left that belong to no reply."""
        return self._reader.pending

    def collect(self, data: bytes) -> list[Reply]:
        """Take in bytes and give the replies that are whole.

        Raises:
            PacketError: they are no response, or a packet is too large.
        """
        self._reader.feed(data)
        replies = []
        for packet in self._reader:
            if self._parser is None:
                self._parser = self._reply()
                next(self._parser)
            try:
                self._parser.send(packet.payload)
            except StopIteration as end:
                self._parser = None
                replies.append(end.value)
        return replies

    def _reply(self) -> Generator[None, bytes, Reply]:
        reply = Reply([])
        while True:
            result = yield from self._result()
            reply.results.append(result)
            if isinstance(result.end, Err) or not result.end.status & _MORE_RESULTS:
                return reply

    def _result(self) -> Generator[None, bytes, Result]:
        first = yield
        if not first or first[0] == LOCAL_INFILE_BYTE:
            message = "the server asked for something that no command of ours can lead to"
            raise PacketError(message)
        if first[0] == OK_BYTE:
            return Result(parse_ok(first))
        if (end := _end(first)) is not None:
            return Result(end)
        columns, _ = read_lenenc(first, 0)
        for _ in range(columns + (0 if self._deprecate_eof else 1)):
            yield
        return (yield from self._rows(columns))

    def _rows(self, columns: int) -> Generator[None, bytes, Result]:
        rows: list[Row] = []
        kept = 0
        while True:
            payload = yield
            if (end := _end(payload)) is not None:
                return Result(end, rows, columns, overflowed=kept > ROWS_BYTES_MAX)
            kept += len(payload)
            if kept > ROWS_BYTES_MAX:
                rows.clear()
            else:
                rows.append(parse_row(payload, columns))


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
