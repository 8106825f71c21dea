"""What a statement of the application is, as far as AT must know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from globaltx.undo.literal import Value
from globaltx.undo.sqlmode import SqlMode

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the statement names it; ``schema`` is None for the connection's own."""

    schema: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a statement, in which ``parameters`` question marks stand for values."""

    parameters: int = 0


@dataclass(frozen=True, slots=True)
class Insert:
    """``INSERT INTO table [(columns)] VALUES (...), ...``."""

    table: Table
    source: Source


@dataclass(frozen=True, slots=True)
class Update:
    """``UPDATE table SET ... [WHERE] [ORDER BY] [LIMIT]`` of one table."""

    table: Table
    source: Source


@dataclass(frozen=True, slots=True)
class Delete:
    """``DELETE FROM table [WHERE] [ORDER BY] [LIMIT]`` of one table."""

    table: Table
    source: Source


@dataclass(frozen=True, slots=True)
class Select:
    """A read; ``for_update`` when it locks its rows (FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE)."""

    source: Source
    for_update: bool = False


class Verb(StrEnum):
    """What a control statement does to the local transaction or to the connection."""

    BEGIN = "BEGIN"
    COMMIT = "COMMIT"
    ROLLBACK = "ROLLBACK"
    SAVEPOINT = "SAVEPOINT"
    ROLLBACK_TO = "ROLLBACK TO"
    RELEASE = "RELEASE"
    AUTOCOMMIT_ON = "SET autocommit=1"
    AUTOCOMMIT_OFF = "SET autocommit=0"
    SET_XID = "SET @globaltx_xid"
    SET_NAMES = "SET NAMES"
    SET_SQL_MODE = "SET sql_mode"
    USE = "USE"


@dataclass(frozen=True, slots=True)
class Control:
    """``argument`` is the savepoint's name, the schema (USE), the character set (SET NAMES), the xid.

    It is None where there is none, or where it is no constant (the connection must then be asked).
    """

    verb: Verb
    source: Source
    argument: str | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """A statement that changes no row (SHOW, EXPLAIN, SET, ...): passed on as it is."""

    source: Source


Change: TypeAlias = "Insert | Update | Delete"
Statement: TypeAlias = "Insert | Update | Delete | Select | Control | Other"


def analyse(sql: bytes, mode: SqlMode = SqlMode()) -> Statement:  # noqa: B008  a frozen value
    """Say what a statement is (the xid hint already taken out); cached by its text without literals.

    Raises:
        RefusedError: it may change rows in a way that cannot be undone; nothing has run yet.
    """
    raise NotImplementedError(sql, mode)


def bind(statement: Statement, parameters: Sequence[Value], mode: SqlMode) -> bytes:
    """Write the statement with its parameters as literals: COM_STMT_EXECUTE as COM_QUERY.

    Raises:
        ValueError: another number of parameters than question marks.
    """
    raise NotImplementedError(statement, parameters, mode)
