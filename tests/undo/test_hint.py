from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.undo import hint, statement
from globaltx.undo.hint import Taken
from globaltx.undo.refusal import RefusedError
from globaltx.undo.sqlmode import SqlMode


@pytest.mark.parametrize(
    ("sql", "taken"),
    [
        (b"SELECT 1", Taken(b"SELECT 1", None)),
        (b"UPDATE /*+ XID('ns.a') */ t SET a=1", Taken(b"UPDATE   t SET a=1", "ns.a")),
        (b"UPDATE /*+\n xId ( 'ns.a' )*/ t SET a=1", Taken(b"UPDATE   t SET a=1", "ns.a")),
        (b"UPDATE /*+ XID('ns.a\") */ t SET a=1", Taken(b"UPDATE /*+ XID('ns.a\") */ t SET a=1", None)),
        (b'update /*+xid( "ns.a" )*/ t set a=1', Taken(b"update   t set a=1", "ns.a")),
        (
            b"INSERT/*+ XID('ns.a') TraceParent('00-ab-cd-01') */INTO t",
            Taken(b"INSERT INTO t", "ns.a", "00-ab-cd-01"),
        ),
        (b"DELETE /*+ XID('ns.a') NO_MERGE(t) */ FROM t", Taken(b"DELETE /*+ NO_MERGE(t) */ FROM t", "ns.a")),
        (b"DELETE FROM t /*+ XID('ns.a') */", Taken(b"DELETE FROM t  ", "ns.a")),
        (b"UPDATE /*+ XID('') */ t SET a=1", Taken(b"UPDATE   t SET a=1", "")),
        (b"UPDATE /*+ MY_XID('ns.a') */ t", Taken(b"UPDATE /*+ MY_XID('ns.a') */ t", None)),
        (b"UPDATE /* XID('ns.a') */ t", Taken(b"UPDATE /* XID('ns.a') */ t", None)),
        (b"SELECT '/*+ XID(''ns.a'') */'", Taken(b"SELECT '/*+ XID(''ns.a'') */'", None)),
        (b"SELECT `/*+ XID('ns.a') */`", Taken(b"SELECT `/*+ XID('ns.a') */`", None)),
        (b"SELECT 1 -- /*+ XID('ns.a') */", Taken(b"SELECT 1 -- /*+ XID('ns.a') */", None)),
        (b"SELECT 1 /* /*+ XID('ns.a') */", Taken(b"SELECT 1 /* /*+ XID('ns.a') */", None)),
        (b"SELECT 'open /*+ other('ns.a') */", Taken(b"SELECT 'open /*+ other('ns.a') */", None)),
        (b"SELECT '\xff' /*+ XID('ns.a') */", Taken(b"SELECT '\xff'  ", "ns.a")),
        (b"SET /*+ XID('ns.a') XID('ns.a') */ x", Taken(b"SET   x", "ns.a")),
    ],
)
def test_hints_are_cut_out(sql: bytes, taken: Taken) -> None:
    assert hint.take(sql) == taken


def test_two_xids_are_refused() -> None:
    with pytest.raises(RefusedError, match="InvalidXid"):
        hint.take(b"UPDATE /*+ XID('ns.a') */ t SET /*+ XID('ns.b') */ a = 1")


def test_a_quote_behind_a_backslash_depends_on_the_mode() -> None:
    sql = b"UPDATE t SET a = 'x\\' /*+ XID('ns.a') */ '"
    assert hint.take(sql, SqlMode()).xid is None
    assert hint.take(sql[:-2], SqlMode(backslash_escapes=False)).xid == "ns.a"


def test_a_two_byte_character_hides_no_quote() -> None:
    sql = b"UPDATE t SET a = '\xbf\x5c' /*+ XID('ns.a') */"
    assert hint.take(sql, SqlMode(charset="gbk")) == Taken(b"UPDATE t SET a = '\xbf\x5c'  ", "ns.a")


@given(st.binary(max_size=80), st.sampled_from(["utf8mb4", "latin1", "gbk", "sjis"]))
def test_anything_else_goes_on_untouched(data: bytes, charset: str) -> None:
    sql = b"/*+ " + data
    taken = hint.take(sql, SqlMode(charset=charset))
    assert taken.xid is not None or taken.sql == sql


