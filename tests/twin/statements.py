"""Random statements of an application, in every form that AT takes part in, and some that it must refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.twin.case import Case, Connection, Step
from tests.twin.schema import rows, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.twin.case import Parameter
    from tests.twin.schema import Column, Table

_ODD = (
    "'12abc'",
    "1e3",
    "'2023-02-30'",
    "X'414243'",
    "-1",
    "1 + 1",
    "CONCAT('a', 'b')",
    "TRUE",
    "99999999999",
)
_SESSIONS = (
    "SET sql_mode = ''",
    "SET sql_mode = 'STRICT_ALL_TABLES'",
    "SET sql_mode = 'ALLOW_INVALID_DATES'",
    "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
    "SET sql_mode = 'PAD_CHAR_TO_FULL_LENGTH,ALLOW_INVALID_DATES'",
    "SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'",
    "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
    "SET time_zone = '+00:00'",
    "SET time_zone = '-11:30'",
    "SET NAMES latin1",
    "SET NAMES gbk",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET foreign_key_checks = 0",
    "SET sql_select_limit = 1",
    "SET auto_increment_increment = 3, auto_increment_offset = 2",
    "SET sql_safe_updates = 0, sql_auto_is_null = 1",
)
_COMPARISONS = ("=", "<>", "<", ">=", "<=>")


@st.composite
def cases(draw: st.DrawFn, server: str) -> Case:
    """One sequence: one to three branches, up to four connections, up to ten blocks of statements."""
    made = [draw(tables(server)) for _ in range(draw(st.integers(1, 3)))]
    branches = []
    for of_branch in made:
        statements = [table.create for table in of_branch]
        for table in of_branch:
            statements += draw(rows(table))
        branches.append(tuple(statements))
    connections = tuple(
        Connection(number % len(made), draw(st.booleans()))
        for number in range(draw(st.integers(len(made), len(made) + 1)))
    )
    steps = [Step(number, "SET timestamp = 1700000000.25") for number in range(len(connections))]
    for _ in range(draw(st.integers(1, 6))):
        number = draw(st.integers(0, len(connections) - 1))
        steps += draw(_block(number, made[connections[number].branch], server))
    return Case(tuple(branches), connections, tuple(steps))


@st.composite
def _block(draw: st.DrawFn, connection: int, of_branch: tuple[Table, ...], server: str) -> list[Step]:
    """A few statements of one connection, which leave no local transaction open."""
    steps = [Step(connection, draw(st.sampled_from(_SESSIONS)))] if draw(st.integers(0, 2)) == 0 else []
    carried = "{xid} " if draw(st.integers(0, 3)) else ""
    if not carried:
        steps.append(Step(connection, "SET @globaltx_xid = '{name}'"))
    changes = [draw(_change(connection, of_branch, carried, server)) for _ in range(draw(st.integers(1, 5)))]
    match draw(st.sampled_from(["autocommit", "begin", "autocommit off", "savepoints"])):
        case "autocommit":
            steps += changes
        case "begin":
            steps += [Step(connection, draw(st.sampled_from(["BEGIN", "START TRANSACTION"]))), *changes]
            steps.append(_end(draw, connection))
        case "autocommit off":
            steps += [Step(connection, "SET autocommit = 0"), *changes]
            steps += [_end(draw, connection), Step(connection, "SET autocommit = 1")]
        case _:
            steps += [Step(connection, "BEGIN"), *_with_savepoints(draw, connection, changes)]
            steps.append(_end(draw, connection))
    if not carried:
        steps.append(Step(connection, "SET @globaltx_xid = NULL"))
    return steps


def _end(draw: st.DrawFn, connection: int) -> Step:
    return Step(connection, draw(st.sampled_from(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"])))


def _with_savepoints(draw: st.DrawFn, connection: int, changes: list[Step]) -> list[Step]:
    steps = []
    for change in changes:
        if draw(st.booleans()):
            steps.append(Step(connection, draw(st.sampled_from(["SAVEPOINT a", "SAVEPOINT b"]))))
        steps.append(change)
        if draw(st.booleans()):
            to = draw(st.sampled_from(["ROLLBACK TO a", "ROLLBACK TO SAVEPOINT B", "RELEASE SAVEPOINT a"]))
            steps.append(Step(connection, to))
    return steps


@st.composite
def _change(
    draw: st.DrawFn, connection: int, of_branch: tuple[Table, ...], carried: str, server: str
) -> Step:
    table = draw(st.sampled_from(of_branch))
    writer = _Writer(draw, table, of_branch, prepared=draw(st.integers(0, 3)) == 0)
    forms = [*_FORMS, *((_joined, _joined, _common) if writer.others else ())]
    form = draw(st.sampled_from(forms))
    sql = form(writer, carried)
    if server == "MariaDB" and form in _RETURNING and draw(st.integers(0, 3)) == 0:
        sql += draw(st.sampled_from([" RETURNING *", " RETURNING n + 1 AS more"]))
    return Step(connection, sql, tuple(writer.parameters) if writer.prepared else None)


class _Writer:
    """Writes values of a table, as literals or as parameters."""

    def __init__(self, draw: st.DrawFn, table: Table, of_branch: Sequence[Table], *, prepared: bool) -> None:
        self.draw = draw
        self.table = table
        self.of_branch = of_branch
        self.others = [each.name for each in of_branch if each is not table]
        self.prepared = prepared
        self.parameters: list[Parameter] = []

    def value(self, column: Column) -> str:
        if self.draw(st.integers(0, 15)) == 0:
            return self.draw(st.sampled_from((*_ODD, "NULL", "DEFAULT")))
        literal = self.draw(st.sampled_from(column.values))
        if self.prepared and self.draw(st.booleans()):
            return self._bound(literal)
        return literal

    def constant(self, column: Column) -> str:
        """A value that may stand in a condition."""
        known = [each for each in column.values if each not in {"DEFAULT", "NULL"}]
        literal = self.draw(st.sampled_from(known or ["1"]))
        return self._bound(literal) if self.prepared and self.draw(st.booleans()) else literal

    def _bound(self, literal: str) -> str:
        parameter = _parameter(literal)
        if parameter is _UNBOUND:
            return literal
        self.parameters.append(parameter)  # type: ignore[arg-type]
        return "?"

    def some(self) -> list[Column]:
        """Columns to write, the key's mostly among them."""
        free = [column for column in self.table.writable if column.name not in self.table.key]
        chosen = [column for column in free if self.draw(st.booleans())]
        keys = [self.table.column(name) for name in self.table.key]
        leave_out = self.table.auto and self.draw(st.booleans())
        return chosen if leave_out and chosen else [*keys, *chosen]

    def assignment(self, column: Column) -> str:
        name = column.name
        if column.number and self.draw(st.integers(0, 2)) == 0:
            return f"{name} = {self.draw(st.sampled_from([f'{name} + 1', f'-{name}', 'n * 2', name]))}"
        return f"{name} = {self.value(column)}"

    def free(self, most: int = 3) -> list[Column]:
        """Columns that are not of the key, at least one."""
        free = [column for column in self.table.writable if column.name not in self.table.key]
        return self.draw(
            st.lists(st.sampled_from(free), min_size=1, max_size=most, unique_by=lambda c: c.name)
        )

    def where(self) -> str:
        if self.draw(st.integers(0, 7)) == 0:
            return ""
        first, others = self.table.column(self.table.key[0]), self.others
        column = self.draw(st.sampled_from(self.table.columns))
        made = {
            "key": lambda: " AND ".join(
                f"{name} = {self.constant(self.table.column(name))}" for name in self.table.key
            ),
            "in": lambda: f"{first.name} IN ({self.constant(first)}, {self.constant(first)})",
            "column": lambda: self._comparison(column),
            "null": lambda: f"{column.name} IS {self.draw(st.sampled_from(['', 'NOT ']))}NULL",
            "function": lambda: f"COALESCE(n, 0) BETWEEN {self.draw(st.integers(-1, 2))} AND 7",
            "or": lambda: f"n = {self.draw(st.integers(-1, 3))} OR {column.name} IS NULL",
            "subquery": lambda: f"n IN (SELECT n + 1 FROM {self.draw(st.sampled_from(others))})",
            "exists": lambda: f"EXISTS (SELECT 1 FROM {self.draw(st.sampled_from(others))} o WHERE o.n > 1)",
        }
        if not others:
            del made["subquery"], made["exists"]
        return " WHERE " + made[self.draw(st.sampled_from(["key", *made]))]()

    def _comparison(self, column: Column) -> str:
        comparison = self.draw(st.sampled_from(_COMPARISONS))
        return f"{column.name} {comparison} {self.constant(column) if column.writable else 1}"

    def order(self) -> str:
        if self.draw(st.integers(0, 3)):
            return ""
        direction = self.draw(st.sampled_from(["", " DESC"]))
        order = f" ORDER BY {', '.join(name + direction for name in self.table.key)}"
        return order + self.draw(st.sampled_from(["", " LIMIT 1", " LIMIT 2"]))


