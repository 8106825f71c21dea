"""INSERT, UPDATE and DELETE of one table, cut into the pieces that an undo needs.

Each is read twice, by its tokens (which say where a piece stands in the text) and by sqlglot
(which knows the grammar); where the two disagree, or meet anything that is not known to be
undoable, the statement is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from globaltx.undo import functions
from globaltx.undo.forms import Delete, Insert, Limited, Source, Span, Table, Update
from globaltx.undo.lexer import BLANK, LITERALS, Token, TokenKind, name_value
from globaltx.undo.refusal import refuse

if TYPE_CHECKING:
    from globaltx.undo.forms import Change

_CLAUSES = frozenset({"WHERE", "ORDER", "LIMIT", "RETURNING"})
_MODIFIERS = frozenset({"IGNORE", "LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK"})
_TEMPLATE_LENGTH_MAX = 8192
_UNDERSTOOD: dict[type[exp.Expression], frozenset[str]] = {
    exp.Update: frozenset({"this", "expressions", "where", "order", "limit"}),
    exp.Delete: frozenset({"this", "where", "order", "limit"}),
    exp.Insert: frozenset({"this", "expression"}),
    exp.Table: frozenset({"this", "db", "alias", "partition"}),
    exp.Values: frozenset({"expressions"}),
}
_REFUSED_PARTS = {
    "conflict": ("INSERT ... ON DUPLICATE KEY UPDATE", "look for the row with SELECT ... FOR UPDATE first"),
    "returning": ("RETURNING", "read the row with SELECT"),
    "ignore": ("IGNORE", "leave it out and handle the error"),
    "joins": ("a change of several tables", "change one table a statement"),
    "tables": ("a change of several tables", "change one table a statement"),
    "using": ("a change of several tables", "change one table a statement"),
    "from_": ("a change of several tables", "change one table a statement"),
    "with_": ("a common table expression", "write the condition without it"),
}


@dataclass(frozen=True, slots=True)
class _Facts:
    """What sqlglot has found; names as they are spelled, but for those that are compared (lower case)."""

    verb: type[exp.Expression]
    table: Table
    columns: tuple[str, ...] | None
    clauses: frozenset[str]
    rows: int
    limited: Limited | None


def change(source: Source) -> Change:
    """Cut a change into its pieces.

    Raises:
        RefusedError: it is none that can be undone.
    """
    source = _with_quoted_schema(source)
    cursor = _Cursor(source.tokens)
    _check_modifier(source.tokens)
    match cursor.word():
        case "UPDATE":
            return _update(source, cursor)
        case "DELETE":
            return _delete(source, cursor)
        case _:
            return _insert(source, cursor)


def _check_modifier(tokens: tuple[Token, ...]) -> None:
    words = [token.word() for token in tokens if token.kind not in BLANK][:2]
    if words[-1] in _MODIFIERS:
        refuse(" ".join(words), f"leave {words[-1]} out")


def _update(source: Source, cursor: _Cursor) -> Update:
    cursor.step()
    first = cursor.index
    table = _table(cursor, until=frozenset({"SET"}))
    named = (first, cursor.index)
    cursor.expect("SET")
    values_begin = cursor.index
    tail = (cursor.find_clause(), len(source.tokens))
    _check_functions(source.tokens, (values_begin, tail[0]), functions.KNOWN)
    _check_functions(source.tokens, tail, functions.REPEATABLE)
    facts = _facts(source, exp.Update, table, tail)
    return Update(source, table, named, facts.columns or (), tail, facts.limited)


def _delete(source: Source, cursor: _Cursor) -> Delete:
    cursor.step()
    cursor.expect("FROM")
    first = cursor.index
    table = _table(cursor, until=_CLAUSES)
    tail = (cursor.index, len(source.tokens))
    _check_functions(source.tokens, tail, functions.REPEATABLE)
    facts = _facts(source, exp.Delete, table, tail)
    return Delete(source, table, (first, tail[0]), tail, facts.limited)


def _insert(source: Source, cursor: _Cursor) -> Insert:
    cursor.step()
    if cursor.word() == "INTO":
        cursor.step()
    table = _table(
        cursor, until=frozenset({"VALUES", "VALUE", "SET", "SELECT", "WITH", "TABLE"}), stop_at="("
    )
    values_begin = cursor.index
    columns = cursor.names() if cursor.at("(") else None
    rows: tuple[tuple[Span, ...], ...]
    match cursor.word():
        case "VALUES" | "VALUE":
            cursor.step()
            rows = cursor.rows()
        case "SET":
            cursor.step()
            columns, row = cursor.assignments()
            rows = (row,)
        case _:
            refuse("INSERT ... SELECT", "read the rows first and INSERT them with VALUES")
    span = (values_begin, len(source.tokens))
    _check_functions(
        source.tokens, (rows[0][0][0] if rows and rows[0] else span[1], span[1]), functions.KNOWN
    )
    facts = _facts(source, exp.Insert, table, span)
    if not cursor.at_end or facts.rows != len(rows) or _lower(facts.columns) != _lower(columns):
        _not_understood()
    return Insert(source, table, columns, rows)


def _lower(names: tuple[str, ...] | None) -> list[str]:
    return [name.lower() for name in names or ()]


def _not_understood() -> NoReturn:
    what = "a statement that is not understood"
    refuse(what, "write it as a plain INSERT ... VALUES, UPDATE or DELETE of one table")


class _Cursor:
    """Walks over the tokens that matter; ``index`` is the one that it stands at."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self._tokens = tokens
        self.index = -1
        self.step()

    @property
    def at_end(self) -> bool:
        return self.index >= len(self._tokens)

    @property
    def token(self) -> Token:
        return Token(TokenKind.SPACE, "") if self.at_end else self._tokens[self.index]

    def word(self) -> str:
        return self.token.word()

    def at(self, symbol: str) -> bool:
        return self.token.kind is TokenKind.SYMBOL and self.token.text == symbol

    def step(self) -> None:
        self.index += 1
        while not self.at_end and self._tokens[self.index].kind in BLANK:
            self.index += 1

    def expect(self, text: str) -> None:
        if self.word() != text and not self.at(text):
            _not_understood()
        self.step()

    def name(self) -> str:
        if self.token.kind not in {TokenKind.NAME, TokenKind.QUOTED}:
            _not_understood()
        name = name_value(self.token)
        self.step()
        return name

    def find_clause(self) -> int:
        """Go to WHERE, ORDER BY or LIMIT outside of all parentheses, or to the end."""
        depth, qualified = 0, False
        while not self.at_end:
            depth += self.at("(") - self.at(")")
            if depth == 0 and not qualified and self.word() in _CLAUSES:
                break
            qualified = self.at(".")
            self.step()
        return self.index

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
            found.append(self._value())
            if self.at(","):
                self.step()
            elif not self.at(")"):
                _not_understood()
        self.step()
        return tuple(found)

    def assignments(self) -> tuple[tuple[str, ...], tuple[Span, ...]]:
        """``a = value, b = value, ...`` up to the end."""
        names: list[str] = []
        values: list[Span] = []
        while not self.at_end:
            names.append(self.name())
            self.expect("=")
            values.append(self._value())
            if not self.at_end:
                self.expect(",")
        return tuple(names), tuple(values)

    def _value(self) -> Span:
        """Go over one expression, up to the comma or parenthesis that ends it."""
        first, end, depth = self.index, self.index, 0
        while not self.at_end and not (depth == 0 and (self.at(",") or self.at(")"))):
            depth += self.at("(") - self.at(")")
            end = self.index + 1
            self.step()
        if first == end:
            _not_understood()
        return first, end


