"""UPDATE and DELETE over several tables, cut into the pieces that an undo needs.

Read twice, as all changes are: sqlglot reads the SELECT over the same tables, and the assignments.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from globaltx.undo import condition, functions
from globaltx.undo.cursor import Cursor, not_understood
from globaltx.undo.forms import Joined, Source
from globaltx.undo.lexer import TokenKind
from globaltx.undo.references import References
from globaltx.undo.refusal import refuse
from globaltx.undo.second_reading import template

if TYPE_CHECKING:
    from globaltx.undo.forms import Reference, Span

_ALTERS = frozenset(
    {"RAND", "RANDOM_BYTES", "SYS_GUID", "UUID", "UUID_SHORT", "UUID_V4", "UUID_V7", "NEXTVAL"}
)


def is_joined_update(source: Source, first: int) -> bool:
    """Whether the UPDATE whose tables begin at this token has several, or a derived one."""
    cursor = Cursor(source.tokens, first)
    end = cursor.find_word(frozenset({"SET"}))
    cursor = Cursor(source.tokens[:end], first)
    if cursor.at("("):
        return True
    while not cursor.at_end:
        if cursor.at(",") or cursor.word() in {"JOIN", "STRAIGHT_JOIN"}:
            return True
        if cursor.at("("):
            cursor.parenthesis()
        else:
            cursor.step()
    return False


def is_joined_delete(source: Source, first: int) -> bool:
    """Whether the DELETE names what it deletes from apart (``DELETE a FROM``, ``DELETE FROM a USING``)."""
    cursor = Cursor(source.tokens, first)
    if cursor.word() != "FROM":
        return True
    cursor.step()
    cursor.find_word(frozenset({"USING", "WHERE"}))
    return cursor.word() == "USING"


def update(source: Source, first: int, prefix: Span) -> Joined:
    """Cut ``UPDATE tables SET ... [WHERE]``.

    Raises:
        RefusedError: it cannot be undone, or is not understood.
    """
    cursor = Cursor(source.tokens, first)
    named = (first, cursor.find_word(frozenset({"SET"})))
    cursor.expect("SET")
    values_begin = cursor.index
    tail = (cursor.find_clause(), len(source.tokens))
    assigned = (values_begin, tail[0])
    condition.check_functions(source.tokens, assigned, functions.KNOWN, "in a value")
    columns, _ = Cursor(source.tokens[: tail[0]], values_begin).qualified_assignments()
    if _lower(_assigned(template(_part(source, assigned)))) != _lower(columns):
        not_understood()
    return _joined(source, named, tail, prefix, columns=columns)


def delete(source: Source, first: int, prefix: Span) -> Joined:
    """Cut ``DELETE a, b FROM tables [WHERE]`` and ``DELETE FROM a, b USING tables [WHERE]``.

    Raises:
        RefusedError: it cannot be undone, or is not understood.
    """
    cursor = Cursor(source.tokens, first)
    between = "USING" if cursor.word() == "FROM" else "FROM"
    if between == "USING":
        cursor.step()
    targets = [_target(cursor)]
    while cursor.at(","):
        cursor.step()
        targets.append(_target(cursor))
    cursor.expect(between)
    begin = cursor.index
    named = (begin, cursor.find_clause())
    return _joined(source, named, (named[1], len(source.tokens)), prefix, targets=tuple(targets))


def _target(cursor: Cursor) -> tuple[str, ...]:
    """``[schema.]table[.*]``."""
    found = [cursor.name()]
    while cursor.at("."):
        cursor.step()
        if cursor.at("*"):
            cursor.step()
            break
        found.append(cursor.name())
    return tuple(found)


def _joined(
    source: Source,
    named: Span,
    tail: Span,
    prefix: Span,
    *,
    columns: tuple[tuple[str, ...], ...] = (),
    targets: tuple[tuple[str, ...], ...] = (),
) -> Joined:
    references = References(source, named)
    _check_tail(source, tail)
    query = f"SELECT 1 FROM {template(_part(source, named))} {template(_part(source, tail))}"
    if _tables(query) != sorted(_spelled(each) for each in references.tables):
        not_understood()
    _check_alters(source, (prefix, named, tail))
    chosen = condition.read(source, tail, None, elsewhere=(prefix, named))
    return Joined(
        source,
        not columns,
        tuple(references.tables),
        named,
        columns,
        targets,
        chosen,
        references.outer,
        prefix,
    )


def _part(source: Source, span: Span) -> Source:
    return Source(source.tokens[span[0] : span[1]])


def _check_tail(source: Source, tail: Span) -> None:
    cursor = Cursor(source.tokens, tail[0])
    if cursor.word() == "WHERE":
        cursor.step()
        cursor.find_clause()
    if not cursor.at_end:
        refuse(f"{cursor.word()} in a change of several tables", "choose the rows by WHERE")


def _check_alters(source: Source, spans: tuple[Span, ...]) -> None:
    """Refuse what would never choose the same rows twice."""
    for first, end in spans:
        cursor = Cursor(source.tokens[:end], first)
        while not cursor.at_end:
            if cursor.token.kind in {TokenKind.NAME, TokenKind.QUOTED} and cursor.calls():
                name = condition.called(cursor.token)
                if name in _ALTERS:
                    refuse(f"{name}() in a join or its WHERE", "compute the value in the application")
            cursor.step()


def _spelled(reference: Reference) -> tuple[str, str, str]:
    alias = reference.label if reference.label != reference.table.name else ""
    return reference.table.schema or "", reference.table.name, alias


@lru_cache(maxsize=512)
def _tables(query: str) -> list[tuple[str, str, str]] | None:
    """What sqlglot takes for the tables of a SELECT, those of subqueries left out; None if it reads none."""
    try:
        tree = parse_one(query, dialect="mysql")
    except (SqlglotError, RecursionError):
        return None
    found = []
    for table in tree.find_all(exp.Table):
        if table.find_ancestor(exp.Select) is tree:
            alias = table.alias if table.alias != table.name else ""
            found.append((table.db, table.name, alias))
    return sorted(found)


@lru_cache(maxsize=512)
def _assigned(assignments: str) -> tuple[tuple[str, ...], ...]:
    """What sqlglot takes for the columns that are assigned; none if it reads none."""
    try:
        tree = parse_one(f"UPDATE t SET {assignments}", dialect="mysql")
    except (SqlglotError, RecursionError):
        return ()
    found = [each.this for each in tree.expressions if isinstance(each, exp.EQ)]
    if len(found) != len(tree.expressions) or not all(isinstance(each, exp.Column) for each in found):
        return ()
    return tuple(tuple(part.name for part in each.parts) for each in found)


def _lower(names: tuple[tuple[str, ...], ...]) -> list[tuple[str, ...]]:
    return [tuple(part.lower() for part in name) for name in names]
