"""The second reading of a change, by sqlglot, which knows the grammar.

Cached by the statement's text with the literals taken out, since that is all it depends on.
"""

from __future__ import annotations

import re
from functools import lru_cache

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from globaltx.undo.cursor import CLAUSES, not_understood
from globaltx.undo.forms import Limited, Source, Span, Table
from globaltx.undo.lexer import BLANK, LITERALS, Token, TokenKind, name_value
from globaltx.undo.refusal import refuse
from globaltx.values import dataclass

TEMPLATE_LENGTH_MAX = 8192
_REPLACE = re.compile(r"\A\s*REPLACE\b", re.IGNORECASE)
"""sqlglot reads no REPLACE, whose grammar is INSERT's."""
_UNDERSTOOD: dict[type[exp.Expression], frozenset[str]] = {
    exp.Update: frozenset({"this", "expressions", "where", "order", "limit", "with_"}),
    exp.Delete: frozenset({"this", "where", "order", "limit", "with_", "returning"}),
    exp.Insert: frozenset({"this", "expression", "ignore", "conflict", "returning"}),
    exp.OnConflict: frozenset({"duplicate", "expressions", "action"}),
    exp.Table: frozenset({"this", "db", "alias", "partition"}),
    exp.Values: frozenset({"expressions", "alias"}),
}
REFUSED_PARTS = {
    "returning": ("RETURNING", "read the row with SELECT"),
    "ignore": ("IGNORE", "leave it out and handle the error"),
    "joins": ("a change of several tables", "change one table a statement"),
    "tables": ("a change of several tables", "change one table a statement"),
    "using": ("a change of several tables", "change one table a statement"),
    "from_": ("a change of several tables", "change one table a statement"),
    "with_": ("a common table expression", "write the condition without it"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What sqlglot has found; names as they are spelled, but for those that are compared (lower case)."""

    verb: type[exp.Expression]
    table: Table
    columns: tuple[str, ...] | None
    clauses: frozenset[str]
    rows: int | None
    limited: Limited | None
    pinned: frozenset[str]
    hit_columns: tuple[str, ...] = ()


def facts_of(source: Source, verb: type[exp.Expression], table: Table, clauses: Span) -> Facts:
    """Ask sqlglot, and compare.

    Raises:
        RefusedError: it does not understand the statement, or understands another one.
    """
    facts = _parsed(template(source)) or _parsed(template(source, with_literals=True))
    words = frozenset(token.word() for token in _outermost(source.tokens[clauses[0] : clauses[1]])) & CLAUSES
    if "RETURNING" in words:
        refuse(*REFUSED_PARTS["returning"])
    if facts is None or facts.verb is not verb or facts.table != table or facts.clauses != words:
        not_understood()
    return facts


def _outermost(tokens: tuple[Token, ...]) -> list[Token]:
    """Leave out what stands in parentheses, and names that are qualified (they may look like keywords)."""
    found, depth, qualified = [], 0, False
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and not qualified:
            found.append(token)
        qualified = token.text == "."
    return found


def is_understood(text: str) -> bool:
    """Whether sqlglot can read a template (its literals taken out)."""
    return _parsed(text) is not None


def template(source: Source, *, with_literals: bool = False) -> str:
    """Write the statement in the spelling that sqlglot reads; statements that give the same are cut alike."""
    return "".join(_spelled(token, with_literals=with_literals) for token in source.tokens)


def _spelled(token: Token, *, with_literals: bool) -> str:
    if token.kind in BLANK:
        return " "
    if token.kind in LITERALS and not with_literals:
        return "?"
    if token.kind is TokenKind.QUOTED:
        return "`" + name_value(token).replace("`", "``") + "`"
    return token.text


def _parsed(template: str) -> Facts | None:
    return _parse_cached(template) if len(template) <= TEMPLATE_LENGTH_MAX else _parse(template)


def _parse(template: str) -> Facts | None:
    try:
        tree = parse_one(_REPLACE.sub("INSERT", template, count=1), dialect="mysql")
    except (SqlglotError, RecursionError):
        return None
    if not isinstance(tree, (exp.Insert, exp.Update, exp.Delete)):
        return None
    return _read(tree)


_parse_cached = lru_cache(maxsize=512)(_parse)


def _read(tree: exp.Insert | exp.Update | exp.Delete) -> Facts:
    _check_parts(tree)
    target: exp.Expression = tree.this
    columns: tuple[str, ...] | None = None
    if isinstance(target, exp.Schema):
        columns = tuple(column.name for column in target.expressions)
        target = target.this
    _check_parts(target)
    if isinstance(tree, exp.Update):
        columns = tuple(_assigned(each) for each in tree.expressions)
    clauses = {"where": "WHERE", "order": "ORDER", "limit": "LIMIT"}
    where = tree.args.get("where")
    pinned = frozenset(_pinned(where.this) if where else ())
    return Facts(
        verb=type(tree),
        table=Table(target.args["db"].name if target.args.get("db") else None, target.name),
        columns=columns,
        clauses=frozenset(word for key, word in clauses.items() if tree.args.get(key)),
        rows=_row_count(tree),
        limited=_limited(tree, pinned) if tree.args.get("limit") else None,
        pinned=pinned,
        hit_columns=_hit_columns(tree),
    )


def _check_parts(tree: exp.Expression) -> None:
    understood = _UNDERSTOOD.get(type(tree))
    if understood is None:
        not_understood()
    for part, value in tree.args.items():
        if value and part not in understood:
            if part in REFUSED_PARTS:
                refuse(*REFUSED_PARTS[part])
            not_understood()


def _assigned(assignment: exp.Expression) -> str:
    if not isinstance(assignment, exp.EQ) or not isinstance(assignment.this, exp.Column):
        not_understood()
    return assignment.this.name


def _hit_columns(tree: exp.Expression) -> tuple[str, ...]:
    conflict = tree.args.get("conflict")
    if conflict is None:
        return ()
    _check_parts(conflict)
    if not conflict.args.get("duplicate"):
        not_understood()
    return tuple(_assigned(each) for each in conflict.expressions)


def _row_count(tree: exp.Expression) -> int | None:
    """How many rows VALUES has; None for a SELECT."""
    if not isinstance(tree, exp.Insert):
        return 0
    values = tree.args.get("expression")
    if isinstance(values, exp.Select):
        return None
    if not isinstance(values, exp.Values):
        not_understood()
    _check_parts(values)
    return len(values.expressions)


def _limited(tree: exp.Expression, pinned: frozenset[str]) -> Limited:
    order = tree.args.get("order")
    ordered = [each.this for each in order.expressions] if order else []
    return Limited(
        ordered_by=frozenset(each.name.lower() for each in ordered if isinstance(each, exp.Column)),
        equal_to_constant=pinned,
    )


def _pinned(condition: object) -> list[str]:
    """Columns that every chosen row has equal to one constant."""
    if isinstance(condition, exp.Paren):
        return _pinned(condition.this)
    if isinstance(condition, exp.And):
        return _pinned(condition.left) + _pinned(condition.right)
    if isinstance(condition, exp.EQ) and isinstance(condition.left, exp.Column):
        return (
            [condition.left.name.lower()]
            if isinstance(condition.right, (exp.Placeholder, exp.Literal))
            else []
        )
    return []
