"""Runs the catalogue on a server, with the twin as the judge, and tells what became of each entry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pymysql

from tests.catalogue.forms import FORMS, NAMES, NEEDS, TABLES, Form
from tests.catalogue.types import ColumnType, types_of
from tests.twin.case import Case, Connection, Step
from tests.twin.pair import CannotBeMade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.twin.pair import Pair
    from tests.twin.wire import Answer

UNDONE = "undone"
WRONG = "**wrong**"
READ = "passed on"
_ABSENT = {1064: "no such statement there", 1235: "no such statement there", 1347: "not a table there"}
_NO_KEY = frozenset({1073, 1167, 1170, 1178, 1901, 3152, 3728, 1070, 4097, 6134})
_CLOCK = "SET timestamp = 1700000000.25"
_MODE = "SET sql_mode = 'ALLOW_INVALID_DATES'"


def forms(pair: Pair) -> Iterator[tuple[Form, str]]:
    """What became of each form."""
    for form in FORMS:
        yield form, _form(pair, form)


def types(pair: Pair, server: str) -> Iterator[tuple[ColumnType, str, str]]:
    """What became of each type, as a column and in the primary key."""
    for kind in types_of(server):
        yield kind, _column(pair, kind), _key(pair, kind)


def _form(pair: Pair, form: Form) -> str:
    steps = [Step(0, each) for each in (_CLOCK, *form.before)]
    steps.append(Step(0, form.sql, form.parameters))
    steps += [Step(0, each) for each in form.behind]
    case = Case((_needed(" ".join(step.sql for step in steps)),), (Connection(0),), tuple(steps))
    return _verdict(pair, case, 1 + len(form.before))


def _needed(sql: str) -> tuple[str, ...]:
    """The tables that a statement names, and those that hang on them."""
    names = {name for name in NAMES if re.search(rf"\b{name}\b", sql)}
    names |= {other for name, other in NEEDS if name in names}
    return tuple(made for name, made in TABLES if name in names)


def _verdict(pair: Pair, case: Case, place: int) -> str:
    try:
        answer = pair.check(case)[place]
    except (AssertionError, pymysql.MySQLError) as error:
        return f"{WRONG}: {error}"
    if answer.error is None:
        reads = re.match(r"(SELECT|SHOW|EXPLAIN)\b", case.steps[place].sql)
        return READ if reads else UNDONE
    return _told(answer)


def _told(answer: Answer) -> str:
    """The sentence of a refusal, without the name of a schema."""
    if answer.error in _ABSENT:
        return _ABSENT[answer.error]
    if answer.error != 1105:
        return f"error {answer.error}, as without globaltx"
    reason, _, sentence = answer.message.removeprefix("globaltx: ").partition(": ")
    sentence = re.sub(r"\bt_[0-9a-f]{12}\b\.?", "", sentence)
    return f"refused ({reason}): {re.sub(r'[0-9a-z-]{20,}', '...', sentence)}"


def _column(pair: Pair, kind: ColumnType) -> str:
    rows = [
        f"INSERT INTO t VALUES ({number}, {value}, 0)" for number, value in enumerate((*kind.values, "NULL"))
    ]
    table = f"CREATE TABLE t (id INT PRIMARY KEY, value {kind.sql}, other INT)"
    return _changes(
        pair,
        (table, *rows),
        [
            f"INSERT {{xid}} INTO t VALUES ({100 + number}, {value}, 0)"
            for number, value in enumerate(kind.values)
        ],
        ["UPDATE {xid} t SET value = NULL, other = 1 WHERE id <> 1", "UPDATE {xid} t SET other = 2"],
    )


def _key(pair: Pair, kind: ColumnType) -> str:
    keys = kind.keys or kind.values
    sql = kind.sql.removesuffix(" NULL")
    table = f"CREATE TABLE t (id {sql} NOT NULL, part INT, other INT, PRIMARY KEY (id, part))"
    return _changes(
        pair,
        (table, *(f"INSERT INTO t VALUES ({key}, {number}, 0)" for number, key in enumerate(keys))),
        [f"INSERT {{xid}} INTO t VALUES ({key}, {100 + number}, 0)" for number, key in enumerate(keys)],
        ["UPDATE {xid} t SET other = 1"],
    )


def _changes(pair: Pair, made: tuple[str, ...], inserts: list[str], updates: list[str]) -> str:
    """What becomes of INSERT, UPDATE and DELETE, one after the other."""
    statements = [*inserts, *updates, "DELETE {xid} FROM t"]
    try:
        answers = pair.check(_case(made, statements))[1:]
    except CannotBeMade as error:
        code = error.args[0].args[0]
        return "no key there" if code in _NO_KEY else f"{WRONG}: {error}"
    except pymysql.MySQLError as error:
        return f"{WRONG}: {error}"
    except AssertionError as error:
        return f"{WRONG}: {error}"
    verdicts: dict[str, str] = {}
    for statement, answer in zip(statements, answers, strict=True):
        verb = statement.partition(" ")[0]
        if verdicts.get(verb, UNDONE) == UNDONE:
            verdicts[verb] = UNDONE if answer.error is None else _told(answer)
    told = list(dict.fromkeys(verdicts.values()))
    if len(told) == 1:
        return told[0]
    return "; ".join(
        f"{', '.join(verb for verb in verdicts if verdicts[verb] == each)} {each}" for each in told
    )


def _case(made: tuple[str, ...], statements: list[str]) -> Case:
    return Case((made,), (Connection(0),), tuple(Step(0, each) for each in (_MODE, *statements)))
