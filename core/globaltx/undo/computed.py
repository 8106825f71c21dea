"""Keys that the server computes (``UUID()``, ``UUID_TO_BIN(?)``, ``LAST_INSERT_ID()``) for rows of an INSERT.

They are computed once, right before the statement, into variables of the session: the sidecar gets to
know them, and the statement takes its keys from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo.exact import KeyPart, exact
from globaltx.undo.lexer import BLANK, Token, TokenKind
from globaltx.undo.literal import Text
from globaltx.undo.refusal import refuse
from globaltx.undo.shape import Column, Kind
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.forms import Source, Span
    from globaltx.undo.literal import Value

VARIABLES_MAX = 1000
_NAMELESS = """
AND OR NOT XOR IN LIKE BETWEEN IS DIV MOD WHEN THEN ELSE END CASE REGEXP RLIKE ESCAPE BINARY INTERVAL
COLLATE USING NULL TRUE FALSE AS CHAR DECIMAL DOUBLE DATE TIME DATETIME SIGNED UNSIGNED FROM FOR BOTH
LEADING TRAILING MICROSECOND SECOND MINUTE HOUR DAY WEEK MONTH QUARTER YEAR CURRENT_DATE CURRENT_TIME
CURRENT_TIMESTAMP LOCALTIME LOCALTIMESTAMP UTC_DATE UTC_TIME UTC_TIMESTAMP UTF8MB4 LATIN1 ASCII
"""
_WORDS = frozenset(_NAMELESS.split())
"""Words of an expression that name no column; functions have a parenthesis behind them."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A value for a key's column that an expression gives."""

    column: Column
    span: Span

    def part(self, value: bytes | None, *, auto_value_on_zero: bool) -> KeyPart:
        """Read the value that the server has computed, in hexadecimal.

        Raises:
            RefusedError: the column will not hold exactly it.
        """
        data = None if value is None else bytes.fromhex(value.decode("ascii"))
        part = None
        if data is not None:
            part = exact(self.column, data if self.column.kind is Kind.BINARY else Text(data))
        generated = self.column.auto_increment and auto_value_on_zero and (part is None or part.known == "0")
        if part is None or generated:
            refuse(
                f"an INSERT whose primary key {self.column.name} is computed to what is not exactly a"
                f" {self.column.full_type}",
                "compute it in the application",
            )
        return part


def is_closed(source: Source, span: Span) -> bool:
    """Whether an expression needs nothing of the row, and changes nothing: no column, no query, no ``:=``."""
    tokens = [token for token in source.tokens[span[0] : span[1]] if token.kind not in BLANK]
    return all(
        _is_closed(token, following)
        for token, following in zip(tokens, [*tokens[1:], Token(TokenKind.SPACE, "")], strict=True)
    )


def _is_closed(token: Token, following: Token) -> bool:
    if token.kind in {TokenKind.NAME, TokenKind.QUOTED}:
        calls = following.text == "(" and token.word() not in {"VALUES", "VALUE", "DEFAULT"}
        return calls or token.word() in _WORDS
    return token.text not in {":=", "."}


def select(source: Source, parts: Sequence[Computed], parameters: Sequence[Value]) -> str:
    """Write the SELECT that computes the values, and keeps them for the statement."""
    return "SELECT " + ",".join(
        _hex(part, f"{variable(index)}:=({source.render(part.span, parameters)})")
        for index, part in enumerate(parts)
    )


def _hex(part: Computed, value: str) -> str:
    """Bytes go into a binary column as they are; other columns take text, of whatever character set."""
    if part.column.kind is Kind.BINARY:
        return f"HEX(CONCAT({value},''))"
    return f"HEX(CONVERT({value} USING utf8mb4))"


def statement(source: Source, parts: Sequence[Computed], parameters: Sequence[Value]) -> str:
    """Write the statement with the variables in place of the expressions."""
    instead = {part.span: variable(index) for index, part in enumerate(parts)}
    return source.render(None, parameters, instead=instead)


def variable(index: int) -> str:
    """Name the variable that holds the n-th value."""
    return f"@globaltx_key_{index}"
