"""The road of what has nothing to tell: a cheap look at each command before it goes on.

The look finds what may carry an xid, and keeps the little that a later statement with an xid
needs to know: whether the open transaction has written, whether the connection's settings may
have changed, and what was prepared. It never parses SQL; where it is not sure, it assumes the
worse (that a statement writes, that it changes settings), which costs one question later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from globaltx_sidecar.mysql.packets import Command, statement_id_of
from globaltx_sidecar.mysql.results import SHAPES, SILENT, Shape
from globaltx_sidecar.mysql.statements import Prepared

if TYPE_CHECKING:
    from globaltx_sidecar.mysql.local import Standing

HEAD_LENGTH_MAX: Final = 160 * 1024
"""So much of a command tells all that is looked at (an execute carries at most 65,535 types)."""

_TEXT_AT: Final = 5
"""Behind header 4, command 1."""
_WORD_LOOK: Final = 24

_READS: Final = frozenset(
    {b"select", b"show", b"explain", b"describe", b"desc", b"help", b"kill", b"savepoint", b"release"}
)
_WRITES: Final = frozenset({b"insert", b"update", b"delete", b"replace"})
_ENDS: Final = frozenset({b"commit", b"begin", b"start", b"rollback"})
_SETTINGS: Final = (b"char", b"names", b"mode")
"""One of these stands in every SET that changes how SQL is read."""
_REPLICATION: Final = frozenset({Command.BINLOG_DUMP, Command.BINLOG_DUMP_GTID, Command.TABLE_DUMP})


class Road:
    """Looks at what passes; keeps what is seen in the connection's standing."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._follower = standing.follower
        self.left: Command | None = None
        """CHANGE_USER or BINLOG_DUMP has passed: what follows are no commands for now."""

    def passes(self, packet: bytes) -> bool:
        """Look at a packet (with its header; of a long one that is no statement: at its head).

        True: it goes on, everything is noted. False: nothing was noted, it must be inspected.
        """
        command = packet[4]
        if command == Command.QUERY:
            text = packet.lower()
            if b"xid" in text and (b"/*+" in text or b"globaltx_xid" in text):
                return False
            self._note_query(text)
            self._follower.expect(Shape.RESULT)
            return True
        if command == Command.STMT_EXECUTE:
            return self._passes_execute(packet)
        if command == Command.STMT_PREPARE:
            text = packet.lower()
            if b"xid" in text and b"/*+" in text:
                return False
        elif command == Command.STMT_SEND_LONG_DATA and not self._passes_long_data(packet):
            return False
        elif command == Command.STMT_BULK_EXECUTE and self._hinted(packet):
            return False
        self.pass_on(packet)
        return True

    def pass_on(self, packet: bytes, prepared: Prepared | None = None) -> None:
        """Note a packet that goes on, whatever it is."""
        command = packet[4]
        if command == Command.QUERY:
            self._note_query(packet.lower())
        elif command == Command.STMT_PREPARE:
            self._note_prepare(packet, prepared)
        elif command in _NOTES:
            _NOTES[command](self, packet)
        elif command in _REPLICATION:
            self.left = Command.BINLOG_DUMP
            return
        if command not in SILENT:
            self._follower.expect(SHAPES.get(command, Shape.RESULT))

    def _note_query(self, text: bytes) -> None:
        """Note what a statement (in lower case, with header) may do to transaction and settings."""
        standing = self._standing
        if standing.multi_statements and b";" in text:
            standing.settings = None
            standing.wrote_unhinted = True
            return
        word = _first_word(text, _TEXT_AT)
        if word in _READS:
            return
        if word in _WRITES:
            standing.wrote_unhinted = True
        elif word in _ENDS:
            if b" to" not in text:
                standing.wrote_unhinted = False
        elif word == b"set":
            if any(setting in text for setting in _SETTINGS):
                standing.settings = None
        else:
            standing.settings = None
            standing.wrote_unhinted = word != b"use" or standing.wrote_unhinted

    def _note_prepare(self, packet: bytes, prepared: Prepared | None) -> None:
        if prepared is None and _first_word(packet, _TEXT_AT) not in _READS:
            prepared = Prepared(packet[_TEXT_AT:])
        self._standing.statements.preparing(prepared)

    def _passes_execute(self, packet: bytes) -> bool:
        standing = self._standing
        statement_id = statement_id_of(packet[4:])
        if not standing.statements.reads(statement_id):
            prepared = standing.statements.get(statement_id)
            if prepared is not None:
                if prepared.xid is not None:
                    return False
                prepared.note_types(packet[4:])
                prepared.reset()
            self._note_unknown_execute(prepared)
        self._follower.expect(Shape.RESULT)
        return True

    def _note_unknown_execute(self, prepared: Prepared | None) -> None:
        self._standing.wrote_unhinted = True
        if prepared is None or _first_word(prepared.sql) not in _WRITES:
            self._standing.settings = None

    def _passes_long_data(self, packet: bytes) -> bool:
        prepared = self._standing.statements.get(statement_id_of(packet[4:]))
        if prepared is None:
            return True
        if prepared.xid is not None:
            return False
        prepared.long_data_at_server = True
        return True

    def _hinted(self, packet: bytes) -> bool:
        prepared = self._standing.statements.get(statement_id_of(packet[4:]))
        return prepared is not None and prepared.xid is not None

    def _note_bulk_execute(self, packet: bytes) -> None:
        del packet
        self._standing.wrote_unhinted = True

    def _note_close(self, packet: bytes) -> None:
        self._standing.statements.close(statement_id_of(packet[4:]))

    def _note_reset(self, packet: bytes) -> None:
        prepared = self._standing.statements.get(statement_id_of(packet[4:]))
        if prepared is not None:
            prepared.reset()

    def _note_set_option(self, packet: bytes) -> None:
        self._standing.multi_statements = packet[_TEXT_AT : _TEXT_AT + 1] == b"\0"

    def _note_init_db(self, packet: bytes) -> None:
        del packet
        self._standing.settings = None

    def _note_new_session(self, packet: bytes) -> None:
        self._standing.reset()
        if packet[4] == Command.CHANGE_USER:
            self.left = Command.CHANGE_USER


def _first_word(text: bytes, at: int = 0) -> bytes:
    """The first word of a statement in lower case; empty if there is none."""
    words = text[at : at + _WORD_LOOK].lower().split(maxsplit=1)
    return words[0].rstrip(b";") if words else b""


_NOTES: Final = {
    Command.STMT_BULK_EXECUTE: Road._note_bulk_execute,
    Command.STMT_CLOSE: Road._note_close,
    Command.STMT_RESET: Road._note_reset,
    Command.SET_OPTION: Road._note_set_option,
    Command.INIT_DB: Road._note_init_db,
    Command.CHANGE_USER: Road._note_new_session,
    Command.RESET_CONNECTION: Road._note_new_session,
}
