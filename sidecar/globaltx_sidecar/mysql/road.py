"""The road of what has nothing to tell: a cheap look at each command before it goes on.

The look finds what may carry an xid, and keeps the little that a later statement with an xid
needs to know: whether the open transaction has written, whether the connection's settings may
have changed, and what was prepared. It never parses SQL; where it is not sure, it assumes the
worse (that a statement writes, that it changes settings), which costs one question later.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from globaltx.undo.sqlcomment import named
from globaltx_sidecar.mysql import names
from globaltx_sidecar.mysql.packets import HEADER_LENGTH, PAYLOAD_LENGTH_MAX, Command, statement_id_of
from globaltx_sidecar.mysql.results import SHAPES, SILENT, Shape
from globaltx_sidecar.mysql.statements import Prepared

if TYPE_CHECKING:
    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.ports import Traces

HEAD_LENGTH_MAX: Final = 160 * 1024
"""So much of a command tells all that is looked at (an execute carries at most 65,535 types)."""

_TEXT_AT: Final = HEADER_LENGTH + 1
_WORD_LOOK: Final = 24

_READS: Final = frozenset(
    {b"select", b"show", b"explain", b"describe", b"desc", b"help", b"kill", b"release"}
)
_SELECT: Final = b"select "
_ONLY_READS: Final = frozenset({b"select", b"show", b"help", b"kill"})
"""Those of them of which nothing need be known when they are executed as prepared statements."""
_WRITES: Final = frozenset({b"insert", b"update", b"delete", b"replace"})
_ENDS: Final = frozenset({b"commit", b"begin", b"start", b"rollback"})
_SETTINGS: Final = (b"char", b"names", b"mode")
"""One of these stands in every SET that changes how SQL is read."""
_TO: Final = re.compile(rb"\bto\b").search
"""Stands in every ROLLBACK that ends nothing."""
_SAVEPOINT: Final = b"savepoint"
_ISOLATION: Final = b"isolation"
"""Stands in every SET of an isolation level."""
_XID: Final = b"xid"
_HINT: Final = b"/*+"
_VARIABLE: Final = b"globaltx_xid"
"""One of these stands, with ``xid``, in every statement that carries one."""
_GLOBAL_LOCK: Final = b"globallock"
_TRACE: Final = b"traceparent"
_LOCKS: Final = re.compile(rb"update|share", re.IGNORECASE).search
"""One of these stands in every SELECT that locks its rows."""
_QUERY: Final = int(Command.QUERY)
_EXECUTE: Final = int(Command.STMT_EXECUTE)
_RESULT: Final = Shape.RESULT
_REPLICATION: Final = frozenset({Command.BINLOG_DUMP, Command.BINLOG_DUMP_GTID, Command.TABLE_DUMP})


class Road:
    """Looks at what passes; keeps what is seen in the connection's standing."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._follower = standing.follower
        self._expect = standing.follower.expect
        self._traces = standing.traces
        self.left: Command | None = None
        """CHANGE_USER or BINLOG_DUMP has passed: what follows are no commands for now."""

    def takes(self, data: bytes) -> bool:
        """Take what has come at once, where a command begins, if it is one packet that `passes`.

        Nearly all statements go this way. Each comes after a wait in which others had the processor's
        caches, so that what counts is how little is touched.

        Raises:
            PacketError: it is cut off.
        """
        size = len(data) - HEADER_LENGTH
        if size <= 0 or data[0] | data[1] << 8 | data[2] << 16 != size or size >= PAYLOAD_LENGTH_MAX:
            return False
        if data[HEADER_LENGTH] != _QUERY:
            return self.passes(data)
        text = data.lower()
        # `in` would first try what it looks for as a number, and raise and drop an exception.
        if text.find(_XID) >= 0 or text.find(_GLOBAL_LOCK) >= 0 or self._standing.multi_statements:
            return self.passes(data)
        if self._traces is not None and text.find(_TRACE) >= 0:
            return self.passes(data)
        if not text.startswith(_SELECT, _TEXT_AT):
            if self._standing.guards:
                return False
            self._note_query(text)
        self._expect(_RESULT)
        return True

    def passes(self, packet: bytes) -> bool:
        """Look at a packet (with its header; of a long one that is no statement: at its head).

        True: it goes on, everything is noted. False: nothing was noted, it must be inspected.

        Raises:
            PacketError: it is cut off.
        """
        command = packet[HEADER_LENGTH]
        if command == _QUERY:
            text = packet.lower()
            if _may_name_xid(text) or self._is_tied(text):
                return False
            if self._standing.multi_statements or not text.startswith(_SELECT, _TEXT_AT):
                if self._standing.guards:
                    return False
                self._note_query(text)
            self._expect(_RESULT)
            return True
        if command == _EXECUTE:
            return self._passes_execute(packet)
        if self._may_carry_xid(command, packet):
            return False
        self.pass_on(packet)
        return True

    def pass_on(self, packet: bytes, prepared: Prepared | None = None) -> None:
        """Note a packet that goes on, whatever it is.

        ``prepared`` is what a COM_STMT_PREPARE prepares, if that is known better than by its look.
        """
        command = packet[HEADER_LENGTH]
        self._note(command, packet, prepared)
        if command in _REPLICATION:
            self.left = Command.BINLOG_DUMP
        elif command not in SILENT:
            self._follower.expect(SHAPES.get(command, Shape.RESULT))

    def _may_carry_xid(self, command: int, packet: bytes) -> bool:
        if command == Command.STMT_PREPARE:
            text = packet.lower()
            return _may_name_xid(text) or self._is_tied(text)
        if command in {Command.STMT_SEND_LONG_DATA, Command.STMT_BULK_EXECUTE}:
            prepared = self._standing.statements.get(statement_id_of(packet[HEADER_LENGTH:]))
            return self._standing.guards or (prepared is not None and prepared.concerned)
        return False

    def _is_tied(self, text: bytes) -> bool:
        """Whether a statement in lower case may name a trace that belongs to somebody."""
        traces = self._traces
        if traces is None or text.find(_TRACE) < 0:
            return False
        return any(is_owned(self._standing, traces, each) for each in named(text))

    def _note(self, command: int, packet: bytes, prepared: Prepared | None) -> None:
        standing = self._standing
        match command:
            case Command.QUERY:
                self._note_query(packet.lower())
            case Command.STMT_PREPARE:
                reads = prepared is None and _only_reads(packet)
                prepared = prepared or Prepared(packet[_TEXT_AT:])
                prepared.schema = standing.chosen
                standing.statements.preparing(None if reads else prepared)
            case Command.STMT_CLOSE:
                standing.statements.close(statement_id_of(packet[HEADER_LENGTH:]))
            case Command.STMT_RESET | Command.STMT_SEND_LONG_DATA:
                self._note_long_data(command, packet)
            case Command.STMT_BULK_EXECUTE:
                standing.wrote_unhinted = True
            case Command.SET_OPTION:
                standing.multi_statements = packet[_TEXT_AT : _TEXT_AT + 1] == b"\0"
                standing.lent = False
            case Command.INIT_DB:
                standing.settings = None
                standing.chosen = packet[_TEXT_AT:].decode("utf-8", "surrogateescape")
            case Command.RESET_CONNECTION:
                standing.reset()
            case Command.CHANGE_USER:
                standing.reset()
                standing.chosen = None
                self.left = Command.CHANGE_USER

    def _note_query(self, text: bytes) -> None:
        """Note what a statement (in lower case, with header) may do to transaction and settings."""
        standing = self._standing
        if standing.multi_statements and b";" in text:
            standing.settings = None
            standing.wrote_unhinted = True
            standing.savepoints = standing.savepoints or _SAVEPOINT in text
            standing.guarded = None
            standing.isolation_doubtful = standing.isolation_doubtful or _ISOLATION in text
            names.note(standing, text[_TEXT_AT:])
            return
        word = _first_word(text, _TEXT_AT)
        if word in _READS:
            return
        if word in _WRITES:
            standing.wrote_unhinted = True
        elif word in _ENDS:
            if not _TO(text):
                standing.wrote_unhinted = standing.savepoints = False
                standing.guarded = None  # there may be another local transaction from here on
                if word in {b"commit", b"rollback"} and b"chain" not in text:
                    standing.isolation_doubtful = False
        elif word == _SAVEPOINT:
            standing.savepoints = True
        else:
            self._note_settings(word, text)

    def _note_settings(self, word: bytes, text: bytes) -> None:
        """Note what a statement that neither reads nor writes rows, nor ends anything, may change."""
        standing = self._standing
        standing.guarded = None
        if word == b"set":
            if any(setting in text for setting in _SETTINGS):
                standing.settings = None
            if _ISOLATION in text and (b"session" not in text or standing.in_transaction):
                standing.isolation_doubtful = True
        else:
            names.note(standing, text[_TEXT_AT:])
            standing.settings = None
            standing.isolation_doubtful = standing.isolation_doubtful or word in {b"call", b"execute"}
            standing.wrote_unhinted = word != b"use" or standing.wrote_unhinted

    def _passes_execute(self, packet: bytes) -> bool:
        statements = self._standing.statements
        statement_id = statement_id_of(packet[HEADER_LENGTH : HEADER_LENGTH + 5])
        if not statements.reads(statement_id):
            if self._standing.guards:
                return False
            prepared = statements.get(statement_id)
            if prepared is not None:
                if prepared.concerned:
                    return False
                prepared.note_types(packet[HEADER_LENGTH:])
                prepared.reset()
            self._note_execute(prepared)
        self._follower.expect(Shape.RESULT)
        return True

    def _note_execute(self, prepared: Prepared | None) -> None:
        self._standing.wrote_unhinted = True
        word = b"" if prepared is None else _first_word(prepared.sql)
        if word == _SAVEPOINT:
            self._standing.savepoints = True
        if word not in _WRITES:
            names.note(self._standing, b"call" if prepared is None else prepared.sql.lower())
            self._standing.guarded = None
            self._standing.settings = None
            self._standing.isolation_doubtful = True

    def _note_long_data(self, command: int, packet: bytes) -> None:
        prepared = self._standing.statements.get(statement_id_of(packet[HEADER_LENGTH:]))
        if prepared is not None:
            if command == Command.STMT_RESET:
                prepared.reset()
            else:
                prepared.long_data_at_server = True


def is_owned(standing: Standing, traces: Traces, trace: str) -> bool:
    """Whether a trace belongs to a transaction, or to a call whose guard row may be written here."""
    if traces.xid_of(trace) is not None:
        return True
    return standing.calls is not None and traces.call_of(trace) is not None


def _may_name_xid(text: bytes) -> bool:
    """Whether a statement in lower case may carry an xid, or ask for global locks."""
    return (_XID in text and (_HINT in text or _VARIABLE in text)) or _GLOBAL_LOCK in text


def _only_reads(packet: bytes) -> bool:
    """Whether a statement that is prepared needs no look under an xid either: it locks no rows."""
    return _first_word(packet, _TEXT_AT) in _ONLY_READS and not _LOCKS(packet)


def _first_word(text: bytes, at: int = 0) -> bytes:
    """The first word of a statement in lower case; empty if there is none."""
    words = text[at : at + _WORD_LOOK].lower().split(maxsplit=1)
    return words[0].rstrip(b";") if words else b""
