"""Follows what a server answers to its end, without keeping or changing it.

Bytes are passed on as they come; here only the headers are walked, and the few bytes that
tell where a response ends and how the session stands (in a transaction? autocommit?). A
response's shape depends on the command that it answers:

- result: OK, ERR, LOCAL INFILE, or a column count, that many columns, rows, and an end;
  then the next result if the flag MORE_RESULTS_EXISTS is set (COM_QUERY, COM_STMT_EXECUTE, ...);
- prepare: a header, parameter and column definitions (COM_STMT_PREPARE);
- rows until an end, without a header (COM_STMT_FETCH, COM_FIELD_LIST);
- one packet of any content (COM_STATISTICS);
- an authentication exchange until OK or ERR (login, COM_CHANGE_USER).
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812  an exception
from typing import Final

from globaltx_sidecar.mysql.packets import (
    EOF_BYTE,
    EOF_LENGTH,
    ERR_BYTE,
    HEADER_LENGTH,
    LENENC_BYTE_MAX,
    LOCAL_INFILE_BYTE,
    OK_BYTE,
    PAYLOAD_LENGTH_MAX,
    Command,
    PacketError,
    PrepareOk,
    Status,
    parse_eof,
    parse_ok,
    parse_prepare_ok,
    read_lenenc,
)

_LOOK: Final = 32
"""So many bytes of a payload tell everything that is asked here (an OK's flags end at byte 23)."""

_SHORT_OK_LENGTH: Final = 7
_LENGTH: Final = 0xFF_FF_FF
_HEAD: Final = Struct("<IB").unpack_from
"""A header, whose low three bytes are the length, and the first byte of the payload."""
_MUCH: Final = 2048
"""From so many bytes on there may be enough rows in a response for `struct` to be the quicker way."""
_MORE_RESULTS = int(Status.MORE_RESULTS_EXISTS)
_CURSOR = int(Status.CURSOR_EXISTS)


class Shape(IntEnum):
    """What kind of response a command gets."""

    RESULT = 0
    PREPARE = 1
    ROWS = 2
    ONE_PACKET = 3
    AUTHENTICATION = 4


_RESULT: Final = Shape.RESULT

SHAPES: Final[dict[int, Shape]] = {
    Command.STMT_PREPARE: Shape.PREPARE,
    Command.STMT_FETCH: Shape.ROWS,
    Command.FIELD_LIST: Shape.ROWS,
    Command.STATISTICS: Shape.ONE_PACKET,
    Command.CHANGE_USER: Shape.AUTHENTICATION,
}
"""Commands that are not listed are answered with a RESULT."""

SILENT: Final = frozenset({Command.QUIT, Command.STMT_SEND_LONG_DATA, Command.STMT_CLOSE})
"""Commands that are never answered."""


# Where in a response the next packet stands; plain numbers, because every packet asks.
_FIRST: Final = 0
_COLUMNS: Final = 1
_COLUMNS_END: Final = 2
_ROWS: Final = 3
_DEFINITIONS: Final = 4
_INFILE: Final = 5


class Follower:
    """Follows the responses to the commands in flight, in order.

    ``status`` are the flags that the server told last, ``certain`` whether they are still true:
    an ERR tells none, and an error may have rolled the transaction back. Both are shared with
    who talks to the database in between.
    """

    def __init__(self, *, deprecate_eof: bool) -> None:
        self.status = 0
        self.certain = False
        self.prepared: deque[PrepareOk | None] = deque()
        """One entry for each prepare that was answered, None if it failed; the session takes them."""
        self._deprecate_eof = deprecate_eof
        self._expected: deque[Shape] = deque()
        self._at: int = _FIRST
        self._left = 0
        self._skip = 0
        self._continued = False
        self._held = b""

    @property
    def in_flight(self) -> int:
        """How many responses have not come to their last byte."""
        return len(self._expected) + (self._skip > 0)

    @property
    def wants_file(self) -> bool:
        """Whether the server waits for the client's file (LOAD DATA LOCAL)."""
        return self._at == _INFILE

    def expect(self, shape: Shape) -> None:
        """A command was sent on whose response has this shape."""
        self._expected.append(shape)

    def file_sent(self) -> None:
        """The client has ended its file; the server's verdict comes next."""
        self._at = _FIRST

    def took_whole(self, data: bytes) -> bool:
        """Take in a whole response to the one command in flight, if it is of a common shape.

        Those are an OK, and rows that came in one piece; they make up nearly all of what passes, and
        every microsecond here is paid for each query. False: nothing was done, it is to be followed.
        """
        expected = self._expected
        if self._at != _FIRST or self._skip or self._held or self._continued or len(expected) != 1:
            return False
        if expected[0] is not _RESULT or len(data) > PAYLOAD_LENGTH_MAX:
            return False
        try:
            status = self._status_of_whole(data)
        except (StructError, IndexError):  # it is cut off
            return False
        if status is None or status & _MORE_RESULTS:
            return False
        self.status = status
        self.certain = True
        expected.popleft()
        return True

    def _status_of_whole(self, data: bytes) -> int | None:  # noqa: C901  a call costs more than a branch
        """Walk a result from its first byte to its last; None if it is not one of a common shape.

        Without `struct`, and nearly all in one function: between two responses others have the
        processor's caches, and to fetch more code and data takes longer than to work on them.
        """
        at = 0
        first = data[HEADER_LENGTH]
        if 0 < first <= LENENC_BYTE_MAX and data[0] == 1 and not (data[1] or data[2]):
            at = HEADER_LENGTH + 1
            while first:
                at += HEADER_LENGTH + (data[at] | data[at + 1] << 8 | data[at + 2] << 16)
                first -= 1
            first = data[at + HEADER_LENGTH]
            if not self._deprecate_eof:
                if first != EOF_BYTE or data[at] != EOF_LENGTH or data[at + 1] or data[at + 2]:
                    return None
                if data[at + 7] & _CURSOR:
                    return None
                at += HEADER_LENGTH + EOF_LENGTH
                first = data[at + HEADER_LENGTH]
            if len(data) > _MUCH:
                at, first = _past_rows(data, at)
            while first < EOF_BYTE:
                at += HEADER_LENGTH + (data[at] | data[at + 1] << 8 | data[at + 2] << 16)
                first = data[at + HEADER_LENGTH]
        elif first != OK_BYTE:
            return None
        start = at + HEADER_LENGTH
        length = len(data) - start
        if data[at] | data[at + 1] << 8 | data[at + 2] << 16 != length or first == ERR_BYTE:
            return None
        if (first != EOF_BYTE or length != EOF_LENGTH) and (
            length < _SHORT_OK_LENGTH
            or data[start + 1] > LENENC_BYTE_MAX
            or data[start + 2] > LENENC_BYTE_MAX
        ):
            return None
        return data[start + 3] | data[start + 4] << 8

    def follow(self, data: bytes) -> None:
        """Take in what the server sent.

        Raises:
            PacketError: it is no response.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        position = self._skip
        size = len(data)
        while position < size:
            if self._at == _ROWS:
                position = self._pass_rows(data, position)
            elif self._at == _COLUMNS:
                position = self._pass_columns(data, position)
            start = position + HEADER_LENGTH
            if start > size:
                break
            length = data[position] | data[position + 1] << 8 | data[position + 2] << 16
            if size - start < length and size - start < _LOOK:
                break
            if self._continued:
                self._continued = length == PAYLOAD_LENGTH_MAX
            else:
                self._packet(data[start : start + min(length, _LOOK)], length)
            position = start + length
        if position >= size:
            self._held = b""
            self._skip = position - size
        else:
            self._held = data[position:]
            self._skip = 0

    def _pass_columns(self, data: bytes, position: int) -> int:
        """Walk column definitions; nothing in them matters here."""
        last = len(data) - HEADER_LENGTH
        while self._left and position <= last:
            position += HEADER_LENGTH + (data[position] | data[position + 1] << 8 | data[position + 2] << 16)
            self._left -= 1
        if not self._left:
            self._at = _ROWS if self._deprecate_eof else _COLUMNS_END
        return position

    def _pass_rows(self, data: bytes, position: int) -> int:
        """Walk rows as fast as can be; stop at what may be no row."""
        last = len(data) - HEADER_LENGTH
        continued = self._continued
        while position < last:
            head, first = _HEAD(data, position)
            length = head & _LENGTH
            if first >= EOF_BYTE or continued or length == PAYLOAD_LENGTH_MAX:
                if length == PAYLOAD_LENGTH_MAX:
                    continued = True
                elif continued:
                    continued = False
                else:
                    break
            position += HEADER_LENGTH + length
        self._continued = continued
        return position

    def _packet(self, head: bytes, length: int) -> None:
        if not head:
            message = "an empty packet where a response was expected"
            raise PacketError(message)
        if not self._expected:
            self._unasked(head)
            return
        self._continued = length == PAYLOAD_LENGTH_MAX
        if self._at == _FIRST:
            self._first(head, length)
        elif self._at == _COLUMNS_END:
            self._columns_end(head)
        elif self._at == _ROWS:
            self._row(head, length)
        elif self._at == _DEFINITIONS:
            self._left -= 1
            if self._left == 0:
                self._end()
        else:
            message = "the server sent a packet while it waits for a file"
            raise PacketError(message)

    def _unasked(self, head: bytes) -> None:
        """Nothing was asked: only an ERR may come (the server is about to close the connection)."""
        if head[0] != ERR_BYTE:
            message = "the server sent a packet that answers nothing"
            raise PacketError(message)

    def _first(self, head: bytes, length: int) -> None:
        shape = self._expected[0]
        if head[0] == ERR_BYTE:
            self._fail()
        elif shape is Shape.RESULT:
            self._first_of_result(head, length)
        elif shape is Shape.PREPARE:
            self._first_of_prepare(head)
        elif shape is Shape.ONE_PACKET:
            self._end()
        elif shape is Shape.AUTHENTICATION:
            if head[0] == OK_BYTE:
                self._end_with(_status_of_ok(head))
        else:
            self._at = _ROWS
            self._row(head, length)

    def _first_of_result(self, head: bytes, length: int) -> None:
        if head[0] == OK_BYTE:
            self._end_with(_status_of_ok(head))
        elif head[0] == EOF_BYTE:
            self._end_with(_status_of_end(head, length))
        elif head[0] == LOCAL_INFILE_BYTE:
            self._at = _INFILE
        else:
            self._left, _ = read_lenenc(head, 0)
            self._at = _COLUMNS

    def _first_of_prepare(self, head: bytes) -> None:
        prepared = parse_prepare_ok(head)
        self.prepared.append(prepared)
        ends = 0 if self._deprecate_eof else 1
        self._left = sum(count + ends for count in (prepared.parameters, prepared.columns) if count)
        self._at = _DEFINITIONS
        if self._left == 0:
            self._end()

    def _columns_end(self, head: bytes) -> None:
        status = _status_of_eof(head)
        if status & _CURSOR:
            self._end_with(status)
        else:
            self._at = _ROWS

    def _row(self, head: bytes, length: int) -> None:
        if head[0] == ERR_BYTE:
            self._fail()
        elif head[0] == EOF_BYTE and length < PAYLOAD_LENGTH_MAX:
            self._end_with(_status_of_end(head, length))

    def _end_with(self, status: int) -> None:
        self.status = status
        self.certain = True
        if status & _MORE_RESULTS:
            self._at = _FIRST
        else:
            self._end()

    def _fail(self) -> None:
        self.certain = False
        if self._expected[0] is Shape.PREPARE:
            self.prepared.append(None)
        self._end()

    def _end(self) -> None:
        self._at = _FIRST
        self._expected.popleft()


def _past_rows(data: bytes, at: int) -> tuple[int, int]:
    """Walk rows that have all come; where the packet begins that ends them, and its first byte."""
    head, first = _HEAD(data, at)
    while first < EOF_BYTE:
        at += HEADER_LENGTH + (head & _LENGTH)
        head, first = _HEAD(data, at)
    return at, first


def _status_of_ok(head: bytes) -> int:
    """Read the flags of an OK; both counts before them are nearly always one byte each."""
    if len(head) >= _SHORT_OK_LENGTH and head[1] <= LENENC_BYTE_MAX and head[2] <= LENENC_BYTE_MAX:
        return head[3] | head[4] << 8
    return parse_ok(head).status


def _status_of_eof(head: bytes) -> int:
    return head[3] | head[4] << 8 if len(head) >= EOF_LENGTH else parse_eof(head).status


def _status_of_end(head: bytes, length: int) -> int:
    """Read the flags of what ends rows: an EOF, or an OK that stands for one."""
    return _status_of_eof(head) if length == EOF_LENGTH else _status_of_ok(head)
