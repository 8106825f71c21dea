"""Plays conversations with a session, as text: what the peers say in, what the session does out.

What the client says (``client ...``) is a command and its argument: ``QUERY SELECT 1``,
``PREPARE UPDATE ...``, ``EXECUTE 7 1 bolt`` (the id, then parameters: numbers or strings),
``CLOSE 7``, ``PING``, ``RESET``, ``OPTION on``. What the database says (``database ...``):
``OK [affected=1] [id=4] [warnings=1] [in] [more] [no-autocommit]``, ``ERR 1213``,
``ROWS a|b c|d [in] [more]``, ``EOF [in]``, ``PREPARED 7 columns parameters``. Several, divided by
`` + ``, come in one piece; after ``cut N`` the next piece comes in two, cut behind N bytes. The rest are
answers to what the session asked for: ``joined``, ``known yes|no`` (whether it has), ``shape``,
``refused unknown|decided|unavailable``, ``outcome Commit|Rollback|none``, ``passed`` (a pause is over),
``clock 1.5``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from globaltx.stores.base import AlreadyDecidedError, StoreUnavailableError, UnknownTransactionError
from globaltx.transaction.model import Decision
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from globaltx.undo.shape import Column, TableShape
from globaltx_sidecar.commands import (
    Close,
    Committed,
    Describe,
    HasJoined,
    Join,
    LookUp,
    Now,
    Pause,
    Refused,
    Register,
    ToClient,
    ToDatabase,
)
from globaltx_sidecar.mysql.packets import (
    Capability,
    Command,
    Err,
    Ok,
    Status,
    frame,
    lenenc,
    parse_err,
    parse_ok,
)
from globaltx_sidecar.mysql.reader import PacketReader
from globaltx_sidecar.mysql.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from globaltx_sidecar.commands import Command as SessionCommand

XID = Xid("shop", "a")
ITEM = TableShape(
    schema="shop",
    name="item",
    engine="InnoDB",
    columns=(
        Column("id", "bigint", "bigint(20)", nullable=False, auto_increment=True),
        Column("name", "varchar", "varchar(64)", charset="utf8mb4", collation="utf8mb4_general_ci"),
        Column("amount", "int", "int(11)"),
    ),
    primary_key=("id",),
)
CAPABILITIES = int(
    Capability.PROTOCOL_41
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
    | Capability.CONNECT_WITH_DB
)
_SIMPLER = (
    (
        re.compile(
            r"/\*M!.*?\*/ INSERT INTO `shop`\.globaltx_undo .* VALUES (.*) ON DUPLICATE KEY UPDATE.*?(?=; |$)"
        ),
        "<undo>",
    ),
    (
        re.compile(r"SELECT (?:(?!; ).)* INTO @globaltx_row(?:(?!; ).)* FOR UPDATE(?=; )"),
        "<noted image>",
    ),
    (re.compile(r"SELECT (?:(?!; ).)* FOR UPDATE(?=; )"), "<image>"),
    (re.compile(r"SELECT CAST\(HEX\(CONVERT\(DATABASE\(\) .*"), "<settings>"),
    (re.compile(r"SELECT @globaltx_holder.*"), "<holder>"),
    (re.compile(r" AND NO CHAIN NO RELEASE"), " <only>"),
)


def greeting(capabilities: int = CAPABILITIES | int(Capability.SSL | Capability.MULTI_STATEMENTS)) -> bytes:
    """The greeting of a MariaDB."""
    low, high = capabilities & 0xFFFF, capabilities >> 16
    return (
        b"\x0a5.5.5-10.11.19-MariaDB\0" + b"\1\0\0\0" + b"12345678\0"
        + low.to_bytes(2, "little") + b"\x2d\2\0" + high.to_bytes(2, "little") + b"\x15" + bytes(6)
        + b"\x1f\0\0\0" + b"123456789012\0mysql_native_password\0"
    )  # fmt: skip


def response(capabilities: int = CAPABILITIES, extended: int = 0) -> bytes:
    """A client's response."""
    return (
        capabilities.to_bytes(4, "little") + bytes(4) + b"\x2d" + bytes(19) + extended.to_bytes(4, "little")
        + b"app\0" + b"\x03abc" + b"shop\0" + b"mysql_native_password\0"
    )  # fmt: skip