class _Unbound:
    """No parameter can stand for it."""


_UNBOUND = _Unbound()


def _parameter(literal: str) -> Parameter | _Unbound:
    """A literal as a client's value, where that is easily said."""
    if literal == "NULL":
        return None
    if literal.lstrip("-").isdigit() and -(1 << 63) <= int(literal) < 1 << 64:
        return int(literal)
    if literal.startswith("X'"):
        return bytes.fromhex(literal[2:-1])
    if literal.startswith("'") and "\\" not in literal and "''" not in literal[1:-1]:
        return literal[1:-1]
    return _UNBOUND


def _insert(writer: _Writer, carried: str, verb: str = "INSERT", behind: str = "") -> str:
    columns = writer.some()
    count = writer.draw(st.sampled_from([1, 1, 1, 2, 3]))
    if count == 1 and writer.draw(st.integers(0, 3)) == 0:
        values = ", ".join(f"{column.name} = {writer.value(column)}" for column in columns)
        return f"{verb} {carried}INTO {writer.table.name} SET {values}{behind}"
    whole = writer.draw(st.integers(0, 4)) == 0
    if whole:
        columns = [column for column in writer.table.columns if "INVISIBLE" not in column.sql]
    names = "" if whole else f" ({', '.join(column.name for column in columns)})"
    written = [
        f"({', '.join(writer.value(column) if column.writable else 'DEFAULT' for column in columns)})"
        for _ in range(count)
    ]
    return f"{verb} {carried}INTO {writer.table.name}{names} VALUES {', '.join(written)}{behind}"


