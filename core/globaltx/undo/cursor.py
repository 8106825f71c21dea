"""A walk over the tokens that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from globaltx.undo.lexer import BLANK, Token, TokenKind, name_value
from globaltx.undo.refusal import refuse

if TYPE_CHECKING:
    from globaltx.undo.forms import Span

CLAUSES = frozenset({"WHERE", "ORDER", "LIMIT", "RETURNING"})
_BEHIND_ASSIGNMENTS = CLAUSES | {"ON", "AS"}


def not_understood() -> NoReturn:
    """Refuse a statement of unknown grammar.

    Raises:
        RefusedError: always.
    """
    what = "a statement that is not understood"
    refuse(what, "write it as a plain INSERT ... VALUES, UPDATE or DELETE of one table")


class Cursor:
    """Walks over the tokens that matter; ``index`` is the one that it stands at."""

    def __init__(self, tokens: tuple[Token, ...], first: int = 0) -> None:
        self._tokens = tokens
        self.index = first - 1
        self.step()

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.index >= len(self._tokens)

    @property
    def token(self) -> Token:
        """The token that it stands at; an empty one at the end."""
        return Token(TokenKind.SPACE, "") if self.at_end else self._tokens[self.index]

    def word(self) -> str:
        """The keyword or unquoted name that it stands at, upper case."""
        return self.token.word()

    def at(self, symbol: str) -> bool:
        """Whether it stands at this symbol."""
        return self.token.kind is TokenKind.SYMBOL and self.token.text == symbol

    def step(self) -> None:
        """Go to the next token that matters."""
        self.index += 1
        while not self.at_end and self._tokens[self.index].kind in BLANK:
            self.index += 1

    def expect(self, text: str) -> None:
        """Go over this keyword or symbol.

        Raises:
            RefusedError: it stands at another.
        """
        if self.word() != text and not self.at(text):
            not_understood()
        self.step()

    def name(self) -> str:
        """Go over a name.

        Raises:
            RefusedError: it stands at something else.
        """
        if self.token.kind not in {TokenKind.NAME, TokenKind.QUOTED}:
            not_understood()
        name = name_value(self.token)
        self.step()
        return name

    def calls(self) -> bool:
        """Whether a parenthesis follows what it stands at."""
        behind = Cursor(self._tokens, self.index + 1)
        return behind.at("(")

    def followed_by(self, word: str) -> bool:
        """Whether this word follows what it stands at."""
        return Cursor(self._tokens, self.index + 1).word() == word

    def word_behind(self, symbol: str) -> str:
        """The word that follows this symbol, repeated or not."""
        behind = Cursor(self._tokens, self.index)
        while behind.at(symbol):
            behind.step()
        return behind.word()

    def parenthesis(self) -> None:
        """Go over a parenthesis and all that it holds.

        Raises:
            RefusedError: it stands at none, or it is not closed.
        """
        if not self.at("("):
            not_understood()
        depth = 0
        while not self.at_end:
            depth += self.at("(") - self.at(")")
            self.step()
            if depth == 0:
                return
        not_understood()

    def find_word(self, words: frozenset[str]) -> int:
        """Go to one of these words outside of all parentheses, or to the end."""
        depth, qualified = 0, False
        while not self.at_end:
            depth += self.at("(") - self.at(")")
            if depth == 0 and not qualified and self.word() in words:
                break
            qualified = self.at(".")
            self.step()
        return self.index

    def find_clause(self) -> int:
        """Go to WHERE, ORDER BY or LIMIT outside of all parentheses, or to the end."""
        return self.find_word(CLAUSES)

    def names(self) -> tuple[str, ...]:
        """``(a, b, ...)``."""
        self.expect("(")
        found: list[str] = []
        while not self.at(")"):
            found.append(self.name())
            if not self.at(")"):
                self.expect(",")
        self.step()
        return tuple(found)

    def rows(self) -> tuple[tuple[Span, ...], ...]:
        """``(value, ...), (value, ...), ...``."""
        found = [self._row()]
        while self.at(","):
            self.step()
            found.append(self._row())
        return tuple(found)

    def _row(self) -> tuple[Span, ...]:
        self.expect("(")
        found: list[Span] = []
        while not self.at(")"):
            found.append(self.value())
            if self.at(","):
                self.step()
            elif not self.at(")"):
                not_understood()
        self.step()
        return tuple(found)

    def assignments(self) -> tuple[tuple[str, ...], tuple[Span, ...]]:
        """``a = value, t.b = value, ...`` up to a clause or the end; names without their table."""
        names, values = self.qualified_assignments()
        return tuple(name[-1] for name in names), values

    def qualified_assignments(self) -> tuple[tuple[tuple[str, ...], ...], tuple[Span, ...]]:
        """The same with all that names a column: ``([[schema, ]table, ]column)``."""
        names: list[tuple[str, ...]] = []
        values: list[Span] = []
        while not values or self.at(","):
            if values:
                self.step()
            names.append(self.qualified_name())
            self.expect("=")
            values.append(self.value(_BEHIND_ASSIGNMENTS))
        return tuple(names), tuple(values)

    def qualified_name(self) -> tuple[str, ...]:
        """``a.b.c``."""
        found = [self.name()]
        while self.at("."):
            self.step()
            found.append(self.name())
        return tuple(found)

    def value(self, until: frozenset[str] = frozenset()) -> Span:
        """Go over one expression, up to the comma or parenthesis (or word) that ends it."""
        first, end, depth, qualified = self.index, self.index, 0, False
        while not self.at_end and not (
            depth == 0 and (self.at(",") or self.at(")") or (not qualified and self.word() in until))
        ):
            depth += self.at("(") - self.at(")")
            end, qualified = self.index + 1, self.at(".")
            self.step()
        if first == end:
            not_understood()
        return first, end