class Conversation:
    """A session that has been let in; `play` says a line to it and tells what it does."""

    def __init__(self, *, multi_statements: bool = False) -> None:
        self.session = Session("shop-db", "shop", lock_wait_seconds=2.0)
        capabilities = CAPABILITIES | (int(Capability.MULTI_STATEMENTS) if multi_statements else 0)
        self.session.database_data(frame(greeting(), 0))
        self.session.client_data(frame(response(capabilities), 1))
        self.session.database_data(frame(Ok(status=2).encode(), 2))
        self._cut = 0
        self._texts: dict[int, list[str]] = {}

    def play(self, line: str) -> list[str]:
        """Say a line; give what the session does, as lines."""
        word, _, rest = line.partition(" ")
        match word:
            case "client":
                return self._said("client", self.session.client_data, _from_client(rest))
            case "database":
                return self._said("database", self.session.database_data, _from_database(rest))
            case "cut":
                self._cut = int(rest)
                return []
            case "refused":
                return list(_told(self.session.failed(_ERRORS[rest])))
            case _:
                return list(_told(self.session.answered(_answer(word, rest))))

    def _said(
        self, who: str, hears: Callable[[bytes], list[SessionCommand] | None], data: bytes
    ) -> list[str]:
        pieces = [data[: self._cut], data[self._cut :]] if self._cut else [data]
        lines: list[str] = []
        for piece in pieces:
            commands = hears(piece)
            if commands is None:
                commands = [ToDatabase(piece) if who == "client" else ToClient(piece)]
                lines.append("as it is")
            for command in commands:
                if self._cut and getattr(command, "data", None) is piece:
                    lines.append(f"{len(piece)} bytes on")
                else:
                    lines += _told([command])
        self._cut = 0
        return lines


_ERRORS = {
    "unknown": UnknownTransactionError(XID),
    "decided": AlreadyDecidedError(XID, Decision(Outcome.ROLLBACK, "DeadlineExceeded")),
    "unavailable": StoreUnavailableError("the store does not answer"),
}


def _answer(word: str, rest: str) -> object:
    match word:
        case "shape":
            return ITEM
        case "outcome":
            return None if rest == "none" else Decision(Outcome(rest), "DecidedByPerson")
        case "known":
            return rest == "yes"
        case "clock":
            return float(rest)
        case "joined" | "passed":
            return None
    message = f"nobody says {word!r}"
    raise AssertionError(message)


def _from_client(line: str) -> bytes:
    return b"".join(frame(_command(each), 0) for each in line.split(" + "))


def _command(line: str) -> bytes:
    word, _, rest = line.partition(" ")
    command = {"RESET": "RESET_CONNECTION", "OPTION": "SET_OPTION"}.get(word, word)
    if word in {"PREPARE", "EXECUTE", "CLOSE"}:
        command = f"STMT_{word}"
    return bytes((Command[command],)) + _argument(word, rest)


def _argument(word: str, rest: str) -> bytes:
    if word == "OPTION":
        return bytes((rest != "on", 0))
    if word not in {"EXECUTE", "CLOSE"}:
        return rest.encode()
    number, *parameters = rest.split()
    statement_id = int(number).to_bytes(4, "little")
    return statement_id + (b"\0\1\0\0\0" + _parameters(parameters) if word == "EXECUTE" else b"")


