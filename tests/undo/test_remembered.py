"""A remembered analysis is the one that reading the statement afresh gives, whatever the literals."""

from __future__ import annotations

from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from globaltx.undo import hint, lexer, remembered, statement
from globaltx.undo.lexer import TokenKind
from globaltx.undo.refusal import RefusedError
from globaltx.undo.remembered import Analyses, Found
from globaltx.undo.sqlmode import SqlMode, UnreadableTextError
from tests.catalogue.forms import FORMS
from tests.twin.statements import cases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.twin.case import Case

MODES = [
    SqlMode(),
    SqlMode(ansi_quotes=True),
    SqlMode(oracle=True),
    SqlMode(backslash_escapes=False, auto_value_on_zero=False),
    SqlMode(charset="gbk"),
    SqlMode(charset="latin1", ansi_quotes=True, backslash_escapes=False),
]
XID = "/*+ XID('shop.01h') */"
OTHERS = {
    TokenKind.STRING: ["'z'", "''", "'a' 'b'", "_latin1'y'", "'it''s'"],
    TokenKind.NUMBER: ["0", "1", "2.50", "1e3", "18446744073709551615"],
    TokenKind.BYTES: ["x'00'", "0x1F", "b'1'"],
    TokenKind.COMMENT: ["/* z; ' */", "# z\n", "-- \n"],
}
TRICKY = (
    "INSERT INTO t VALUES (1, -2), (+3, - 4)",
    "INSERT INTO t (a, b) VALUES (1, 2), (3, 4), (5, 6)",
    "INSERT INTO t (a) VALUES (NULL), (DEFAULT), (1)",
    "INSERT INTO t SET a = 'x' 'y', b = _utf8mb4 'z', c = N'n', d = X'41', e = 0x41, f = b'1'",
    "INSERT INTO order.t VALUES (1); ",
    "INSERT INTO t VALUES (1) /* last */ ; -- end",
    "INSERT IGNORE INTO t VALUES (1, 'a') ON DUPLICATE KEY UPDATE b = CONCAT(b, 'x')",
    "INSERT INTO t SELECT 1, 'a', b FROM u WHERE c = 2 ORDER BY 1 LIMIT 3",
    "INSERT INTO t SELECT a, COUNT(*) FROM u GROUP BY 1",
    "REPLACE INTO t VALUES (1, 'a') RETURNING 1, 'x'",
    "UPDATE t SET a = a + 1, b = 'x' WHERE c IN (1, 2, 3) ORDER BY d LIMIT 4",
    "UPDATE t SET a = DATE_ADD(b, INTERVAL 5 DAY) WHERE c LIKE 'a|%' ESCAPE '|'",
    "UPDATE t SET a = 1 WHERE b = 2 AND (c = 'x') LIMIT 1",
    "UPDATE t SET a = 1 WHERE b BETWEEN 1 AND 2 AND d = (SELECT MAX(e) FROM u WHERE f = 'g' LIMIT 1)",
    "UPDATE t /* why */ SET a = j->'$.b' WHERE c = 1 # done",
    "UPDATE t SET a = @x := 1 WHERE b = 1",
    "UPDATE t SET a = 5 WHERE b = RAND(3)",
    "UPDATE t, u SET t.a = 1 WHERE t.b = u.b AND u.c = 'x'",
    "DELETE FROM t WHERE a = .5 AND b = 5. AND c = 1e5",
    "DELETE FROM t WHERE a = \"x\" AND `b` = 'y'",
    "DELETE FROM t ORDER BY 1 LIMIT 1",
    "DELETE FROM t WHERE a = 1 RETURNING a, 'x'",
    "DELETE FROM t WHERE a = /*!50000 1 */ + 1",
    "WITH x AS (SELECT 1) UPDATE t SET a = 1 WHERE b IN (SELECT * FROM x)",
    "SAVEPOINT 'a'",
    "SET @globaltx_xid = 'a.b', sql_mode = 'ANSI'",
    "SELECT 1 FROM t WHERE a = 'b' FOR UPDATE",
    "TRUNCATE t",
    "UPDATE t SET a = 'open",
)


def _told(found: Found) -> object:
    return (found.reason, found.sentence) if isinstance(found, RefusedError) else found


def _check(analyses: Analyses, sql: bytes, mode: SqlMode) -> None:
    fresh, kept = statement.read(sql, mode), analyses.of(sql, mode)
    assert _told(kept) == _told(fresh)
    if not isinstance(fresh, RefusedError) and not isinstance(kept, RefusedError):
        assert statement.text(kept, mode) == statement.text(fresh, mode)


def _variants(sql: bytes, mode: SqlMode) -> Iterator[bytes]:
    """The statement, and the same with each literal exchanged, and with all of them."""
    yield sql
    try:
        tokens = lexer.tokens(mode.decode(sql), mode)
    except (lexer.UnclosedError, UnreadableTextError):
        return
    places = [at for at, token in enumerate(tokens) if token.kind in OTHERS]
    chosen = [(at, each) for at in places for each in OTHERS[tokens[at].kind]]
    for changes in [*([each] for each in chosen), *([(at, OTHERS[tokens[at].kind][-1]) for at in places],)]:
        texts = [token.text for token in tokens]
        for at, each in changes:
            texts[at] = each
        yield mode.encode("".join(texts))


