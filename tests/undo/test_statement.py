from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.undo import lexer, literal, statement
from globaltx.undo.forms import OnHit
from globaltx.undo.lexer import TokenKind
from globaltx.undo.literal import Text
from globaltx.undo.refusal import RefusedError
from globaltx.undo.sqlmode import SqlMode
from tests.undo import goldens

if TYPE_CHECKING:
    from globaltx.undo.forms import Source

_MODES = [
    SqlMode(),
    SqlMode(ansi_quotes=True),
    SqlMode(backslash_escapes=False),
    SqlMode(charset="gbk"),
    SqlMode(charset="latin1", ansi_quotes=True, backslash_escapes=False),
]
modes = st.sampled_from(_MODES)
_PIECES = [
    "SELECT ",
    "'a''b\\'c'",
    '"d"',
    "`e`",
    "/* f */",
    "-- g\n",
    "#h\n",
    "?",
    "5",
    ".5e3",
    "0xFF",
    "@x",
    "=",
    "(",
    ")",
    " ",
    "é",
    "'",
]
sql = st.lists(st.one_of(st.sampled_from(_PIECES), st.text(max_size=3)), max_size=20).map("".join)
values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30),
    st.binary(max_size=20),
    st.builds(Text, st.binary(max_size=20), st.sampled_from(["utf8mb4", "latin1", "gbk", "sjis", "binary"])),
)


def _react(question: str) -> str:
    try:
        found = statement.analyse(question.encode())
    except RefusedError as refused:
        return str(refused)
    return "\n".join(_lines(found))


def _lines(found: statement.Statement) -> list[str]:
    source = found.source
    lines = [f"{type(found).__name__}: {statement.text(found, SqlMode()).decode()}"]
    match found:
        case statement.Insert():
            rows = [" | ".join(source.render(span) for span in row) for row in found.rows]
            lines += [f"table {found.table.schema}.{found.table.name} {found.columns}", *rows]
            if found.query:
                lines += [
                    f"<{source.render(found.query.span)}>, by {found.query.answers}, {found.query.whole}"
                ]
                lines += [
                    "one unknown row"
                    if found.query.items is None
                    else " | ".join(source.render(item) for item in found.query.items)
                ]
            lines += [f"{found.on_hit} {found.assigned}"] if found.on_hit is not OnHit.FAIL else []
            lines += [f"<{source.render(found.returning)}>"] if found.returning else []
        case statement.Update():
            lines += [
                f"table {found.table.schema}.{found.table.name} as <{source.render(found.named).strip()}>"
            ]
            lines += [f"assigns {found.assigned}", f"tail <{source.render(found.condition.tail)}>"]
        case statement.Delete():
            lines += [
                f"table {found.table.schema}.{found.table.name} as <{source.render(found.named).strip()}>"
            ]
            lines += [f"tail <{source.render(found.condition.tail)}>"]
            lines += [f"<{source.render(found.returning)}>"] if found.returning else []
        case statement.Joined():
            names = ", ".join(
                f"{each.table.schema}.{each.table.name} as {each.label}" for each in found.tables
            )
            lines += [f"tables {names}{' (outer)' if found.outer else ''} in <{source.render(found.named)}>"]
            lines += [f"changes {found.columns or found.targets}, for {found.condition.answers}"]
            lines += [f"tail <{source.render(found.condition.tail)}>"]
        case statement.Select():
            lines += [f"for update {found.for_update}"]
        case statement.Control():
            lines += [f"{found.verb} {found.argument} chain={found.chain} release={found.release}"]
        case statement.Set():
            lines += [f"{setting.name} = {value!r}" for setting, value in found.changes]
    return lines


def test_statements_are_read() -> None:
    goldens.check("statements.txt", _react)


@given(sql, modes)
def test_tokens_joined_are_the_statement(text: str, mode: SqlMode) -> None:
    try:
        found = lexer.tokens(text, mode)
    except lexer.UnclosedError:
        return
    assert "".join(token.text for token in found) == text


@given(
    st.binary(max_size=60),
    st.sampled_from(["utf8mb4", "latin1", "gbk", "sjis", "big5", "gb18030", "cp932", "koi8r"]),
)
def test_any_bytes_are_read_or_refused(data: bytes, charset: str) -> None:
    mode = SqlMode(charset=charset)
    for end in range(len(data) + 1):
        try:
            found = statement.analyse(b"UPDATE t SET a = '" + data[:end], mode)
        except RefusedError:
            continue
        assert statement.text(found, mode).startswith(b"UPDATE t SET a = '")


@given(st.text(max_size=30), modes)
def test_what_a_string_holds_is_what_was_quoted(text: str, mode: SqlMode) -> None:
    quoted = text.replace("'", "''")
    if mode.backslash_escapes:
        quoted = quoted.replace("\\", "\\\\")
    (token,) = lexer.tokens(f"'{quoted}'", mode)
    assert token.kind is TokenKind.STRING
    assert lexer.string_value(token, mode) == (text, None)


@given(st.lists(values, min_size=3, max_size=3), modes)
def test_no_parameter_breaks_out_of_its_literal(parameters: list[literal.Value], mode: SqlMode) -> None:
    """Bound and read again, the statement has the same words and as many literals as parameters."""
    found = statement.analyse(b"UPDATE t SET a=?,b=? WHERE c=?", mode)
    again = statement.analyse(statement.bind(found, parameters, mode), mode)
    assert isinstance(again, statement.Update)
    assert (again.table, again.assigned, again.source.parameters) == (found.table, ("a", "b"), 0)  # type: ignore[union-attr]  # an Update
    assert _words(again.source) == ["UPDATE", "T", "SET", "A", "B", "WHERE", "C"]
    literals = [token for token in again.source.tokens if token.kind in lexer.LITERALS]
    assert len(literals) == sum(parameter is not None for parameter in parameters)