def _parameters(values: list[str]) -> bytes:
    if not values:
        return b""
    types = b"".join(b"\x08\0" if value.isdigit() else b"\xfd\0" for value in values)
    written = b"".join(
        int(value).to_bytes(8, "little") if value.isdigit() else lenenc(len(value)) + value.encode()
        for value in values
    )
    return bytes((len(values) + 7) // 8) + b"\1" + types + written


def _from_database(line: str) -> bytes:
    return b"".join(
        b"".join(frame(payload, sequence) for sequence, payload in enumerate(_payloads(each), 1))
        for each in line.split(" + ")
    )


def _payloads(line: str) -> list[bytes]:
    word, *rest = line.split()
    options = dict(each.partition("=")[::2] for each in rest)
    status = 0 if "no-autocommit" in options else int(Status.AUTOCOMMIT)
    status |= int(Status.IN_TRANS) if "in" in options else 0
    status |= int(Status.MORE_RESULTS_EXISTS) if "more" in options else 0
    eof = b"\xfe\0\0" + status.to_bytes(2, "little")
    column = b"\x03def\0\0\0\1c\1c\x0c" + bytes(12)
    match word:
        case "OK":
            affected, insert_id, warnings = (
                int(options.get(each, 0)) for each in ("affected", "id", "warnings")
            )
            return [Ok(affected, insert_id, status, warnings).encode()]
        case "EOF":
            return [eof]
        case "ERR":
            return [Err(int(rest[0]), "HY000", "the server says so, at some length").encode()]
        case "PREPARED":
            numbers = [int(each) for each in rest]
            counts = b"".join(each.to_bytes(2, "little") for each in numbers[1:])
            definitions = [each for count in numbers[1:] if count for each in [*[column] * count, eof]]
            return [b"\0" + numbers[0].to_bytes(4, "little") + counts + b"\0\0\0", *definitions]
        case "ROWS":
            rows = [each.split("|") for each in rest if each not in {"in", "more", "no-autocommit"}]
            count = len(rows[0]) if rows else 2
            written = [b"".join(lenenc(len(value)) + value.encode() for value in row) for row in rows]
            return [lenenc(count), *[column] * count, eof, *written, eof]
    message = f"no server says {line!r}"
    raise AssertionError(message)


def _told(commands: Iterable[SessionCommand]) -> Iterable[str]:
    for command in commands:
        match command:
            case ToDatabase():
                yield f"to the database: {_commands(command.data)}"
            case ToClient():
                yield f"to the client: {_answers(command.data)}"
            case Register() | HasJoined() | Join() | LookUp():
                yield f"{type(command).__name__.lower()} {command.xid}"
            case Close():
                yield f"close: {command.why}"
            case _:
                yield _wanted(command)


def _wanted(command: SessionCommand) -> str:
    match command:
        case Describe():
            return f"describe {command.schema}.{command.table}"
        case Pause():
            return f"pause {command.seconds:g} s"
        case Now():
            return "look at the clock"
        case Refused():
            return f"count the refusal {command.reason}"
        case Committed():
            return "count a commit"
    return repr(command)


def _commands(data: bytes) -> str:
    reader = PacketReader(1 << 20)
    reader.feed(data)
    said = [_said(packet.payload) for packet in reader]
    rest = reader.take_rest()
    return " | ".join(said + ([f"{len(rest)} bytes"] if rest else []))


def _said(payload: bytes) -> str:
    command = Command(payload[0])
    if command is Command.SET_OPTION:
        return "OPTION off" if payload[1] else "OPTION on"
    text = payload[1:].decode("latin-1") if command in {Command.QUERY, Command.STMT_PREPARE} else ""
    for pattern, name in _SIMPLER:
        text = pattern.sub(name, text)
    return f"{command.name.removeprefix('STMT_')} {text}".rstrip()


def _answers(data: bytes) -> str:
    reader = PacketReader(1 << 20)
    reader.feed(data)
    said = [_answered(packet.sequence, packet.payload) for packet in reader]
    rest = reader.take_rest()
    return ", ".join(said + ([f"{len(rest)} bytes"] if rest else []))


def _answered(sequence: int, payload: bytes) -> str:
    if payload[0] == 0 and len(payload) >= 7 and len(payload) != 12:
        ok = parse_ok(payload)
        flags = [flag.name for flag in Status if ok.status & flag and flag.name]
        return f"#{sequence} OK affected={ok.affected_rows} id={ok.insert_id} {' '.join(flags)}".rstrip()
    if payload[0] == 0xFF:
        error = parse_err(payload)
        return f"#{sequence} ERR {error.code} {error.message}"
    return f"#{sequence} {len(payload)} bytes"
