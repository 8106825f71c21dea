"""INSERT, UPDATE and DELETE, cut into the pieces that an undo needs.

Each is read twice, by its tokens (which say where a piece stands in the text) and by sqlglot
(which knows the grammar); where the two disagree, or meet anything that is not known to be
undoable, the statement is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from globaltx.undo import condition, functions, joined, query
from globaltx.undo.cursor import CLAUSES, Cursor, not_understood
from globaltx.undo.forms import Delete, Insert, Joined, OnHit, Source, Span, Table, Update
from globaltx.undo.lexer import BLANK, Token, TokenKind
from globaltx.undo.refusal import refuse
from globaltx.undo.second_reading import (
    REFUSED_PARTS,
    TEMPLATE_LENGTH_MAX,
    facts_of,
    is_understood,
    template,
)

if TYPE_CHECKING:
    from globaltx.undo.forms import Change, Query

_MODIFIERS = frozenset({"IGNORE", "LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK"})
_VERBS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE"})


def change(source: Source) -> Change:
    """Cut a change into its pieces.

    Raises:
        RefusedError: it is none that can be undone.
    """
    return _cut(_with_quoted_schema(source))


def fits_all(found: Change) -> bool:
    """Whether every statement of the same words is cut alike, whatever its literals.

    Pieces are counted in tokens, and the second reading was given no literals. (Where it needed them, or
    several tables are joined, this one stands for itself.)
    """
    if isinstance(found, Joined):
        return False
    answer = None if isinstance(found, Update) else found.returning
    key = template(found.source if answer is None else _before(found.source, answer[0]))
    return len(key) <= TEMPLATE_LENGTH_MAX and is_understood(key)


def _cut(source: Source) -> Change:
    cursor = Cursor(source.tokens)
    prefix = (0, 0)
    if cursor.word() == "WITH":
        prefix = (0, cursor.find_word(_VERBS))
    _check_modifier(source.tokens[prefix[1] :])
    match cursor.word():
        case "UPDATE":
            return _update(source, cursor, prefix)
        case "DELETE":
            return _delete(source, cursor, prefix)
        case _:
            return _insert(source, cursor)


def _check_modifier(tokens: tuple[Token, ...]) -> None:
    words = [token.word() for token in tokens if token.kind not in BLANK][:2]
    if words[-1] in _MODIFIERS and words != ["INSERT", "IGNORE"]:
        refuse(" ".join(words), f"leave {words[-1]} out")


def _update(source: Source, cursor: Cursor, prefix: Span) -> Update | Joined:
    cursor.step()
    first = cursor.index
    if joined.is_joined_update(source, first):
        return joined.update(source, first, prefix)
    table = _table(cursor, until=frozenset({"SET"}))
    named = (first, cursor.index)
    cursor.expect("SET")
    values_begin = cursor.index
    tail = (cursor.find_clause(), len(source.tokens))
    _check_values(source, (values_begin, tail[0]))
    facts = facts_of(source, exp.Update, table, tail)
    names, values = _assignments(source, (values_begin, tail[0]))
    if _lower(facts.columns) != _lower(names):
        not_understood()
    chosen = condition.read(source, tail, facts.limited, elsewhere=(prefix,), pinned=facts.pinned)
    return Update(source, table, named, facts.columns or (), chosen, values, prefix)


def _check_values(source: Source, span: Span) -> None:
    condition.check_functions(source.tokens, span, functions.KNOWN, "in a value")


def _assignments(source: Source, span: Span) -> tuple[tuple[str, ...], tuple[Span, ...]]:
    cursor = Cursor(source.tokens[: span[1]], span[0])
    names, values = cursor.assignments()
    if not cursor.at_end:
        not_understood()
    return names, values


def _delete(source: Source, cursor: Cursor, prefix: Span) -> Delete | Joined:
    cursor.step()
    if joined.is_joined_delete(source, cursor.index):
        return joined.delete(source, cursor.index, prefix)
    cursor.expect("FROM")
    first = cursor.index
    table = _table(cursor, until=CLAUSES)
    begin = cursor.index
    cursor.find_word(frozenset({"RETURNING"}))
    tail = (begin, cursor.index)
    returning = _returning(source, cursor)
    facts = facts_of(_before(source, tail[1]), exp.Delete, table, tail)
    chosen = condition.read(source, tail, facts.limited, elsewhere=(prefix,), pinned=facts.pinned)
    return Delete(source, table, (first, tail[0]), chosen, prefix, returning)


def _returning(source: Source, cursor: Cursor) -> Span | None:
    """``RETURNING a, b``: all that is left. It is cut off before the second reading, which misreads some."""
    if cursor.word() != "RETURNING":
        return None
    span = (cursor.index, len(source.tokens))
    condition.check_functions(source.tokens, span, functions.KNOWN, "in RETURNING")
    return span


def _before(source: Source, end: int) -> Source:
    return Source(source.tokens[:end])


def _insert(source: Source, cursor: Cursor) -> Insert:
    on_hit = OnHit.REPLACE if cursor.word() == "REPLACE" else OnHit.FAIL
    cursor.step()
    if cursor.word() == "IGNORE":
        on_hit = OnHit.IGNORE
        cursor.step()
    if cursor.word() == "INTO":
        cursor.step()
    table = _table(
        cursor, until=frozenset({"VALUES", "VALUE", "SET", "SELECT", "WITH", "TABLE"}), stop_at="("
    )
    values_begin = cursor.index
    columns = cursor.names() if cursor.at("(") else None
    select: Query | None = None
    rows: tuple[tuple[Span, ...], ...]
    match cursor.word():
        case "VALUES" | "VALUE":
            cursor.step()
            rows = cursor.rows()
        case "SET":
            cursor.step()
            columns, row = cursor.assignments()
            rows = (row,)
        case "SELECT" | "WITH":
            rows, select = (), query.cut(source, cursor)
            values_begin = cursor.index
        case _:
            not_understood()
    hit_columns: tuple[str, ...] = ()
    hit_values: tuple[Span, ...] = ()
    rows_end = cursor.index
    _row_alias(cursor)
    hits_begin = cursor.index
    if cursor.word() == "ON":
        on_hit = OnHit.UPDATE
        for word in ("ON", "DUPLICATE", "KEY", "UPDATE"):
            cursor.expect(word)
        hit_columns, hit_values = cursor.assignments()
    span = (values_begin, cursor.index)
    returning = _returning(source, cursor)
    _check_values(source, (rows[0][0][0] if rows and rows[0] else rows_end, rows_end))
    _check_values(source, (hits_begin, len(source.tokens)))
    facts = facts_of(_before(source, span[1]), exp.Insert, table, span)
    if (
        not (cursor.at_end or returning)
        or facts.rows != (None if select else len(rows))
        or _lower(facts.columns) != _lower(columns)
        or _lower(facts.hit_columns) != _lower(hit_columns)
    ):
        not_understood()
    hits = list(zip(hit_columns, hit_values, strict=True))
    kept = tuple(name for name, value in hits if _keeps_insert_id(source, name, value))
    assigned = tuple(name for name, value in hits if not _keeps_insert_id(source, name, value))
    return Insert(source, table, columns, rows, on_hit, assigned, returning, kept, select)


def _row_alias(cursor: Cursor) -> None:
    """``AS new [(a, b)]``: names the new row for ON DUPLICATE KEY UPDATE (MySQL)."""
    if cursor.word() != "AS":
        return
    cursor.step()
    cursor.name()
    if cursor.at("("):
        cursor.names()


def _keeps_insert_id(source: Source, name: str, span: Span) -> bool:
    """``id = LAST_INSERT_ID(id)``: tells the key of the row that was hit, and mostly leaves it as it is."""
    tokens = [token for token in source.tokens[span[0] : span[1]] if token.kind not in BLANK]
    texts = [condition.called(token) or token.text for token in tokens]
    return texts == ["LAST_INSERT_ID", "(", name.upper(), ")"]


def _lower(names: tuple[str, ...] | None) -> list[str]:
    return [name.lower() for name in names or ()]


def _table(cursor: Cursor, until: frozenset[str], stop_at: str = "") -> Table:
    """``[schema.]table [PARTITION (...)] [[AS] alias]`` up to a word that ends it."""
    name, schema = cursor.name(), None
    if cursor.at("."):
        cursor.step()
        schema, name = name, cursor.name()
    while not cursor.at_end and cursor.word() not in until and not (stop_at and cursor.at(stop_at)):
        if cursor.at(",") or cursor.word() in {
            "JOIN",
            "INNER",
            "LEFT",
            "RIGHT",
            "CROSS",
            "NATURAL",
            "USING",
            "FROM",
        }:
            refuse(*REFUSED_PARTS["joins"])
        if cursor.at("("):
            cursor.parenthesis()
        else:
            cursor.step()
    return Table(schema, name)


def _with_quoted_schema(source: Source) -> Source:
    """``order.so_master`` -> ```order`.so_master``: quotes change nothing else about a name."""
    tokens = list(source.tokens)
    cursor = Cursor(source.tokens)
    for _ in range(4):
        if cursor.word() in {"INSERT", "REPLACE", "IGNORE", "INTO", "UPDATE", "DELETE", "FROM"}:
            cursor.step()
    index = cursor.index
    if (
        cursor.token.kind is TokenKind.NAME
        and "".join(token.text for token in tokens[index + 1 : index + 2]) == "."
    ):
        tokens[index] = Token(TokenKind.QUOTED, f"`{cursor.token.text}`")
    return Source(tuple(tokens))
