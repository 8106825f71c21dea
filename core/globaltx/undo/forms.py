"""The forms a statement can have, as values that can be written as SQL again."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from globaltx.undo import literal
from globaltx.undo.lexer import Token, TokenKind
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from globaltx.undo.literal import Value

Span: TypeAlias = tuple[int, int]
"""From the first token to behind the last one."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the statement names it; ``schema`` is None for the connection's own."""

    schema: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Source:
    """The statement in tokens, without a closing ``;``; a question mark stands for a parameter.

    ``text`` is all of them together, if that is known already.
    """

    tokens: tuple[Token, ...]
    text: str | None = field(default=None, compare=False, repr=False)

    @property
    def parameters(self) -> int:
        """How many question marks there are."""
        return sum(token.kind is TokenKind.PARAMETER for token in self.tokens)

    def render(
        self,
        span: Span | None = None,
        parameters: Sequence[Value] | None = None,
        before: Mapping[int, str] | None = None,
        instead: Mapping[Span, str] | None = None,
    ) -> str:
        """Write the tokens of a span again, comments as spaces where only a span is asked for.

        With ``parameters`` (those of the whole statement) question marks become literals.
        ``before`` holds what is to be written before a token, ``instead`` what in place of others.
        """
        if span is None and parameters is None and not before:
            return "".join([token.text for token in self.tokens]) if self.text is None else self.text
        first, end = span or (0, len(self.tokens))
        if span and not (parameters or before or instead):
            return "".join([_plain(token) for token in self.tokens[first:end]])
        given = iter(parameters or ())
        replaced = {begin: (behind, text) for (begin, behind), text in (instead or {}).items()}
        parts = []
        for index, token in enumerate(self.tokens[:end]):
            if token.kind is TokenKind.PARAMETER and parameters:
                part = f" {literal.sql(next(given))} "
            else:
                part = " " if span and token.kind is TokenKind.COMMENT else token.text
            if index in replaced:
                behind, text = replaced[index]
                first = max(first, behind)
                parts.append(text)
            elif index >= first:
                parts.append((before or {}).get(index, "") + part)
        return "".join(parts)


def _plain(token: Token) -> str:
    return " " if token.kind is TokenKind.COMMENT else token.text


@dataclass(frozen=True, slots=True)
class Limited:
    """What is known about a LIMIT: which columns order the rows, and which are pinned to a constant."""

    ordered_by: frozenset[str]
    equal_to_constant: frozenset[str]


class Answers(StrEnum):
    """What a condition depends on, and so how long its answer holds."""

    ROW = "the row"
    """As long as the row is locked."""
    TABLES = "tables"
    """As long as nobody changes what the condition reads, or puts a row into it."""
    ONCE = "once"
    """Not at all: another time it may be another one."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Which rows a change chooses: all that stands from WHERE on.

    ``shared`` are the tokens before which a subquery takes share locks when the image is made:
    an UPDATE reads other tables as they are now, a SELECT FOR UPDATE by itself as they were.
    ``pinned`` are columns (in lower case) that every chosen row has equal to a constant, each with its span.
    """

    tail: Span
    answers: Answers = Answers.ROW
    order: Span | None = None
    limited: Limited | None = None
    shared: tuple[int, ...] = ()
    pinned: tuple[tuple[str, Span], ...] = ()


class OnHit(StrEnum):
    """What a new row does to a row that is there with the same value of a unique key."""

    FAIL = "INSERT"
    IGNORE = "INSERT IGNORE"
    UPDATE = "INSERT ... ON DUPLICATE KEY UPDATE"
    REPLACE = "REPLACE"


@dataclass(frozen=True, slots=True)
class Query:
    """The SELECT of an INSERT ... SELECT.

    ``items`` span the values of its rows, None where the text does not tell them apart; ``answers`` is what
    the choice of rows depends on, ``whole`` with the values. ``shared``: as in `Condition`; ``reads``: a
    table, so that the SELECT itself is to lock too.
    """

    span: Span
    items: tuple[Span, ...] | None
    answers: Answers
    whole: Answers
    shared: tuple[int, ...] = ()
    reads: bool = True


