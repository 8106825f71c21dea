"""Locking reads, and how the server finds out whether another transaction may still undo their rows.

A read that locks its rows is sent as it is; then, while nobody can change them, the same rows' keys
are written into the undo table by an INSERT of the shape that a local commit has, and deleted again.
That INSERT sees what was committed last, whatever the snapshot of the local transaction, meets
another transaction's record as a violated CHECK, and locks no gap of the table, as a locking read of
it would.

Which rows a LIMIT lets through is not asked: the check covers all that the WHERE finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from globaltx.undo import condition, keys, locks
from globaltx.undo.condition import SHARED
from globaltx.undo.cursor import Cursor
from globaltx.undo.forms import Answers, Select, Source, Span, Table
from globaltx.undo.lexer import BLANK, TokenKind, name_value
from globaltx.undo.record import ROWS_MAX
from globaltx.undo.refusal import STATEMENT_NOT_UNDOABLE, RefusedError
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from globaltx.transaction.xid import Xid
    from globaltx.undo.literal import Value
    from globaltx.undo.shape import TableShape
    from globaltx.undo.sqlmode import SqlMode

_SET_OPERATIONS = frozenset({"UNION", "EXCEPT", "INTERSECT", "MINUS"})
_JOINS = frozenset({"JOIN", "STRAIGHT_JOIN"})
_BEHIND_TABLE = frozenset({"WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH"})
_LOCKING = frozenset({"FOR", "LOCK"})
_ENDS = _BEHIND_TABLE | _LOCKING | {"INTO", "PROCEDURE"}


@dataclass(frozen=True, slots=True)
class LockingRead:
    """A SELECT of one table that locks its rows.

    ``named`` spans the table with partition, alias and index hints, ``where`` the WHERE (it may be empty),
    ``locking`` the locking clause; None: the statement has none of its own, and is to get one.
    """

    source: Source
    table: Table
    named: Span
    where: Span
    locking: Span | None

    def text(self, mode: SqlMode) -> bytes:
        """Write the read as it is sent."""
        return mode.encode(self.source.render() + ("" if self.locking else SHARED))

    def check(
        self,
        shape: TableShape,
        mode: SqlMode,
        xid: Xid | None,
        committed: Collection[Xid] = (),
        parameters: Sequence[Value] = (),
    ) -> bytes:
        """Write the INSERT that violates the CHECK if a row is another transaction's (see `locks`).

        ``xid`` is the reader's own, None if it has none; records of ``committed`` do not count.
        It inserts more than `ROWS_MAX` rows if the read locks more than can be checked.
        """
        found = self._found(parameters)
        return mode.encode(locks.probe(shape, keys.row_key_expression(shape), found, xid, committed))

    def keys(self, shape: TableShape, mode: SqlMode, parameters: Sequence[Value] = ()) -> bytes:
        """Write the SELECT of the keys of all rows that are checked."""
        return mode.encode(f"SELECT {keys.row_key_expression(shape)} {self._found(parameters)}")

    def _found(self, parameters: Sequence[Value]) -> str:
        clause = SHARED if self.locking is None else self._written(self.locking, parameters)
        return (
            f"FROM {self._written(self.named, parameters)} {self._written(self.where, parameters)}"
            f" LIMIT {ROWS_MAX + 1} {clause}"
        )

    def _written(self, span: Span, parameters: Sequence[Value]) -> str:
        return self.source.render(span, parameters or None)


def locking_read(select: Select, *, insist: bool = False) -> LockingRead | None:
    """Cut a locking read into its pieces; None if it reads no table, or locks nothing.

    ``insist``: it is to lock its rows although it does not say so.

    Raises:
        RefusedError: its rows cannot be checked.
    """
    if not (select.for_update or insist):
        return None
    source = select.source
    outer = _outermost(source)
    words = [source.tokens[index].word() for index in outer]
    if _SET_OPERATIONS & set(words) or not words or words[0] != "SELECT":
        _refuse("UNION, or a SELECT in parentheses,", "send each SELECT by itself")
    if "FROM" not in words:
        return None if "SELECT" not in _inner_words(source, outer) else _refuse_subquery()
    cursor = Cursor(source.tokens, outer[words.index("FROM")])
    cursor.step()
    if cursor.word() == "DUAL":
        return None
    return _cut(source, cursor, outer)


def _cut(source: Source, cursor: Cursor, outer: list[int]) -> LockingRead:
    if cursor.token.kind not in {TokenKind.NAME, TokenKind.QUOTED}:
        _refuse("a derived table", "read the table itself")
    first = cursor.index
    table = _table(cursor)
    behind = [index for index in outer if index >= cursor.index]
    end = _next(source, behind, _ENDS)
    for index in behind:
        if index < end and (source.tokens[index].text == "," or source.tokens[index].word() in _JOINS):
            _refuse("several tables", "lock the rows of each by a statement of its own")
    where = end
    if end < len(source.tokens) and source.tokens[end].word() == "WHERE":
        where = _next(source, [index for index in behind if index > end], _ENDS)
    locking = _next(source, [index for index in behind if index >= where], _LOCKING)
    _check_where(source, (end, where))
    _check_subqueries(source, outer)
    clause = (locking, _next(source, [index for index in behind if index >= locking], frozenset({"INTO"})))
    return LockingRead(
        source, table, (first, end), (end, where), clause if clause[0] < len(source.tokens) else None
    )


def _table(cursor: Cursor) -> Table:
    name = name_value(cursor.token)
    cursor.step()
    if not cursor.at("."):
        return Table(None, name)
    cursor.step()
    schema, name = name, name_value(cursor.token)
    cursor.step()
    return Table(schema, name)


def _check_where(source: Source, where: Span) -> None:
    found = condition.read(source, where, None)
    if found.answers is Answers.TABLES:
        _refuse("a subquery in WHERE", "read what it gives by a statement of its own")
    if found.answers is Answers.ONCE:
        _refuse("a condition that answers differently each time", "compute the value in the application")


def _check_subqueries(source: Source, outer: list[int]) -> None:
    """See that no subquery locks rows of its own, which the check would miss."""
    if _LOCKING & set(_inner_words(source, outer)) and "SELECT" in _inner_words(source, outer):
        _refuse_subquery()


def _refuse_subquery() -> NoReturn:
    _refuse("a subquery that locks rows", "lock them by a statement of its own")


def _inner_words(source: Source, outer: list[int]) -> list[str]:
    outside = frozenset(outer)
    return [token.word() for index, token in enumerate(source.tokens) if index not in outside]


def _outermost(source: Source) -> list[int]:
    """The tokens outside of all parentheses that are no part of a qualified name behind its stop."""
    found: list[int] = []
    depth, qualified = 0, False
    for index, token in enumerate(source.tokens):
        if token.kind in BLANK:
            continue
        depth -= token.text == ")"
        if depth == 0 and not qualified and token.text != ")":
            found.append(index)
        depth += token.text == "("
        qualified = token.text == "."
    return found


def _next(source: Source, places: list[int], words: frozenset[str]) -> int:
    """The first of the places where one of the words stands, or the end."""
    return next((index for index in places if source.tokens[index].word() in words), len(source.tokens))


def _refuse(what: str, way_out: str) -> NoReturn:
    """Refuse a locking read.

    Raises:
        RefusedError: always.
    """
    sentence = f"a locking read of {what} cannot be checked against other transactions; {way_out}"
    raise RefusedError(STATEMENT_NOT_UNDOABLE, sentence)
