"""The SELECT of an INSERT ... SELECT, cut into what an undo needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo import condition, functions
from globaltx.undo.condition import SHARED
from globaltx.undo.cursor import Cursor
from globaltx.undo.forms import Answers, Query, Source
from globaltx.undo.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.forms import Span
    from globaltx.undo.literal import Value

FIRST = frozenset({"SELECT", "WITH"})
_SET_OPERATIONS = frozenset({"UNION", "EXCEPT", "INTERSECT", "MINUS"})
_BEHIND_ITEMS = frozenset(
    {"FROM", "WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "FOR", "LOCK", "INTO", "PROCEDURE"}
)
_OPTIONS = frozenset(
    {
        "ALL",
        "DISTINCT",
        "DISTINCTROW",
        "HIGH_PRIORITY",
        "STRAIGHT_JOIN",
        "SQL_BIG_RESULT",
        "SQL_BUFFER_RESULT",
        "SQL_CACHE",
        "SQL_CALC_FOUND_ROWS",
        "SQL_NO_CACHE",
        "SQL_SMALL_RESULT",
    }
)


def cut(source: Source, cursor: Cursor) -> Query:
    """Cut the SELECT that the cursor stands at, up to ON DUPLICATE KEY UPDATE, RETURNING or the end.

    Raises:
        RefusedError: it is not known to read alike twice.
    """
    first = cursor.index
    _find_end(cursor)
    span = (first, cursor.index)
    inner = Cursor(source.tokens[: span[1]], first)
    inner.find_word(frozenset({"SELECT"}))
    words = _outermost_words(source, (inner.index, span[1]))
    if _SET_OPERATIONS & words:
        refuse("UNION in INSERT ... SELECT", "send each SELECT by a statement of its own")
    if {"FOR", "LOCK", "INTO", "PROCEDURE"} & words:
        refuse("INSERT ... SELECT that locks its rows itself", "leave that out: they are locked")
    condition.check_functions(source.tokens, span, functions.KNOWN, "in a SELECT")
    whole = condition.read(source, span, None)
    once = "LIMIT" in words or "OFFSET" in words
    items, behind = _items(source, inner, span) if first == inner.index else (None, span)
    return Query(
        span,
        items,
        answers=Answers.ONCE if once else condition.answers(source.tokens, behind),
        whole=Answers.ONCE if once else whole.answers,
        shared=whole.shared,
        reads="FROM" in words,
    )


def repeats(source: Source, item: Span) -> bool:
    """Whether a value of the SELECT is the same when it is computed a moment before."""
    return condition.answers(source.tokens, item) is not Answers.ONCE


def is_null(source: Source, item: Span) -> bool:
    """Whether a value of the SELECT is the word NULL, by whatever name."""
    cursor = Cursor(source.tokens[: item[1]], item[0])
    if cursor.word() != "NULL":
        return False
    cursor.step()
    return cursor.at_end or cursor.word() == "AS"


def written(source: Source, query: Query, parameters: Sequence[Value]) -> str:
    """Write the SELECT with share locks on all that it reads, as an INSERT takes them."""
    text = source.render(query.span, parameters, dict.fromkeys(query.shared, SHARED))
    return text + SHARED if query.reads else text


def _find_end(cursor: Cursor) -> None:
    cursor.find_word(frozenset({"ON", "RETURNING"}))
    while cursor.word() == "ON" and not cursor.followed_by("DUPLICATE"):
        cursor.step()
        cursor.find_word(frozenset({"ON", "RETURNING"}))


def _outermost_words(source: Source, span: Span) -> frozenset[str]:
    cursor, depth, qualified = Cursor(source.tokens[: span[1]], span[0]), 0, False
    found = set()
    while not cursor.at_end:
        depth += cursor.at("(") - cursor.at(")")
        if depth == 0 and not qualified:
            found.add(cursor.word())
        qualified = cursor.at(".")
        cursor.step()
    return frozenset(found)


def _items(source: Source, cursor: Cursor, span: Span) -> tuple[tuple[Span, ...] | None, Span]:
    """Find what each column gets; None where the text does not tell. And what chooses the rows."""
    cursor.step()
    distinct = False
    while cursor.word() in _OPTIONS:
        distinct = distinct or cursor.word().startswith("DISTINCT")
        cursor.step()
    found = [cursor.value(_BEHIND_ITEMS)]
    while cursor.at(","):
        cursor.step()
        found.append(cursor.value(_BEHIND_ITEMS))
    stars = any(source.tokens[end - 1].text == "*" for _, end in found)
    if distinct or stars:
        return None, span
    return tuple(found), (cursor.index, span[1])
