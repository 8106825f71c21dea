"""Random tables: every column type, keys of all kinds, foreign keys, columns that fill themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.catalogue.types import ColumnType, types_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Draw = Callable[..., object]

INT = ColumnType("INT", ("0", "1", "2", "7", "-1"), ("1", "2", "3", "4"))
WORD = ColumnType("VARCHAR(20)", ("'a'", "'A '", "'b'", "''", "'ß'"), ("'a'", "'B'", "'c '", "'a,b'"))
_UNIQUE_TYPES = (INT, WORD, ColumnType("DATE", ("'2024-02-29'", "'2024-03-01'")))
_FILLED = {
    "virtual": "INT AS (n + 1) VIRTUAL",
    "stored": "INT AS (n * 2) STORED",
    "invisible": "INT INVISIBLE",
    "default expression": "VARCHAR(20) DEFAULT (CONCAT('d', 1 + 1))",
    "default": "INT NOT NULL DEFAULT 5",
    "on update": "TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
    "datetime on update": "DATETIME NULL ON UPDATE CURRENT_TIMESTAMP",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column; ``writable`` unless the server computes it."""

    name: str
    sql: str
    values: tuple[str, ...]
    writable: bool = True
    number: bool = False

    @property
    def definition(self) -> str:
        return f"{self.name} {self.sql}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with the literals that its columns hold; ``keys`` are values for each column of the key."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    auto: bool
    unique: tuple[tuple[str, ...], ...] = ()
    parent: str | None = None
    rule: str = ""

    @property
    def writable(self) -> list[Column]:
        return [column for column in self.columns if column.writable]

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def create(self) -> str:
        parts = [column.definition for column in self.columns]
        parts.append(f"PRIMARY KEY ({', '.join(self.key)})")
        parts += [f"UNIQUE KEY u{number} ({', '.join(names)})" for number, names in enumerate(self.unique)]
        if self.parent:
            parts.append(f"FOREIGN KEY (parent) REFERENCES {self.parent} (id) {self.rule}".rstrip())
        return f"CREATE TABLE {self.name} ({', '.join(parts)})"


@st.composite
def tables(draw: st.DrawFn, server: str) -> tuple[Table, ...]:
    """One to three tables of a datasource; a later one may refer to the first."""
    count = draw(st.integers(1, 3))
    made: list[Table] = []
    for number in range(count):
        parent = made[0] if made and made[0].key == ("id",) and made[0].auto is False else None
        made.append(draw(_table(server, number, parent)))
    return tuple(made)


@st.composite
def _table(draw: st.DrawFn, server: str, number: int, parent: Table | None) -> Table:
    key_columns, key, auto = draw(_key(server))
    columns = [*key_columns, Column("n", "INT", (*INT.values, "NULL"), number=True)]
    for index, kind in enumerate(draw(st.lists(st.sampled_from(types_of(server)), min_size=1, max_size=4))):
        columns.append(Column(f"c{index}", kind.sql, (*kind.values, "NULL")))
    for index, name in enumerate(draw(st.lists(st.sampled_from(sorted(_FILLED)), max_size=2, unique=True))):
        writable = name not in {"virtual", "stored"}
        values = {
            "default expression": ("'x'", "DEFAULT"),
            "default": ("1", "DEFAULT"),
            "invisible": ("9", "NULL"),
        }
        columns.append(
            Column(f"f{index}", _FILLED[name], values.get(name, ("DEFAULT", "'2021-01-01'")), writable)
        )
    unique = draw(_unique(columns))
    rule, referred = "", None
    if parent is not None and draw(st.booleans()) and parent.column("id").sql == "INT":
        columns.append(Column("parent", "INT", ("1", "2", "3", "NULL")))
        rule = draw(st.sampled_from(["", "ON DELETE CASCADE", "ON DELETE SET NULL", "ON UPDATE CASCADE"]))
        referred = parent.name
    columns[1:] = draw(st.permutations(columns[1:])) if draw(st.booleans()) else columns[1:]
    return Table(f"t{number}", tuple(columns), key, auto, unique, referred, rule)


@st.composite
def _key(draw: st.DrawFn, server: str) -> tuple[list[Column], tuple[str, ...], bool]:
    """``id``, mostly; else one of any type that can be a key, or two of them."""
    match draw(st.sampled_from(["auto", "plain", "any", "composite", "word"])):
        case "auto":
            values = ("1", "2", "3", "9", "NULL", "0", "DEFAULT")
            return [Column("id", "INT AUTO_INCREMENT", values, number=True)], ("id",), True
        case "plain":
            return [Column("id", "INT", INT.keys, number=True)], ("id",), False
        case "word":
            return [Column("id", WORD.sql, WORD.keys)], ("id",), False
        case "any":
            kind = draw(st.sampled_from([each for each in types_of(server) if each.keys]))
            return [Column("id", kind.sql, kind.keys)], ("id",), False
    kinds = [
        each for each in types_of(server) if each.keys and "700" not in each.sql and "400" not in each.sql
    ]
    first, second = draw(st.sampled_from([INT, WORD])), draw(st.sampled_from(kinds))
    columns = [Column("id", first.sql, first.keys), Column("part", second.sql, second.keys)]
    names = ("id", "part") if draw(st.booleans()) else ("part", "id")
    return columns, names, False


@st.composite
def _unique(draw: st.DrawFn, columns: list[Column]) -> tuple[tuple[str, ...], ...]:
    """Add columns with unique keys, of one column or two."""
    kinds = draw(st.lists(st.sampled_from(_UNIQUE_TYPES), max_size=2))
    names = []
    for index, kind in enumerate(kinds):
        null = draw(st.sampled_from(["", " NULL", " DEFAULT NULL"]))
        columns.append(Column(f"u{index}", kind.sql + null, (*kind.values, "NULL"), number=kind is INT))
        names.append(f"u{index}")
    if len(names) == 2 and draw(st.booleans()):
        return (tuple(names),)
    return tuple((name,) for name in names)


@st.composite
def rows(draw: st.DrawFn, table: Table) -> list[str]:
    """INSERTs of the rows that are there at first; those that do not fit one another are passed over."""
    columns = [column for column in table.writable if column.name not in table.key or not table.auto]
    names = [column.name for column in columns]
    if table.auto:
        names = ["id", *names]
    found = []
    for number in range(draw(st.integers(0, 4))):
        values = [draw(st.sampled_from(column.values)) for column in columns]
        if table.auto:
            values = [str(number + 1), *values]
        found.append(f"INSERT IGNORE INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(values)})")
    return found
