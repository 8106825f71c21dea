"""What a change's choice of rows depends on, and how an image can make the same choice.

A statement and the image before it are evaluated one after the other and must choose the same rows.
A condition on the row itself has the same answer while the row is locked. One with subqueries has it
while all that they read is locked, gaps too; the image takes those locks. Whatever may answer
differently each time is asked once, for the image, and the statement gets the keys of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from globaltx.undo import functions
from globaltx.undo.cursor import Cursor, not_understood
from globaltx.undo.forms import Answers, Condition, Limited
from globaltx.undo.lexer import BLANK, LITERALS, Token, TokenKind, name_value
from globaltx.undo.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from globaltx.undo.forms import Source, Span

SHARED = " LOCK IN SHARE MODE "
_SET_OPERATIONS = frozenset({"UNION", "EXCEPT", "INTERSECT", "MINUS"})
_LOCKING = {("FOR", "UPDATE"), ("FOR", "SHARE"), ("LOCK", "IN")}
_CONSTANTS = LITERALS | {TokenKind.PARAMETER}
_BEHIND_CONSTANT = frozenset({"AND", "&&", ")", "ORDER", "LIMIT"})


def read(
    source: Source,
    tail: Span,
    limited: Limited | None,
    elsewhere: tuple[Span, ...] = (),
    pinned: frozenset[str] = frozenset(),
) -> Condition:
    """Read the condition of a change; ``elsewhere`` are other pieces of it that choose rows (joins).

    ``pinned`` are the columns (in lower case) that the grammar says are equal to constants.

    Raises:
        RefusedError: no image can make the same choice.
    """
    spans = (*elsewhere, tail)
    for span in spans:
        check_functions(source.tokens, span, functions.KNOWN, "in WHERE or ORDER BY")
        _check_assignment(source.tokens, span)
    shared = tuple(place for span in spans for place in _shared(source.tokens, span))
    depends = max((answers(source.tokens, span) for span in spans), key=list(Answers).index)
    places = tuple(_pinned(source.tokens, tail, pinned))
    return Condition(tail, depends, _order(source, tail), limited, shared, places)


def _pinned(tokens: tuple[Token, ...], tail: Span, names: frozenset[str]) -> Iterator[tuple[str, Span]]:
    """Find the constants that columns are equal to; one that might be another's is left out."""
    places = [place for place in range(*tail) if tokens[place].kind not in BLANK]
    found: dict[str, list[Span]] = {}
    for name, sign, value, behind in zip(places, places[1:], places[2:], [*places[3:], -1], strict=False):
        ends = behind == -1 or tokens[behind].text.upper() in _BEHIND_CONSTANT
        if ends and tokens[sign].text == "=" and tokens[value].kind in _CONSTANTS:
            found.setdefault(called(tokens[name]).lower(), []).append((value, value + 1))
    return ((name, spans[0]) for name, spans in found.items() if name in names and len(spans) == 1)


def check_functions(tokens: tuple[Token, ...], span: Span, allowed: frozenset[str], where: str) -> None:
    """Refuse functions that may change rows nobody sees.

    Raises:
        RefusedError: there is one.
    """
    before = previous = ""
    for token in tokens[span[0] : span[1]]:
        if token.kind in BLANK:
            continue
        if token.text == "(" and previous and (before == "." or previous not in allowed):
            refuse(f"the function {previous[:64]}() {where}", "compute the value in the application")
        before, previous = previous, called(token)


def called(token: Token) -> str:
    """The name by which a token may call a function; a full stop for itself."""
    if token.kind in {TokenKind.NAME, TokenKind.QUOTED}:
        return name_value(token).upper()
    return token.text if token.text == "." else ""


def repeats(source: Source, span: Span) -> bool:
    """Whether an expression that is evaluated a moment before gives the value that it gives afterwards."""
    previous = ""
    for token in source.tokens[span[0] : span[1]]:
        if token.kind in BLANK:
            continue
        word = token.word()
        unrepeatable = token.text == "(" and previous in functions.UNREPEATABLE
        variable = token.kind is TokenKind.VARIABLE or token.text == ":="
        if unrepeatable or variable or word == "SELECT" or word in functions.UNREPEATABLE_WORDS:
            return False
        previous = called(token)
    return True


def _check_assignment(tokens: tuple[Token, ...], span: Span) -> None:
    if any(token.text == ":=" for token in tokens[span[0] : span[1]]):
        refuse(":= in WHERE or ORDER BY", "compute the value in the application")


def answers(tokens: tuple[Token, ...], span: Span) -> Answers:
    """Say what a piece of a statement depends on."""
    found, depth = Answers.ROW, 0
    before = previous = ""
    for token in tokens[span[0] : span[1]]:
        if token.kind in BLANK:
            continue
        word = "" if previous == "." else token.word()
        called_before = token.text == "(" and before != "." and previous in functions.UNREPEATABLE
        if called_before or word in functions.UNREPEATABLE_WORDS or token.text.startswith("@@"):
            return Answers.ONCE
        if depth and word == "LIMIT":
            return Answers.ONCE
        if word == "SELECT":
            found = Answers.TABLES
        depth += (token.text == "(") - (token.text == ")")
        before, previous = previous, called(token)
    return found


@dataclass(slots=True)
class _Parenthesis:
    words: list[str] = field(default_factory=list)

    @property
    def shares(self) -> bool:
        """Whether it holds a SELECT of tables that does not lock them itself."""
        if not {"SELECT", "FROM"} <= set(self.words):
            return False
        if _SET_OPERATIONS & set(self.words):
            refuse("UNION in a subquery", "put its SELECTs into parentheses, or write two conditions")
        return not _LOCKING & set(zip(self.words, self.words[1:], strict=False))


def _shared(tokens: tuple[Token, ...], span: Span) -> list[int]:
    """Find the closing parentheses of subqueries."""
    found: list[int] = []
    opened = [_Parenthesis()]
    qualified = False
    for index, token in enumerate(tokens[span[0] : span[1]], span[0]):
        if token.kind in BLANK:
            continue
        if token.text == "(":
            opened.append(_Parenthesis())
        elif token.text == ")":
            if opened.pop().shares:
                found.append(index)
            if not opened:
                not_understood()
        elif not qualified and token.word():
            _note(opened[-1], token.word())
        qualified = token.text == "."
    return found


def _note(parenthesis: _Parenthesis, word: str) -> None:
    if not parenthesis.words and word in {"TABLE", "VALUES"}:
        refuse(f"{word} as a subquery", "write a SELECT")
    parenthesis.words.append(word)


def _order(source: Source, tail: Span) -> Span | None:
    """Find ORDER BY."""
    cursor = Cursor(source.tokens, tail[0])
    if cursor.word() == "WHERE":
        cursor.step()
        cursor.find_clause()
    if cursor.word() != "ORDER":
        return None
    first = cursor.index
    cursor.step()
    return first, cursor.find_clause()
