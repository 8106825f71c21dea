"""What AT must know about a table before it lets a statement change it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a column's value is written into an image, and read back from it."""

    INTEGER = "integer"
    DOUBLE = "double"
    DECIMAL = "decimal"
    TEMPORAL = "temporal"
    TIMESTAMP = "timestamp"
    TEXT = "text"
    FOREIGN_TEXT = "foreign text"
    BINARY = "binary"
    INDEX = "index"
    JSON = "json"
    UNKNOWN = "unknown"


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


class NoSuchTableError(LookupError):
    """The server knows no such table (or the sidecar's account may not see it)."""
