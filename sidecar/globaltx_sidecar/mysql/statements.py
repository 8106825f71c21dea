"""The prepared statements of one connection, as far as a local transaction under an xid may need them.

Statements that only read are known by their id alone. Of the others the text is kept (bounded),
since one prepared without an xid may be executed after a statement that carries one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from globaltx.values import replace
from globaltx_sidecar.mysql.packets import Command, PacketError, frame

if TYPE_CHECKING:
    from globaltx.modes.guard_row import Guarded
    from globaltx.transaction.xid import Xid
    from globaltx.undo.literal import Value
    from globaltx_sidecar.mysql.packets import PrepareOk

from globaltx_sidecar.mysql.parameters import read_parameters, types_of, with_types

LAST_PREPARED: Final = 0xFFFF_FFFF
"""MariaDB's drivers may execute "the statement prepared last" before they know its id."""
TEXT_BYTES_MAX: Final = 4 * 1024 * 1024
"""So much text is kept for one connection; what is prepared beyond it cannot take part."""
LONG_DATA_BYTES_MAX: Final = 64 * 1024 * 1024
_STATEMENT_ID_END: Final = 5
_PIECE: Final = 512 * 1024
_PARAMETERS_AT: Final = 10
_LONG_DATA_AT: Final = 7
"""Behind command 1, statement id 4, parameter index 2."""


@dataclass(slots=True)
class Prepared:
    """A statement that may change rows; ``sql`` as the server got it, ``xid`` from its hint."""

    sql: bytes
    xid: Xid | None = None
    parameters: int = 0
    types: bytes = b""
    long_data: dict[int, bytearray] = field(default_factory=dict)
    long_data_at_server: bool = False
    """Some of it was passed on before anybody knew that it would be needed here."""
    long_data_missed: bool = False
    """There was too much of it to be kept: it must not be executed without."""
    sets_xid: bool = False
    """It is a ``SET @globaltx_xid = ...``."""
    global_lock: bool = False
    """Its hint asks to respect others' locks."""
    guard: Guarded | None = None
    """The call that its hint asks to guard, or the trace that it names."""
    traced: bool = False
    """Nobody has asked for the guard: it is written where it belongs."""
    schema: str | None = None
    """The schema that was chosen when it was prepared, which its names mean; None: not known."""
    lost: bool = False
    """Its text could not be kept, only that it has to do with an xid."""

    @property
    def concerned(self) -> bool:
        """Whether it must be looked into wherever it is executed."""
        names = self.xid is not None or self.guard is not None
        return self.long_data_missed or names or self.sets_xid or self.global_lock

    def note_types(self, payload: bytes) -> None:
        """Remember the parameters' types of an execute: the next ones may leave them out."""
        types = types_of(payload, self.parameters)
        if types is not None:
            self.types = types

    def values(self, payload: bytes, charset: str) -> tuple[Value, ...]:
        """Read the parameters of an execute.

        Raises:
            PacketError: the payload does not hold them.
        """
        self.note_types(payload)
        long_data = {index: bytes(data) for index, data in self.long_data.items()}
        return read_parameters(payload, self.parameters, self.types, charset, long_data)

    def work(self, payload: bytes) -> int:
        """Tell an execute from others: the same statement with the same values is the same work."""
        self.note_types(payload)
        return hash((self.sql, with_types(payload, self.parameters, self.types)[_PARAMETERS_AT:]))

    def keep_long_data(self, payload: bytes) -> None:
        """Keep what a COM_STMT_SEND_LONG_DATA adds to a parameter.

        What is too much is not kept, and the execute will be refused.

        Raises:
            PacketError: it is cut off, or names no parameter.
        """
        index = int.from_bytes(payload[5:_LONG_DATA_AT], "little")
        if len(payload) < _LONG_DATA_AT or index >= self.parameters:
            message = "long data for a parameter that the statement does not have"
            raise PacketError(message)
        kept = sum(len(data) for data in self.long_data.values()) + len(payload) - _LONG_DATA_AT
        if kept > LONG_DATA_BYTES_MAX or self.long_data_missed:
            self.miss_long_data()
            return
        self.long_data.setdefault(index, bytearray()).extend(payload[_LONG_DATA_AT:])

    def packets(self, payload: bytes) -> bytes:
        """Write an execute as packets of its own: its long data, the types, and no cursor.

        The values must have been read before.
        """
        statement_id = payload[1:_STATEMENT_ID_END]
        pieces = [
            bytes((Command.STMT_SEND_LONG_DATA,))
            + statement_id
            + index.to_bytes(2, "little")
            + data[at : at + _PIECE]
            for index, data in self.long_data.items()
            for at in range(0, len(data) or 1, _PIECE)
        ]
        execute = (
            bytes((payload[0],)) + statement_id + b"\0" + with_types(payload, self.parameters, self.types)[6:]
        )
        return b"".join(frame(each, 0) for each in (*pieces, execute))

    def reset(self) -> None:
        """Forget the long data, as an execute and COM_STMT_RESET do."""
        self.long_data.clear()
        self.long_data_at_server = self.long_data_missed = False

    def miss_long_data(self) -> None:
        """Keep nothing more of it, and remember that."""
        self.long_data.clear()
        self.long_data_missed = True