def _table(cursor: _Cursor, until: frozenset[str], stop_at: str = "") -> Table:
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
            refuse(*_REFUSED_PARTS["joins"])
        if cursor.at("(") and cursor.word() == "SELECT":
            _not_understood()
        cursor.step()
    return Table(schema, name)


def _with_quoted_schema(source: Source) -> Source:
    """``order.so_master`` -> ```order`.so_master``: quotes change nothing else about a name."""
    tokens = list(source.tokens)
    cursor = _Cursor(source.tokens)
    for _ in range(4):
        if cursor.word() in {"INSERT", "INTO", "UPDATE", "DELETE", "FROM"}:
            cursor.step()
    index = cursor.index
    if (
        cursor.token.kind is TokenKind.NAME
        and "".join(token.text for token in tokens[index + 1 : index + 2]) == "."
    ):
        tokens[index] = Token(TokenKind.QUOTED, f"`{cursor.token.text}`")
    return Source(tuple(tokens))


def _check_functions(tokens: tuple[Token, ...], span: Span, allowed: frozenset[str]) -> None:
    """Refuse what may give another answer the second time, or may change rows nobody sees."""
    repeatable = allowed is functions.REPEATABLE
    before = previous = ""
    for token in tokens[span[0] : span[1]]:
        if token.kind in BLANK:
            continue
        if token.text == "(" and previous and (before == "." or previous not in allowed):
            refuse(
                f"the function {previous[:64]}() {'in WHERE or ORDER BY' if repeatable else 'in a value'}",
                "compute the value in the application",
            )
        if (
            repeatable
            and before != "."
            and (token.word() in functions.UNREPEATABLE_WORDS or token.text == ":=")
        ):
            refuse(f"{token.text.upper()} in WHERE or ORDER BY", "compute the value in the application")
        before, previous = previous, _callable(token)


