"""Statements that ask about the one before them, with what is known of it written in.

``ROW_COUNT()``, ``FOUND_ROWS()``, ``@@warning_count`` and ``@@error_count`` get their values; where one of
them is a whole column of a SELECT, the column keeps its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from globaltx.undo import lexer
from globaltx.undo.lexer import BLANK, Token, TokenKind
from globaltx.undo.literal import identifier
from globaltx.undo.sqlmode import SqlMode, UnreadableTextError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FUNCTIONS: Final = frozenset({"ROW_COUNT", "FOUND_ROWS"})
_VARIABLES: Final = {
    scope + name: name
    for scope in ("@@", "@@SESSION.", "@@LOCAL.")
    for name in ("WARNING_COUNT", "ERROR_COUNT")
}
_OPENS_COLUMN: Final = frozenset({"SELECT", "DISTINCT", "ALL", ","})
_CLOSES_COLUMN: Final = frozenset(
    {"", ",", "FROM", "INTO", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "FOR", "LOCK", "UNION"}
)
_CALL: Final = ("(", ")")
_DEFAULT: Final = SqlMode()


class _Piece(NamedTuple):
    """Some tokens that belong together; ``name``: what they ask for."""

    text: str
    meaning: str
    name: str = ""


def column(asking: str, value: int) -> bytes:
    """Write the SELECT of a value in the place of what asks for it."""
    return f"SELECT {_known(asking, value)} AS {identifier(asking)}".encode()


def fill_in(sql: bytes, values: Mapping[str, int], mode: SqlMode = _DEFAULT) -> bytes:
    """Write the values of the names into a statement; what cannot be read is given back as it is.

    Only the first statement of a text is looked at: the others ask about that one.
    """
    try:
        tokens = lexer.tokens(mode.decode(sql), mode)
    except (lexer.UnclosedError, UnreadableTextError):
        return sql
    end = next((at for at, token in enumerate(tokens) if token.text == ";"), len(tokens))
    pieces = _pieces(tokens[:end], values)
    written = [_written(pieces, at, values) for at in range(len(pieces))]
    return mode.encode("".join(written) + "".join(token.text for token in tokens[end:]))


def reads_no_table(sql: bytes, mode: SqlMode = _DEFAULT) -> bool:
    """Whether a statement is a SELECT from no table."""
    try:
        words = {token.word() for token in lexer.tokens(mode.decode(sql), mode)}
    except (lexer.UnclosedError, UnreadableTextError):
        return False
    return "SELECT" in words and not words & {"FROM", "INTO"}


def _known(asking: str, value: int) -> str:
    """Write a value of the very type that the server gives to what asks for it, and with its warnings."""
    return f"({asking}*0+{value})"


def _pieces(tokens: Sequence[Token], values: Mapping[str, int]) -> list[_Piece]:
    """Put calls together, and leave everything else as it is."""
    pieces: list[_Piece] = []
    at = 0
    while at < len(tokens):
        name, length = _asked(tokens, at)
        length = length if name in values else 1
        text = "".join(token.text for token in tokens[at : at + length])
        blank = tokens[at].kind in BLANK
        meaning = "" if blank else tokens[at].word() or text
        pieces.append(_Piece(text, meaning, name if name in values else ""))
        at += length
    return pieces


def _asked(tokens: Sequence[Token], at: int) -> tuple[str, int]:
    """What the tokens from here on ask for, and how many they are; nothing is one token long."""
    token = tokens[at]
    if token.kind is TokenKind.VARIABLE:
        return _VARIABLES.get(token.text.upper(), ""), 1
    if token.word() not in _FUNCTIONS:
        return "", 1
    behind = [after for after in range(at + 1, len(tokens)) if tokens[after].kind not in BLANK][:2]
    if tuple(tokens[after].text for after in behind) != _CALL:
        return "", 1
    return token.word(), behind[-1] - at + 1


def _written(pieces: Sequence[_Piece], at: int, values: Mapping[str, int]) -> str:
    piece = pieces[at]
    if not piece.name:
        return piece.text
    known = _known(piece.text, values[piece.name])
    before = next((each.meaning for each in reversed(pieces[:at]) if each.meaning), "")
    after = next((each.meaning for each in pieces[at + 1 :] if each.meaning), "")
    whole = before in _OPENS_COLUMN and after in _CLOSES_COLUMN and _in_list(pieces[:at])
    return f"{known} AS {identifier(piece.text)}" if whole else known


def _in_list(before: Sequence[_Piece]) -> bool:
    """Whether what follows stands in the list of columns of a SELECT, and in no parentheses."""
    meanings = [piece.meaning for piece in before if piece.meaning]
    closed = _CLOSES_COLUMN - {"", ",", "UNION"}
    if meanings[:1] != ["SELECT"] or meanings.count("(") != meanings.count(")"):
        return False
    return not closed & set(meanings)
