"""What AT must know about a table before it lets a statement change it."""

from __future__ import annotations

import re
from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from globaltx.undo.literal import identifier
from globaltx.undo.refusal import NO_PRIMARY_KEY, RefusedError, refuse
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class Kind(StrEnum):
    """How a column's value is written into an image, and read back from it."""

    INTEGER = "integer"
    DOUBLE = "double"
    DECIMAL = "decimal"
    PLAIN = "plain"
    """Dates and such: their own ASCII text."""
    TIMESTAMP = "timestamp"
    TEXT = "text"
    FOREIGN_TEXT = "foreign text"
    """Text in a character set that does not come back the same from Unicode: its bytes."""
    BINARY = "binary"
    INDEX = "index"
    """BIT, ENUM and SET: their number."""
    JSON = "json"
    UNKNOWN = "unknown"


_KINDS = {
    Kind.INTEGER: "tinyint smallint mediumint int integer bigint year",
    Kind.DOUBLE: "float double",
    Kind.DECIMAL: "decimal",
    Kind.PLAIN: "date time datetime uuid inet4 inet6",
    Kind.TIMESTAMP: "timestamp",
    Kind.TEXT: "char varchar tinytext text mediumtext longtext",
    Kind.BINARY: "binary varbinary tinyblob blob mediumblob longblob vector geometry point linestring"
    " polygon multipoint multilinestring multipolygon geometrycollection geomcollection",
    Kind.INDEX: "bit enum set",
    Kind.JSON: "json",
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names.split()}
_TRUE_TO_UNICODE = frozenset({"utf8", "utf8mb3", "utf8mb4", "ascii", "latin1"})
_NO_KEY = frozenset({Kind.DOUBLE, Kind.JSON, Kind.UNKNOWN})
_FOUND_MAX = 64
"""Findings that are remembered for a table."""
_CASCADES = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column; ``type`` is information_schema's DATA_TYPE, ``full_type`` its COLUMN_TYPE."""

    name: str
    type: str
    full_type: str
    nullable: bool = True
    charset: str | None = None
    collation: str | None = None
    auto_increment: bool = False
    generated: bool = False
    on_update_now: bool = False
    visible: bool = True
    null_default: bool = False
    """Left out of an INSERT, it becomes NULL."""
    kind: Kind = field(init=False, repr=False, compare=False)
    """How its values are written."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", self._kind())

    def _kind(self) -> Kind:
        kind = _KIND_OF.get(self.type.lower(), Kind.UNKNOWN)
        if kind is Kind.TEXT and self.charset not in _TRUE_TO_UNICODE:
            return Kind.FOREIGN_TEXT
        return Kind.UNKNOWN if kind is Kind.DECIMAL and "zerofill" in self.full_type else kind

    @property
    def length(self) -> int | None:
        """The first number in its type's parentheses: characters, bytes or digits."""
        found = re.search(r"\((\d+)", self.full_type)
        return int(found[1]) if found else None

    @property
    def pads_spaces(self) -> bool:
        """Whether trailing spaces make no difference in a comparison."""
        collation = self.collation or ""
        return self.type == "char" or not (
            "nopad" in collation or "_0900_" in collation or collation == "binary"
        )


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key of another table onto this one; the rules are CASCADE, SET NULL, RESTRICT, ..."""

    name: str
    schema: str
    table: str
    columns: tuple[str, ...]
    referenced: tuple[str, ...]
    on_delete: str
    on_update: str

    @property
    def deletes(self) -> bool:
        """Whether deleting a row here changes rows there."""
        return self.on_delete in _CASCADES

    @property
    def updates(self) -> bool:
        """Whether changing a referenced column here changes rows there."""
        return self.on_update in _CASCADES


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """A unique key besides the primary one; ``whole`` unless it compares parts of values, or expressions."""

    name: str
    columns: tuple[str, ...]
    whole: bool = True


class NoSuchTableError(LookupError):
    """The server knows no such table (or the sidecar's account may not see it)."""

    def __init__(self, schema: str, table: str) -> None:
        super().__init__(f"there is no table {schema}.{table}, or the sidecar's account may not see it")


class NoSuchColumnError(LookupError):
    """The table has no such column (any more)."""


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table as the server describes it, names spelled the server's way."""

    schema: str
    name: str
    engine: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    triggers: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    type: str = "BASE TABLE"
    triggers_known: bool = True
    """False: the sidecar's account lacks the right TRIGGER, and the server hides triggers from it."""
    unique_keys: tuple[UniqueKey, ...] = ()
    """Those besides the primary key."""
    stored_columns: tuple[Column, ...] = field(init=False, repr=False, compare=False)
    """The columns that can be written: all but the generated ones."""
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False)
    _found: dict[Hashable, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        stored = tuple(column for column in self.columns if not column.generated)
        object.__setattr__(self, "stored_columns", stored)
        by_name = {column.name.casefold(): column for column in reversed(self.columns)}
        object.__setattr__(self, "_by_name", by_name)
        object.__setattr__(self, "_found", {})

    def once(self, key: Hashable, find: Callable[[], T]) -> T:
        """Give what depends on the shape and on this key alone, and is not None; it is found once."""
        found: T | None = self._found.get(key)
        if found is None:
            found = find()
            if len(self._found) >= _FOUND_MAX:
                self._found.clear()
            self._found[key] = found
        return found

    @property
    def label(self) -> str:
        """How people read its name."""
        return f"{self.schema}.{self.name}"

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of the primary key, in its order."""
        return self.once("key", lambda: tuple(self.column(name) for name in self.primary_key))

    def column(self, name: str) -> Column:
        """Find a column, whatever the spelling's case.

        Raises:
            NoSuchColumnError: there is none.
        """
        column = self._by_name.get(name.casefold())
        if column is not None:
            return column
        message = f"table {self.label} has no column {name}"
        raise NoSuchColumnError(message)


def check_undoable(shape: TableShape) -> None:
    """Refuse a table that no change of can be undone.

    Raises:
        RefusedError: with the reason and the way out.
    """
    shape.once("undoable", lambda: _checked(shape))


def _checked(shape: TableShape) -> bool:
    table = f"a change of {shape.label}"
    if shape.type != "BASE TABLE":
        refuse(f"{table}, which is a {shape.type},", "change the table that it is made from")
    if shape.engine.lower() != "innodb":
        refuse(f"{table}, whose engine {shape.engine} has no transactions,", "move it to InnoDB")
    if not shape.triggers_known:
        refuse(
            f"{table}, whose triggers are hidden from the sidecar's account,",
            f"GRANT TRIGGER ON {identifier(shape.schema)}.* to it",
        )
    if not shape.primary_key:
        raise RefusedError(NO_PRIMARY_KEY, f"table {shape.label} has no primary key; add one")
    if shape.triggers:
        refuse(f"{table} with the trigger {shape.triggers[0]}", "do its work in the application")
    for column in shape.key_columns:
        if column.kind in _NO_KEY:
            refuse(
                f"{table}, whose primary key has the {column.type} {column.name},",
                "use another type for the key",
            )
    return True