def _callable(token: Token) -> str:
    if token.kind in {TokenKind.NAME, TokenKind.QUOTED}:
        return name_value(token).upper()
    return token.text if token.text == "." else ""


def _facts(source: Source, verb: type[exp.Expression], table: Table, clauses: Span) -> _Facts:
    """Ask sqlglot, and compare.

    Raises:
        RefusedError: it does not understand the statement, or understands another one.
    """
    facts = _parsed(_template(source, with_literals=False)) or _parsed(_template(source, with_literals=True))
    words = frozenset(token.word() for token in _outermost(source.tokens[clauses[0] : clauses[1]])) & _CLAUSES
    if "RETURNING" in words:
        refuse(*_REFUSED_PARTS["returning"])
    if facts is None or facts.verb is not verb or facts.table != table or facts.clauses != words:
        _not_understood()
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


def _template(source: Source, *, with_literals: bool) -> str:
    """The statement in the spelling that sqlglot reads, and that the cache is keyed by."""
    return "".join(_spelled(token, with_literals=with_literals) for token in source.tokens)


def _spelled(token: Token, *, with_literals: bool) -> str:
    if token.kind in BLANK:
        return " "
    if token.kind in LITERALS and not with_literals:
        return "?"
    if token.kind is TokenKind.QUOTED:
        return "`" + name_value(token).replace("`", "``") + "`"
    return token.text


def _parsed(template: str) -> _Facts | None:
    return _parse_cached(template) if len(template) <= _TEMPLATE_LENGTH_MAX else _parse(template)


def _parse(template: str) -> _Facts | None:
    try:
        tree = parse_one(template, dialect="mysql")
    except (SqlglotError, RecursionError):
        return None
    if not isinstance(tree, (exp.Insert, exp.Update, exp.Delete)):
        return None
    return _read(tree)


_parse_cached = lru_cache(maxsize=512)(_parse)


def _read(tree: exp.Insert | exp.Update | exp.Delete) -> _Facts:
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
    return _Facts(
        verb=type(tree),
        table=Table(target.args["db"].name if target.args.get("db") else None, target.name),
        columns=columns,
        clauses=frozenset(word for key, word in clauses.items() if tree.args.get(key)),
        rows=_row_count(tree),
        limited=_limited(tree) if tree.args.get("limit") else None,
    )


def _check_parts(tree: exp.Expression) -> None:
    understood = _UNDERSTOOD.get(type(tree))
    if understood is None:
        _not_understood()
    for part, value in tree.args.items():
        if value and part not in understood:
            if part in _REFUSED_PARTS:
                refuse(*_REFUSED_PARTS[part])
            _not_understood()


def _assigned(assignment: exp.Expression) -> str:
    if not isinstance(assignment, exp.EQ) or not isinstance(assignment.this, exp.Column):
        _not_understood()
    return assignment.this.name


def _row_count(tree: exp.Expression) -> int:
    if not isinstance(tree, exp.Insert):
        return 0
    values = tree.args.get("expression")
    if not isinstance(values, exp.Values):
        refuse("INSERT ... SELECT", "read the rows first and INSERT them with VALUES")
    _check_parts(values)
    return len(values.expressions)


def _limited(tree: exp.Expression) -> Limited:
    order, where = tree.args.get("order"), tree.args.get("where")
    ordered = [each.this for each in order.expressions] if order else []
    return Limited(
        ordered_by=frozenset(each.name.lower() for each in ordered if isinstance(each, exp.Column)),
        equal_to_constant=frozenset(_pinned(where.this) if where else ()),
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