@given(st.text(alphabet="abc '\"\\`?é", max_size=30), st.booleans())
def test_a_hint_in_a_literal_is_none(text: str, double: bool) -> None:  # noqa: FBT001  drawn
    quote = '"' if double else "'"
    inner = (text + "/*+ XID(1) */").replace("\\", "\\\\").replace(quote, quote * 2)
    sql = f"SELECT {quote}{inner}{quote}".encode()
    assert hint.take(sql) == Taken(sql, None)


def test_every_beginning_of_a_statement_can_be_looked_at() -> None:
    sql = b"UPDATE /*+ XID('ns.a') TraceParent('x') */ t SET a='b''c\\'d' -- e\n WHERE `f`=\"g\" /* h */"
    for end in range(len(sql)):
        try:
            assert hint.take(sql[:end]).xid in {None, "ns.a"}
        except RefusedError as refused:
            assert "cannot be read" in refused.sentence  # noqa: PT017  some are refused, others are not


def test_what_cannot_be_read_behind_a_hint_is_refused_by_who_reads_it() -> None:
    taken = hint.take(rb"UPDATE /*+ XID('ns.a') */ t SET a = \N")
    assert taken.xid == "ns.a"
    with pytest.raises(RefusedError):
        statement.analyse(taken.sql)


WORDS = st.sampled_from(
    ["UPDATE ", " update(", "SELECT\n", "insert ", "EXECUTE ", "t ", "'a' ", "`b` ", "-- ", "1 "]
)
HINTS = st.sampled_from(
    [
        "/*+ XID('ns.a') */",
        "/*+ XID('ns.b') TraceParent('x') */",
        "/*+ xid( ns.a ) NO_ICP(t) */",
        '/*+ XID("ns.a") */',
        "/*+ NO_ICP(t) */",
        "/* c */",
        "/*+ 'XID(1)' XID('ns.a') */",
    ]
)


@given(st.lists(WORDS, max_size=3), HINTS, st.lists(WORDS | HINTS, max_size=3))
def test_a_hint_at_the_front_is_taken_as_it_would_be_anywhere(
    front: list[str], first: str, behind: list[str]
) -> None:
    sql = ("".join(front) + first + " " + "".join(behind)).encode()
    quickly, slowly = told(sql), told(sql + b"/**/")
    if isinstance(quickly, Taken) and isinstance(slowly, Taken):
        assert slowly in {quickly._replace(sql=quickly.sql + b"/**/"), Taken(sql + b"/**/", None)}
        assert slowly.xid == quickly.xid
    elif quickly != slowly:  # left to who reads it
        assert isinstance(slowly, str)
        assert "cannot be read" in slowly


def told(sql: bytes) -> Taken | str:
    try:
        return hint.take(sql)
    except RefusedError as refused:
        return refused.sentence


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT 'open /*+ XID('ns.a') */",
        rb"UPDATE /*+ XID('ns.a') */ t SET a = \N /* b */",
        b"UPDATE /*!50000 /*+ XID('ns.a') */ */ t SET a = 1",
        b"PREPARE s FROM 'UPDATE /*+ xid(\"ns.a\") */ t SET a = 1'",
        b"EXECUTE IMMEDIATE 'UPDATE /*+ XID(\"ns.a\") */ t SET a = 1'",
    ],
)
def test_an_xid_that_cannot_be_followed_is_refused(sql: bytes) -> None:
    with pytest.raises(RefusedError):
        hint.take(sql)


@pytest.mark.parametrize(
    ("sql", "kept", "xid"),
    [
        ("SELECT /*+ GlobalLock() */ 1", "SELECT   1", None),
        ("SELECT /*+ globallock( ) BKA(t) */ 1", "SELECT /*+ BKA(t) */ 1", None),
        ("SELECT /*+ GlobalLock() XID('shop.a') */ 1", "SELECT   1", "shop.a"),
    ],
)
def test_the_hint_that_asks_for_global_locks(sql: str, kept: str, xid: str | None) -> None:
    taken = hint.take(sql.encode())
    assert (taken.sql.decode(), taken.xid, taken.global_lock) == (kept, xid, True)


@pytest.mark.parametrize("sql", ["SELECT '/*+ GlobalLock() */'", "SELECT /*+ NoGlobalLock() */ 1"])
def test_what_is_no_such_hint(sql: str) -> None:
    assert hint.take(sql.encode()) == hint.Taken(sql.encode(), None)