def _words(source: Source) -> list[str]:
    return [token.word() for token in source.tokens if token.word() not in {"", "NULL"}]


@pytest.mark.parametrize("count", [0, 2])
def test_another_number_of_parameters_is_a_bug_of_the_caller(count: int) -> None:
    found = statement.analyse(b"DELETE FROM t WHERE a = ?")
    with pytest.raises(ValueError, match="1 parameters are needed"):
        statement.bind(found, [1] * count, SqlMode())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Text(b"x", "utf8mb4'; DROP TABLE t")])
def test_values_without_a_literal_are_refused(value: literal.Value) -> None:
    with pytest.raises(ValueError, match=r"no literal|no name"):
        literal.sql(value)


def test_a_quote_behind_a_two_byte_character_stays_inside() -> None:
    """0xBF5C is one character of GBK; read as two it would escape the quote."""
    gbk = SqlMode(charset="gbk")
    found = statement.analyse(b"UPDATE t SET a = '\xbf\x5c' WHERE b = '1'", gbk)
    assert isinstance(found, statement.Update)
    assert found.source.render(found.condition.tail) == "WHERE b = '1'"
    with pytest.raises(RefusedError, match="not closed"):
        statement.analyse(b"UPDATE t SET a = '\xbf\x5c' WHERE b = '1'", SqlMode(charset="latin1"))


def test_ansi_quotes_name_columns() -> None:
    found = statement.analyse(b'UPDATE "t" SET "a" = \'"\' WHERE "b" = 1', SqlMode(ansi_quotes=True))
    assert isinstance(found, statement.Update)
    assert (found.table.name, found.assigned) == ("t", ("a",))


def test_a_refusal_is_raised_anew_each_time() -> None:
    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            statement.analyse(b"TRUNCATE t")
        assert refused.value.__traceback__ is not None


@pytest.mark.parametrize("value", ["1", "'a''b'", "_latin1'c' 'd WHERE'", "?", "X'00'"])
@pytest.mark.parametrize("blank", [" ", "/* SET b = 2 */", "-- WHERE\n"])
def test_statements_of_one_template_keep_their_own_pieces(value: str, blank: str) -> None:
    """Pieces are found once for all of them, by counting tokens."""
    found = statement.analyse(f"UPDATE t SET{blank}a = {value} WHERE b = {value}".encode())
    assert isinstance(found, statement.Update)
    assert found.source.render(found.condition.tail) == f"WHERE b = {value}"
    assert (found.table.name, found.assigned) == ("t", ("a",))
    inserted = statement.analyse(f"INSERT INTO t VALUES{blank}({value}, {value})".encode())
    assert isinstance(inserted, statement.Insert)
    assert [inserted.source.render(span) for span in inserted.rows[0]] == [value, value]


@pytest.mark.parametrize("text", [b"", b" ", b";", b"/* nothing */", b"-- nothing"])
def test_nothing_is_passed_on(text: bytes) -> None:
    """The server says itself what it thinks of it."""
    assert isinstance(statement.analyse(text), statement.Select)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"update t set a = 1", True),
        (b"/* x */ DELETE FROM t", True),
        (b"replace/**/into t values (1)", True),
        (b"WITH x AS (SELECT 1) UPDATE t SET a = 1", True),
        (b"WITH x AS (SELECT 1) SELECT * FROM x", False),
        (b"/*!40101 SET NAMES utf8 */", False),
        (b"/*!40101 insert into t values (1) */", True),
        (b"SELECT 'open", True),
        (b"SELECT 'update'", False),
        (b"EXPLAIN UPDATE t SET a = 1", False),
        (b"BEGIN", False),
        (b"", False),
    ],
)
def test_what_may_be_a_change(sql: bytes, *, expected: bool) -> None:
    assert statement.may_change(sql, SqlMode()) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"UPDATE t SET a = 1; COMMIT", False),
        (b"UPDATE t SET a = 1; COMMIT; ; -- and no more", False),
        (b"UPDATE t SET a = 1; COMMIT; SELECT 1", True),
        (b"UPDATE t SET a = 'COMMIT; b'; SELECT 1", False),
        (b"SAVEPOINT a; rollback to a; ROLLBACK WORK TO SAVEPOINT a; SELECT 1", False),
        (b"ROLLBACK AND CHAIN; SELECT 1", True),
        (b"/* x */ commit work; SELECT 1", True),
        (b"SET @a = (SELECT 1), @b = 2; SELECT 1", False),
        (b"SET time_zone = 'UTC'; SELECT 1", False),
        (b"SET @a = 1, autocommit = 0; SELECT 1", True),
        (b"SET @@session . autocommit = 0; SELECT 1", True),
        (b"SET NAMES gbk; SELECT 1", True),
        (b"SET sql_mode = ''; SELECT 1", True),
        (b"SET PASSWORD = 'a'; SELECT 1", True),
        (b"SET DEFAULT ROLE a TO b; SELECT 1", True),
        (b"SET STATEMENT max_statement_time = 1 FOR SELECT 1; SELECT 1", True),
        (b"/*!40101 SET @a = 1 */; SELECT 1", True),
        (b"BEGIN NOT ATOMIC SELECT 1; END", True),
        (b"XA END 'a'; SELECT 1", True),
        (b"SELECT 1; 'open", True),
    ],
)
def test_what_may_go_on_behind_the_end_of_the_local_transaction(sql: bytes, *, expected: bool) -> None:
    assert statement.may_go_past_end(sql, SqlMode()) == expected
