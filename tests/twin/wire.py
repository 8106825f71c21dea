"""Sends one step, as a text or prepared, and tells what a client could see of the answer."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.connections import MySQLResult
from pymysql.constants import COMMAND

from globaltx_sidecar.mysql.packets import lenenc

if TYPE_CHECKING:
    from tests.twin.case import Parameter, Step

_LONGLONG, _DOUBLE, _VARCHAR, _BLOB, _NULL = 8, 5, 253, 252, 6


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: an error, or the numbers of the OK and the rows."""

    error: int | None = None
    message: str = ""
    affected: int = 0
    insert_id: int = 0
    warnings: int = 0
    rows: tuple[Any, ...] = ()
    ended: bool = False
    """It was refused, and no local transaction is open behind it."""

    def same(self, other: Answer) -> bool:
        """Whether a client can tell no difference; of errors, both are some error."""
        if self.error is not None or other.error is not None:
            return (self.error is None) == (other.error is None)
        return self == other


def send(connection: Any, step: Step, sql: str) -> Answer:
    """Send a step's statement, ``sql`` being its text for this run."""
    try:
        if step.parameters is None:
            connection._execute_command(COMMAND.COM_QUERY, sql)
        else:
            _prepare(connection, sql)
            _execute(connection, step.parameters)
        result: Any = MySQLResult(connection)
        if step.parameters is not None:  # the rows are binary ones: compared as they are
            result._read_row_from_packet = lambda packet: packet.get_all_data()
        result.read()
    except pymysql.MySQLError as error:
        if isinstance(error, pymysql.err.InterfaceError) or error.args[0] in {2006, 2013}:
            raise
        return Answer(error.args[0], str(error.args[1]))
    return Answer(
        affected=result.affected_rows,
        insert_id=result.insert_id or 0,
        # MySQL warns of what is old when it prepares; here what is executed goes on as a text.
        warnings=result.warning_count if step.parameters is None else 0,
        rows=tuple(result.rows or ()),
    )


def _prepare(connection: Any, sql: str) -> None:
    connection._execute_command(COMMAND.COM_STMT_PREPARE, sql)
    head = connection._read_packet()._data
    connection._statement_id, columns, parameters = struct.unpack_from("<xIHH", head)
    for _ in range(columns + bool(columns) + parameters + bool(parameters)):
        connection._read_packet()


def _execute(connection: Any, parameters: tuple[Parameter, ...]) -> None:
    head = struct.pack("<IBI", connection._statement_id, 0, 1)
    connection._execute_command(COMMAND.COM_STMT_EXECUTE, head + _bound(connection, parameters))


def _bound(connection: Any, parameters: tuple[Parameter, ...]) -> bytes:
    if not parameters:
        return b""
    nulls = bytearray((len(parameters) + 7) // 8)
    types, values = b"", b""
    for number, parameter in enumerate(parameters):
        kind, value = _encoded(connection, parameter)
        types += struct.pack("<H", kind)
        values += value
        if parameter is None:
            nulls[number // 8] |= 1 << number % 8
    return bytes(nulls) + b"\1" + types + values


def _encoded(connection: Any, parameter: Parameter) -> tuple[int, bytes]:
    match parameter:
        case None:
            return _NULL, b""
        case int():
            unsigned = 0x8000 * (parameter >= 1 << 63)
            return _LONGLONG | unsigned, struct.pack("<Q" if unsigned else "<q", parameter)
        case float():
            return _DOUBLE, struct.pack("<d", parameter)
        case bytes():
            return _BLOB, lenenc(len(parameter)) + parameter
    data = parameter.encode(connection.encoding)
    return _VARCHAR, lenenc(len(data)) + data
