"""The tables that a statement names between FROM (or UPDATE) and WHERE (or SET): joins and derived tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo.cursor import Cursor, not_understood
from globaltx.undo.forms import Reference, Table
from globaltx.undo.lexer import TokenKind

if TYPE_CHECKING:
    from globaltx.undo.forms import Source, Span

_JOIN = frozenset({"JOIN", "STRAIGHT_JOIN"})
_BEFORE_JOIN = frozenset({"INNER", "CROSS", "LEFT", "RIGHT", "OUTER", "NATURAL"})
_INDEX_HINT = frozenset({"USE", "FORCE", "IGNORE"})
_BEHIND_TABLE = _JOIN | _BEFORE_JOIN | _INDEX_HINT | {"ON", "USING", "PARTITION", "AS"}
_QUERY = frozenset({"SELECT", "WITH"})


class References:
    """Reads table references; ``tables`` are those with a name, in the statement's order.

    ``outer``: a row may be joined with nothing, which a row that comes later changes.
    """

    def __init__(self, source: Source, span: Span) -> None:
        self.tables: list[Reference] = []
        self.outer = False
        self._cursor = Cursor(source.tokens[: span[1]], span[0])
        self._read()

    def _read(self) -> None:
        """``factor [join factor [ON ... | USING (...)]] ...``, with parentheses around joins.

        Raises:
            RefusedError: it is something else.
        """
        cursor, opened, expected = self._cursor, 0, True
        while not cursor.at_end:
            if expected and cursor.at("(") and not self._at_query():
                cursor.step()
                opened += 1
            elif expected:
                self._factor()
                expected = False
            elif cursor.at(")") and opened:
                cursor.step()
                opened -= 1
            else:
                expected = self._between()
        if expected or opened:
            not_understood()

    def _between(self) -> bool:
        """Go over what stands behind a table; whether another one must follow."""
        cursor, word = self._cursor, self._cursor.word()
        if word == "ON":
            cursor.step()
            self._condition()
            return False
        if word == "USING":
            cursor.step()
            cursor.parenthesis()
            return False
        self.outer = self.outer or word in {"LEFT", "RIGHT", "NATURAL"}
        while cursor.word() in _BEFORE_JOIN:
            cursor.step()
        if not (cursor.word() in _JOIN or (cursor.at(",") and not word)):
            not_understood()
        cursor.step()
        return True

    def _condition(self) -> None:
        """Go over an expression, up to the next join; LEFT and RIGHT are functions too."""
        cursor, qualified = self._cursor, False
        while not cursor.at_end and not cursor.at(",") and not cursor.at(")"):
            word = "" if qualified else cursor.word()
            if word in _JOIN or (word in _BEFORE_JOIN and not cursor.calls()):
                return
            qualified = cursor.at(".")
            if cursor.at("("):
                cursor.parenthesis()
            else:
                cursor.step()

    def _at_query(self) -> bool:
        """Whether a derived table begins here, in however many parentheses."""
        return self._cursor.word_behind("(") in _QUERY

    def _factor(self) -> None:
        cursor = self._cursor
        if cursor.at("("):
            cursor.parenthesis()
            self._alias()
            if cursor.at("("):
                cursor.parenthesis()
            return
        if cursor.word() in _BEHIND_TABLE | {"LATERAL"} or cursor.calls():
            not_understood()
        table = self._table()
        if cursor.word() == "PARTITION":
            cursor.step()
            cursor.parenthesis()
        self.tables.append(Reference(table, self._alias() or table.name))
        while cursor.word() in _INDEX_HINT:
            self._index_hint()

    def _table(self) -> Table:
        name, schema = self._cursor.name(), None
        if self._cursor.at("."):
            self._cursor.step()
            schema, name = name, self._cursor.name()
        return Table(schema, name)

    def _alias(self) -> str | None:
        cursor = self._cursor
        if cursor.word() == "AS":
            cursor.step()
            return cursor.name()
        named = cursor.token.kind in {TokenKind.NAME, TokenKind.QUOTED}
        return cursor.name() if named and cursor.word() not in _BEHIND_TABLE else None

    def _index_hint(self) -> None:
        """``USE INDEX [FOR JOIN | ORDER BY | GROUP BY] (...)``."""
        while not self._cursor.at_end and not self._cursor.at("("):
            self._cursor.step()
        self._cursor.parenthesis()