def _texts_of_files() -> list[str]:
    blocks = "\n\n".join(
        (Path(__file__).parent / name).read_text()
        for name in ("statements.txt", "plans.txt", "undo_inserts.txt")
    ).split("\n\n")
    questions = [block.partition("\n----")[0].split("\n") for block in blocks]
    return ["\n".join(line for line in lines if not line.startswith("# ")) for lines in questions]


def _catalogue() -> list[str]:
    return [form.sql.replace("{xid}", XID) for form in FORMS]


@pytest.mark.parametrize(
    "texts", [TRICKY, _texts_of_files(), _catalogue()], ids=["tricky", "goldens", "catalogue"]
)
@pytest.mark.parametrize("mode", MODES, ids=repr)
def test_it_is_what_reading_afresh_gives(texts: list[str], mode: SqlMode) -> None:
    analyses = Analyses(statement.read)
    for text in texts:
        sql = hint.take(mode.encode(text), SqlMode()).sql
        for variant in _variants(sql, mode):
            _check(analyses, variant, mode)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["MariaDB", "MySQL"]).flatmap(cases), st.sampled_from(MODES))
def test_so_it_is_for_what_the_twin_plays(case: Case, mode: SqlMode) -> None:
    for step in case.steps:
        sql = step.sql.replace("{xid}", XID).encode()
        try:
            sql = hint.take(sql, mode).sql
        except RefusedError:
            continue
        _check(TWINS, sql, mode)
        _check(TWINS, sql, mode)


TWINS = Analyses(statement.read)
"""Of all that the twin plays, so that sequences meet what others have left."""


def _counting() -> tuple[Analyses, list[bytes]]:
    read: list[bytes] = []

    def analyse(sql: bytes, mode: SqlMode) -> Found:
        read.append(sql)
        return statement.read(sql, mode)

    return Analyses(analyse), read


@pytest.mark.parametrize("form", [
    "INSERT INTO t (a, b) VALUES ({0}, 'x{0}'), (-{0}, NULL)",
    "UPDATE t SET a = a + {0} WHERE b = 'x{0}' /* request {0} */ LIMIT 1",
    "DELETE FROM t WHERE a = X'{0:04}'",
    "INSERT INTO order.t VALUES ({0}) RETURNING a;",
])  # fmt: skip
def test_a_change_is_read_once_whatever_its_literals(form: str) -> None:
    analyses, read = _counting()
    for number in range(20):
        analyses.of(form.format(number).encode(), SqlMode())
    assert len(read) == 1


def test_other_kinds_and_other_counts_are_read_by_themselves() -> None:
    analyses, read = _counting()
    texts = [
        "VALUES (1)",
        "VALUES ('1')",
        "VALUES (X'01')",
        "VALUES (1), (2)",
        "VALUES (NULL)",
        "VALUES (-1)",
    ]
    for text in (f"INSERT INTO t {each}" for each in texts * 2):
        analyses.of(text.encode(), SqlMode())
    assert len(read) == len(texts)


def test_modes_that_read_otherwise_share_nothing() -> None:
    analyses, _ = _counting()
    for backslash, ansi in product([True, False], repeat=2):
        mode = SqlMode(backslash_escapes=backslash, ansi_quotes=ansi)
        for text in (rb"UPDATE t SET a = 'x\' WHERE b = 1 -- '", b'UPDATE t SET a = "b" WHERE c = 1'):
            _check(analyses, text, mode)
            _check(analyses, text.replace(b"1", b"2"), mode)


def test_what_is_kept_is_bounded() -> None:
    analyses, read = _counting()
    for size in range(200):
        analyses.of(f"UPDATE t{size} SET a = 1 WHERE b{'x' * 1000} = 'x'".encode(), SqlMode())
        analyses.of(f"SAVEPOINT s{'x' * 1000}{size}".encode(), SqlMode())
    for kept in (analyses._texts, analyses._patterns):
        assert 0 < kept.weight <= remembered.KEPT_BYTES_MAX
        assert sum(weight for _, weight in kept._kept.values()) == kept.weight
    before = len(read)
    analyses.of(b"UPDATE t199 SET a = 2 WHERE b%b = 'y'" % (b"x" * 1000), SqlMode())
    assert len(read) == before
    analyses.of(b"UPDATE t1 SET a = 1 WHERE b%b = 'x'" % (b"x" * 1000), SqlMode())
    assert len(read) == before + 1


def test_a_bound_change_keeps_its_own_literals() -> None:
    analyses = Analyses(statement.read)
    one, two = (analyses.of(b"INSERT INTO t (a) VALUES (%d)" % number, SqlMode()) for number in (1, 2))
    assert isinstance(one, statement.Insert)
    assert isinstance(two, statement.Insert)
    assert {each.name for each in fields(one) if getattr(one, each.name) != getattr(two, each.name)} == {
        "source"
    }
    assert [each.source.render(each.rows[0][0]) for each in (one, two)] == ["1", "2"]


def test_what_is_remembered_of_one_mode_is_not_said_in_another() -> None:
    analyses = Analyses(statement.read)
    for mode in MODES:
        _check(analyses, b"UPDATE t SET a = 1 WHERE b = 2", mode)