def _ignore(writer: _Writer, carried: str) -> str:
    return _insert(writer, carried, "INSERT").replace("INTO", "IGNORE INTO", 1)


def _replace(writer: _Writer, carried: str) -> str:
    return _insert(writer, carried, "REPLACE")


def _upsert(writer: _Writer, carried: str) -> str:
    statement = _insert(writer, carried)
    assigned = []
    for column in writer.free(2):
        new = f"{column.name} = VALUES({column.name})"
        assigned.append(new if writer.draw(st.booleans()) else writer.assignment(column))
    if writer.table.auto and writer.draw(st.integers(0, 3)) == 0:
        assigned.append("id = LAST_INSERT_ID(id)")
    return f"{statement} ON DUPLICATE KEY UPDATE {', '.join(assigned)}"


def _update(writer: _Writer, carried: str) -> str:
    assignments = ", ".join(writer.assignment(column) for column in writer.free())
    alias = writer.draw(st.sampled_from(["", "", "", " AS x", " x"]))
    return f"UPDATE {carried}{writer.table.name}{alias} SET {assignments}{writer.where()}{writer.order()}"


def _delete(writer: _Writer, carried: str) -> str:
    return f"DELETE {carried}FROM {writer.table.name}{writer.where()}{writer.order()}"


def _move(writer: _Writer, carried: str) -> str:
    key = [writer.table.column(name) for name in writer.table.key]
    assignments = [f"{column.name} = {writer.constant(column)}" for column in key]
    if writer.draw(st.booleans()):
        assignments.append(writer.assignment(writer.free(1)[0]))
    return f"UPDATE {carried}{writer.table.name} SET {', '.join(assignments)}{writer.where()}"


