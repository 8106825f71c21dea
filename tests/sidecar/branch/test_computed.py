"""INSERT with keys that the server computes: undone byte for byte, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from globaltx.transaction.states import State
from globaltx.undo.literal import Text
from globaltx.undo.refusal import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.databases import Server
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.branch.phase_two import PhaseTwo
    from tests.undo.application import Application

    Sql = Callable[[str], str]
    Make = Callable[..., Application]

INSERTS = [
    ("id CHAR(36) PRIMARY KEY, n INT", "INSERT INTO t VALUES (UUID(), 1), (UUID(), 2)"),
    ("id VARCHAR(40) CHARACTER SET latin1 PRIMARY KEY", "INSERT INTO t VALUES (CONCAT('ö', UPPER(UUID())))"),
    ("id VARCHAR(40) PRIMARY KEY", "INSERT INTO t SET id = TRIM(TRAILING ';' FROM 'a;b?''\\\\;;')"),
    ("id BINARY(16) PRIMARY KEY, n INT", "INSERT INTO t (n, id) VALUES (1, UNHEX(REPLACE(UUID(), '-', '')))"),
    ("id VARBINARY(40) PRIMARY KEY", "INSERT INTO t VALUES (UUID()), (7 * 6)"),
    (
        "id BIGINT UNSIGNED PRIMARY KEY",
        "INSERT INTO t VALUES (UUID_SHORT()), (18446744073709551614 + 1), (~0 - 7)",
    ),
    (
        "id INT PRIMARY KEY",
        "INSERT INTO t VALUES (LENGTH('abc')), (1 + 1), (- - 5), (CASE WHEN 1 THEN 7 ELSE 8 END)",
    ),
    (
        "id DATE, n DECIMAL(9,2), PRIMARY KEY (id, n)",
        "INSERT INTO t VALUES (CURRENT_DATE, 1), ('2024-02-29', 2.5 * 2)",
    ),
    (
        "id DATETIME(6) PRIMARY KEY",
        "INSERT INTO t VALUES (NOW(6)), (DATE_ADD('2024-02-29', INTERVAL 1 YEAR))",
    ),
    ("id INT PRIMARY KEY, n INT AUTO_INCREMENT UNIQUE", "INSERT INTO t (id) VALUES (LAST_INSERT_ID() + 1)"),
    ("id INT AUTO_INCREMENT PRIMARY KEY", "INSERT INTO t VALUES (2 + 3)"),
]


@pytest.mark.parametrize(("table", "statement"), INSERTS)
async def test_undone_byte_for_byte(
    application: Make, phase_two: PhaseTwo, sql: Sql, xid: Xid, table: str, statement: str
) -> None:
    sql(f"CREATE TABLE t ({table})")
    app = application(xid)
    await app.execute(statement)
    await app.commit()
    inserted = sql("SELECT COUNT(*) FROM t").strip()
    assert inserted == sql("SELECT COUNT(*) FROM globaltx_undo WHERE table_name = 't'").strip() != "0"
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql("SELECT * FROM t") == ""


async def test_from_parameters(
    application: Make, phase_two: PhaseTwo, sql: Sql, xid: Xid, server: Server
) -> None:
    sql("CREATE TABLE t (id BINARY(16) PRIMARY KEY, a INT, b INT)")
    to_bin = "UUID_TO_BIN(?)" if server.kind == "MySQL" else "UNHEX(REPLACE(?, '-', ''))"
    app = application(xid)
    uuid = Text(b"6ccd780c-baba-1026-9564-5b8c656024db")
    await app.execute(f"INSERT INTO t (a, id, b) VALUES (?, {to_bin}, ?)", (1, uuid, 2))
    await app.commit()
    assert sql("SELECT HEX(id), a, b FROM t").split() == ["6CCD780CBABA102695645B8C656024DB", "1", "2"]
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql("SELECT * FROM t") == ""


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("id INT PRIMARY KEY", "INSERT INTO t VALUES (1 / 2)"),
        ("id INT PRIMARY KEY", "INSERT INTO t VALUES (NULLIF(1, 2) + 0.5)"),
        ("id INT AUTO_INCREMENT PRIMARY KEY", "INSERT INTO t VALUES (1 - 1)"),
        ("id INT AUTO_INCREMENT PRIMARY KEY", "INSERT INTO t VALUES (NULLIF(1, 1))"),
        ("id DATETIME PRIMARY KEY", "INSERT INTO t VALUES (TIMESTAMP('2024-01-01 00:00:00.5'))"),
    ],
)
async def test_what_the_column_would_hold_otherwise_is_refused(
    application: Make, sql: Sql, xid: Xid, table: str, statement: str
) -> None:
    """By then the statement has run: the sidecar rolls back."""
    sql(f"CREATE TABLE t ({table})")
    with pytest.raises(RefusedError, match="not exactly"):
        await application(xid).execute(statement)
