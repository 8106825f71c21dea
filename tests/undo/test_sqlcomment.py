from __future__ import annotations

import pytest

from globaltx.undo import sqlcomment
from globaltx.undo.refusal import RefusedError
from globaltx.undo.sqlcomment import Traced

TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHER = "11f7651916cd43dd8448eb211c80319c"
PARENT = f"traceparent='00-{TRACE}-b7ad6b7169203331-01'"
COMMENT = f"/*db_driver='mysql.connector%3A9.1',dbapi_threadsafety=1,{PARENT}*/"


@pytest.mark.parametrize(
    ("sql", "rest"),
    [
        (f"UPDATE t SET a=1 {COMMENT}", "UPDATE t SET a=1  "),
        (f"UPDATE t SET a=1 {COMMENT};", "UPDATE t SET a=1  ;"),
        (f"UPDATE t SET a='it''s' /*{PARENT.upper()}*/", "UPDATE t SET a='it''s'  "),
        (f"UPDATE t /* hot */ SET a=1 /* a='b' , {PARENT} */", "UPDATE t /* hot */ SET a=1  "),
        (f"SELECT 1 /*{PARENT}*/ /*{PARENT}*/", "SELECT 1    "),
        (f"SELECT 1 /*traceparent='00-{TRACE.upper()}-b7ad6b7169203331-00',x='it\\'s'*/", "SELECT 1  "),
    ],
)
def test_the_comment_tells_the_trace_and_is_cut_out(sql: str, rest: str) -> None:
    assert sqlcomment.take(sql.encode()) == Traced(rest.encode(), TRACE)
    assert TRACE in sqlcomment.named(sql.encode())


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        f"SELECT '{COMMENT.replace(chr(39), chr(39) * 2)}'",
        f'SELECT "{COMMENT}"',
        f"SELECT `{COMMENT}`",
        f"SELECT 1 -- {COMMENT}",
        f"SELECT 1 # {COMMENT}",
        f"SELECT 1 /*+ {PARENT} */",
        f"SELECT 1 /*! {PARENT} */",
        f"SELECT 1 /* said by somebody: {PARENT} */",
        f"SELECT 1 /*note='{PARENT.replace(chr(39), '%27')}'*/",
        f"SELECT 1 /*my{PARENT}*/",
        f"SELECT 1 /*traceparent='00-{TRACE[1:]}-b7ad6b7169203331-01'*/",
        f"SELECT 1 /*traceparent='00-{TRACE}'*/",
        f'SELECT 1 /*traceparent="00-{TRACE}-b7ad6b7169203331-01"*/',
    ],
)
def test_anything_else_tells_none_and_stays_as_it_is(sql: str) -> None:
    assert sqlcomment.take(sql.encode()) == Traced(sql.encode(), None)


@pytest.mark.parametrize(
    "sql",
    [f"SELECT 1 /*{PARENT}*/ /*{PARENT.replace(TRACE, OTHER)}*/", f"SELECT 'open {COMMENT}"],
    ids=["two traces", "not closed"],
)
def test_what_cannot_be_told_is_refused(sql: str) -> None:
    with pytest.raises(RefusedError):
        sqlcomment.take(sql.encode())
