"""What an account may do with ``globaltx_undo`` and ``globaltx_guard``, asked of the database itself."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from globaltx.undo.table import UNDO_TABLE
from globaltx_cli.errors import CliError

_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 10
_NO_SUCH_TABLE = 1146
_DENIED = frozenset({1044, 1142, 1143})
_PROBES = {
    # None of them touches a row; the server checks the right all the same.
    "SELECT": "SELECT 1 FROM {table} WHERE FALSE",
    "INSERT": "INSERT INTO {table} SELECT * FROM {table} WHERE FALSE",
    "UPDATE": "UPDATE {table} SET xid = xid WHERE FALSE",
    "DELETE": "DELETE FROM {table} WHERE FALSE",
}

_TRIGGER_RIGHT = (
    "SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER' "
    "UNION SELECT 1 FROM information_schema.SCHEMA_PRIVILEGES "
    "WHERE PRIVILEGE_TYPE = 'TRIGGER' AND %s LIKE TABLE_SCHEMA"
)
"""Both list the account's own rights only; a schema may be granted as a pattern."""


class UnreachableError(CliError):
    """The database did not let us in; whether the account has its rights is not known."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Account:
    """An account's name and password; the password is not shown."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Account({self.user!r})"


@dataclass(frozen=True, slots=True)
class Rights:
    """What an account lacks on a table of ours."""

    table_missing: bool
    missing: tuple[str, ...]


def rights(
    address: Address, account: Account, schema: str, *, triggers: bool = False, table: str = UNDO_TABLE
) -> Rights:
    """Try each statement that globaltx writes; with `triggers`, look for the right to see them too.

    Raises:
        UnreachableError: no connection, or the login was refused.
        CliError: the database refused for another reason.
    """
    import pymysql  # noqa: PLC0415  part of the extra `cli`, like the Kubernetes client

    try:
        connection = pymysql.connect(
            host=address.host,
            port=address.port,
            user=account.user,
            password=account.password,
            database=schema,
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_ANSWER_SECONDS,
            write_timeout=_ANSWER_SECONDS,
        )
    except pymysql.MySQLError as error:
        message = f"{account.user} at {address}, schema {schema}: {_text(error)}"
        raise UnreachableError(message) from error
    with closing(connection), connection.cursor() as cursor:
        found = _probe(cursor, pymysql.MySQLError, table)
        if triggers and not _sees_triggers(cursor, schema):
            return replace(found, missing=(*found.missing, "TRIGGER"))
        return found


def _probe(cursor: Any, failure: type[Exception], table: str) -> Rights:
    missing = []
    for right, probe in _PROBES.items():
        try:
            cursor.execute(probe.format(table=table))
        except failure as error:
            if error.args[0] == _NO_SUCH_TABLE:
                return Rights(table_missing=True, missing=())
            if error.args[0] not in _DENIED:
                message = f"{probe.format(table=table)}: {_text(error)}"
                raise CliError(message) from error
            missing.append(right)
    return Rights(table_missing=False, missing=tuple(missing))


def _sees_triggers(cursor: Any, schema: str) -> bool:
    cursor.execute(_TRIGGER_RIGHT, (schema,))
    return cursor.fetchone() is not None


def _text(error: Exception) -> str:
    return ": ".join(str(part) for part in error.args)