@dataclass(frozen=True, slots=True)
class Insert:
    """``INSERT INTO table [(columns)] VALUES (...), ...`` or ``SELECT``, and REPLACE.

    ``columns`` is None when the statement names none; ``rows`` hold the span of each value.
    ``assigned`` are the columns behind ON DUPLICATE KEY UPDATE, without those of ``a = LAST_INSERT_ID(a)``,
    which are in ``kept``. ``returning`` spans RETURNING and its list, if it has one: rows answer it then.
    """

    source: Source
    table: Table
    columns: tuple[str, ...] | None
    rows: tuple[tuple[Span, ...], ...]
    on_hit: OnHit = OnHit.FAIL
    assigned: tuple[str, ...] = ()
    returning: Span | None = None
    kept: tuple[str, ...] = ()
    query: Query | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """A table among those of a statement, and the name by which its columns are called there."""

    table: Table
    label: str


@dataclass(frozen=True, slots=True)
class Joined:
    """An UPDATE or DELETE of several tables, or of one table that others choose the rows of.

    ``named`` spans all tables with their joins. ``columns`` are those that an UPDATE assigns, each with
    what names its table (``([[schema, ]table, ]column)``), ``targets`` the tables of a DELETE (``([schema,
    ]table)``). ``outer``: a row may be joined with nothing.
    """

    source: Source
    deletes: bool
    tables: tuple[Reference, ...]
    named: Span
    columns: tuple[tuple[str, ...], ...]
    targets: tuple[tuple[str, ...], ...]
    condition: Condition
    outer: bool
    prefix: Span = (0, 0)


@dataclass(frozen=True, slots=True)
class Update:
    """``UPDATE table SET ... [WHERE] [ORDER BY] [LIMIT]`` of one table.

    ``named`` spans the table with partition and alias, ``prefix`` its common table expressions;
    ``values`` are the spans of what is assigned.
    """

    source: Source
    table: Table
    named: Span
    assigned: tuple[str, ...]
    condition: Condition
    values: tuple[Span, ...] = ()
    prefix: Span = (0, 0)


@dataclass(frozen=True, slots=True)
class Delete:
    """``DELETE FROM table [WHERE] [ORDER BY] [LIMIT] [RETURNING]`` of one table; spans as in `Update`."""

    source: Source
    table: Table
    named: Span
    condition: Condition
    prefix: Span = (0, 0)
    returning: Span | None = None


@dataclass(frozen=True, slots=True)
class Select:
    """A read; ``for_update`` when it locks its rows (FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE)."""

    source: Source
    for_update: bool = False


class Verb(StrEnum):
    """What a control statement does to the local transaction or to the connection."""

    BEGIN = "BEGIN"
    COMMIT = "COMMIT"
    ROLLBACK = "ROLLBACK"
    SAVEPOINT = "SAVEPOINT"
    ROLLBACK_TO = "ROLLBACK TO"
    RELEASE = "RELEASE"
    USE = "USE"


@dataclass(frozen=True, slots=True)
class Control:
    """``argument`` is the savepoint's name, or the schema of USE.

    ``chain``: the COMMIT or ROLLBACK begins a new local transaction at once; ``release``: it
    closes the connection.
    """

    source: Source
    verb: Verb
    argument: str | None = None
    chain: bool = False
    release: bool = False


class Setting(StrEnum):
    """The settings whose change matters to the session."""

    AUTOCOMMIT = "autocommit"
    XID = "@globaltx_xid"
    CHARSET = "character_set_client"
    SQL_MODE = "sql_mode"


@dataclass(frozen=True, slots=True)
class Set:
    """A SET statement; ``changes`` holds those of its settings that matter, in order.

    AUTOCOMMIT is "1" or "0", XID the text, or "" for NULL, CHARSET and SQL_MODE the name or list. None: the
    value is no constant, the connection must be asked (``SELECT @@character_set_client, @@sql_mode``).
    """

    source: Source
    changes: tuple[tuple[Setting, str | None], ...]


@dataclass(frozen=True, slots=True)
class Other:
    """A statement that changes no row (SHOW, EXPLAIN, ...): passed on as it is."""

    source: Source


Change: TypeAlias = "Insert | Update | Delete | Joined"
Statement: TypeAlias = "Insert | Update | Delete | Joined | Select | Control | Set | Other"