class Statements:
    """The prepared statements of one connection by id."""

    def __init__(self) -> None:
        self._preparing: deque[Prepared | None] = deque()
        self._reading: set[int] = set()
        self._changing: dict[int, Prepared] = {}
        self._text_bytes = 0
        self._last = LAST_PREPARED

    def preparing(self, prepared: Prepared | None) -> None:
        """A prepare was sent on; None for one that only reads."""
        self._preparing.append(prepared)

    def answered(self, answer: PrepareOk | None) -> None:
        """The server has answered the oldest prepare in flight; None if by an error."""
        prepared = self._preparing.popleft()
        if answer is None:
            self._last = LAST_PREPARED  # there is none, and never an older one in its place
            return
        self._last = answer.statement_id
        if prepared is None:
            self._reading.add(answer.statement_id)
        elif self._text_bytes + len(prepared.sql) <= TEXT_BYTES_MAX:
            prepared.parameters = answer.parameters
            self._text_bytes += len(prepared.sql)
            self._changing[answer.statement_id] = prepared
        elif prepared.concerned:
            self._changing[answer.statement_id] = replace(prepared, sql=b"", lost=True)

    def reads(self, statement_id: int) -> bool:
        """Whether the statement is known to only read."""
        if self._under_way(statement_id):
            return self._preparing[-1] is None
        return self._known(statement_id) in self._reading

    def get(self, statement_id: int) -> Prepared | None:
        """The statement that may change rows; None if its text was not kept, or it only reads."""
        if self._under_way(statement_id):
            return self._preparing[-1]
        return self._changing.get(self._known(statement_id))

    def miss_long_data(self, statement_id: int) -> None:
        """Long data of a statement was too much to be kept."""
        prepared = self.get(statement_id)
        if prepared is not None:
            prepared.miss_long_data()

    def close(self, statement_id: int) -> None:
        """COM_STMT_CLOSE."""
        statement_id = self._known(statement_id)
        self._reading.discard(statement_id)
        closed = self._changing.pop(statement_id, None)
        if closed is not None:
            self._text_bytes -= len(closed.sql)

    def clear(self) -> None:
        """The session was reset: the server has closed them all."""
        self._reading.clear()
        self._changing.clear()
        self._text_bytes = 0

    def _under_way(self, statement_id: int) -> bool:
        """Whether it is the statement prepared last, whose prepare is not answered yet."""
        return statement_id == LAST_PREPARED and bool(self._preparing)

    def _known(self, statement_id: int) -> int:
        return self._last if statement_id == LAST_PREPARED else statement_id