def _select(writer: _Writer, carried: str, verb: str = "INSERT", behind: str = "") -> str:
    """Rows of a table, in the order of its key: what is generated for them must be the same twice."""
    source = writer.draw(st.sampled_from(writer.of_branch))
    columns = writer.some()
    items = ", ".join(_item(writer, column, source) for column in columns)
    names = ", ".join(column.name for column in columns)
    chosen = writer.draw(st.sampled_from(["", " WHERE n > 1", " WHERE n IS NOT NULL", " WHERE 1 = 0"]))
    order = ", ".join(source.key)
    return (
        f"{verb} {carried}INTO {writer.table.name} ({names})"
        f" SELECT {items} FROM {source.name}{chosen} ORDER BY {order}{behind}"
    )


def _item(writer: _Writer, column: Column, source: Table) -> str:
    own = [column.name] if source is writer.table else []
    numbers = [f"{name} + 10" for name in own if column.number or column.name == "id"]
    picked = writer.draw(st.sampled_from(["n", "n + 10", *own, *numbers, *numbers]))
    return picked if writer.draw(st.integers(0, 2)) else writer.constant(column)


def _select_anew(writer: _Writer, carried: str) -> str:
    match writer.draw(st.sampled_from(["ignore", "replace", "upsert"])):
        case "ignore":
            return _select(writer, carried).replace("INTO", "IGNORE INTO", 1)
        case "replace":
            return _select(writer, carried, "REPLACE")
    assigned = ", ".join(f"{column.name} = VALUES({column.name})" for column in writer.free(2))
    return _select(writer, carried, behind=f" ON DUPLICATE KEY UPDATE {assigned}")


def _joined(writer: _Writer, carried: str) -> str:
    """Rows that another table chooses."""
    table, other = writer.table.name, writer.draw(st.sampled_from(writer.others))
    join = writer.draw(st.sampled_from(["JOIN", "LEFT JOIN"]))
    tables = f"{table} {join} {other} ON {table}.n = {other}.n"
    where = writer.draw(st.sampled_from(["", f" WHERE {table}.n > 1", f" WHERE {other}.n IS NULL"]))
    if writer.draw(st.integers(0, 2)) == 0:
        return f"DELETE {carried}{table} FROM {tables}{where}"
    assigned = ", ".join(f"{table}.{column.name} = {writer.constant(column)}" for column in writer.free(2))
    return f"UPDATE {carried}{tables} SET {assigned}{where}"


def _common(writer: _Writer, carried: str) -> str:
    """A common table expression; MariaDB has none before a change, and says so."""
    other = writer.draw(st.sampled_from(writer.others))
    assigned = writer.assignment(writer.free(1)[0])
    return (
        f"WITH w AS (SELECT n FROM {other}) UPDATE {carried}{writer.table.name} SET {assigned}"
        " WHERE n IN (SELECT n FROM w)"
    )


_FORMS = (
    *(_insert, _insert, _upsert, _upsert, _replace, _ignore, _update, _update, _update, _delete, _move),
    *(_select, _select, _select_anew),
)
_RETURNING = frozenset({_insert, _upsert, _replace, _ignore, _delete, _select, _select_anew})
