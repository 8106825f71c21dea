"""INSERT IGNORE, ON DUPLICATE KEY UPDATE, REPLACE and moved keys: undone byte for byte, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pymysql.constants import CLIENT
from pymysql.err import MySQLError

from globaltx.transaction.states import State
from globaltx.transaction.xid import Xid
from globaltx.undo.refusal import RefusedError
from globaltx.undo.shape import UniqueKey
from tests.conftest import ON_MYSQL

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx_sidecar.branch.phase_two import PhaseTwo
    from globaltx_sidecar.branch.schemas import CachedSchemas
    from tests.undo.application import Application

    Sql = Callable[[str], str]
    Make = Callable[..., Application]

TABLES = """
CREATE TABLE account (id BIGINT AUTO_INCREMENT PRIMARY KEY, mail VARCHAR(40) UNIQUE, place INT, room INT,
  hits INT NOT NULL DEFAULT 0, note VARCHAR(20), changed TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
  ON UPDATE CURRENT_TIMESTAMP(3), UNIQUE KEY seat (place, room));
CREATE TABLE word (word VARCHAR(20) PRIMARY KEY, meaning TEXT);
CREATE TABLE pair (a INT, b INT, c VARCHAR(10), PRIMARY KEY (a, b));
"""
ROWS = """
INSERT INTO account VALUES (1, 'a@x', 1, 1, 10, 'one', '2020-01-01'),
  (2, 'b@x', 1, 2, 20, NULL, '2020-01-01'),
  (3, NULL, 2, NULL, 30, 'three', '2020-01-01'), (9, 'i@x', 9, 9, 90, 'nine', '2020-01-01');
INSERT INTO word VALUES ('bolt', 'a pin'), ('Nut', NULL);
INSERT INTO pair VALUES (1, 1, 'x'), (1, 2, 'y'), (2, 1, 'z');
"""
EVERYTHING = (
    "SELECT * FROM account ORDER BY id; SELECT HEX(word), meaning FROM word ORDER BY word;"
    " SELECT * FROM pair ORDER BY a, b"
)
ACCOUNT = "account (id, mail, place, room, hits)"
UNDONE = [
    # IGNORE
    f"INSERT IGNORE INTO {ACCOUNT} VALUES (1, 'z@x', 5, 5, 1), (4, 'd@x', 5, 5, 2), (5, 'B@X', 6, 6, 3)",
    f"INSERT IGNORE INTO {ACCOUNT} VALUES (4, 'd@x', 5, 5, 2), (5, 'D@x', 6, 6, 3), (4, 'e@x', 7, 7, 3)",
    "INSERT IGNORE INTO account SET mail = 'new@x', hits = 5",
    "INSERT IGNORE INTO account SET mail = 'a@x', hits = 5",
    "INSERT IGNORE INTO word VALUES ('BOLT', 'other'), ('screw', 'new'), ('nut ', 'x')",
    "INSERT IGNORE INTO word VALUES ('BOLT', 'other')",
    "INSERT IGNORE INTO word VALUES ('screw', 'new')",
    # ON DUPLICATE KEY UPDATE
    f"INSERT INTO {ACCOUNT} VALUES (1, 'b@x', 9, 9, 1) ON DUPLICATE KEY UPDATE hits = hits + VALUES(hits)",
    f"INSERT INTO {ACCOUNT} VALUES (7, 'b@x', 9, 9, 1) ON DUPLICATE KEY UPDATE hits = hits + 1, note = 'hit'",
    (
        f"INSERT INTO {ACCOUNT} VALUES (7, 'q@x', 9, 9, 1), (8, 'q@x', 8, 8, 1), (1, 'r@x', 7, 7, 7)"
        " ON DUPLICATE KEY UPDATE hits = hits + 1"
    ),
    (
        f"INSERT INTO {ACCOUNT} VALUES (7, 'a@x', 2, 2, 1), (8, 'a@x', 1, 1, 2) ON DUPLICATE KEY UPDATE"
        " hits = hits * 2, account.mail = 'moved@x'"
    ),
    (
        "INSERT INTO account (mail, hits) VALUES ('a@x', 1) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id),"
        " hits = hits + 1"
    ),
    "INSERT INTO account (mail, hits) VALUES ('new@x', 1) ON DUPLICATE KEY UPDATE hits = hits + 1",
    "INSERT INTO account (mail, place, room) VALUES (NULL, 2, NULL) ON DUPLICATE KEY UPDATE hits = 0",
    "INSERT INTO account (id, mail) VALUES (2, 'n@x') ON DUPLICATE KEY UPDATE hits = hits",
    (
        "INSERT INTO word VALUES ('BOLT', 'other'), ('screw', 'new'), ('Screw', 'newer')"
        " ON DUPLICATE KEY UPDATE meaning = CONCAT(COALESCE(meaning, ''), VALUES(meaning))"
    ),
    "INSERT INTO pair VALUES (1, 1, 'n'), (1, 3, 'n'), (1, 3, 'm') ON DUPLICATE KEY UPDATE c = VALUES(c)",
    # REPLACE
    f"REPLACE INTO {ACCOUNT} VALUES (1, 'b@x', 9, 9, 1)",
    f"REPLACE INTO {ACCOUNT} VALUES (7, 'b@x', 9, 9, 1), (8, 'b@x', 1, 1, 2), (8, 'q@x', 3, 3, 3)",
    "REPLACE INTO account (mail, hits) VALUES ('a@x', 1)",
    "REPLACE INTO account (mail, hits) VALUES ('new@x', 1)",
    "REPLACE account SET id = 3, hits = 7",
    "REPLACE INTO word VALUES ('bOLT', 'other'), ('screw', 'new'), ('SCREW', 'newer')",
    "REPLACE INTO pair VALUES (1, 1, 'n'), (1, 3, 'n'), (1, 3, 'm')",
    # a changed key
    "UPDATE account SET id = 77, note = 'moved' WHERE mail = 'a@x'",
    "UPDATE account SET id = 1 WHERE id = 1",
    "UPDATE account SET id = 77 WHERE id = 55",
    "UPDATE word SET word = 'BOLT' WHERE word = 'bolt'",
    "UPDATE word SET word = 'screw', meaning = 'x' WHERE word = 'bolt'",
    "UPDATE pair SET a = 5 WHERE a = 1",
    "UPDATE pair SET b = 7, c = 'm' WHERE a = 1 AND b = 2",
]


@pytest.fixture
def before(sql: Sql) -> str:
    sql(TABLES + ROWS)
    return sql(EVERYTHING)


@pytest.mark.parametrize("flags", [0, CLIENT.FOUND_ROWS], ids=["changed rows", "found rows"])
async def test_undone_byte_for_byte(
    application: Make, phase_two: PhaseTwo, sql: Sql, before: str, *, flags: int
) -> None:
    for number, statement in enumerate(UNDONE):
        xid = Xid("tests", f"u{flags}-{number}")
        app = application(xid, client_flag=flags)
        await app.execute(statement)
        await app.commit()
        assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK, statement
        assert sql(EVERYTHING) == before, statement


async def test_committed_it_is_what_it_is_without_us(
    application: Make, phase_two: PhaseTwo, sql: Sql, before: str, xid: Xid
) -> None:
    """The same statement on the same rows: past the sidecar, then with its undo records."""
    stable = EVERYTHING.replace("*", "id, mail, place, room, hits, note", 1)
    anew = "TRUNCATE account; TRUNCATE word; TRUNCATE pair;" + ROWS
    plain, app = application(xid), application(xid)
    for statement in UNDONE:
        ok = await plain.run(statement.encode())
        await plain.run(b"COMMIT")
        expected = sql(stable)
        sql(anew)
        assert await app.execute(statement) == ok, statement
        await app.commit()
        await phase_two.commit([xid])
        assert sql(stable) == expected, statement
        sql(anew)
    assert sql("SELECT COUNT(*) FROM globaltx_undo").strip() == "0"
    assert sql(EVERYTHING) == before


@pytest.mark.parametrize("together", [True, False], ids=["one local transaction", "each its own"])
async def test_one_after_the_other(
    application: Make, phase_two: PhaseTwo, sql: Sql, before: str, xid: Xid, *, together: bool
) -> None:
    """All of them that run, over the same rows."""
    app = application(xid)
    for statement in UNDONE:
        await app.run(b"SAVEPOINT s")
        app.work.savepoint("s")
        try:
            await app.execute(statement)
        except MySQLError as error:
            assert error.args[0] == 1062, error  # noqa: PT017  whether one is raised depends on the others
            await app.run(b"ROLLBACK TO s")
            app.work.rollback_to("s")
        if not together:
            await app.commit()
    await app.commit()
    assert sql(EVERYTHING) != before
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == before


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO {ACCOUNT} VALUES (4, 'd@x', 4, 4, 4) ON DUPLICATE KEY UPDATE hits = 1",
        f"INSERT IGNORE INTO {ACCOUNT} VALUES (4, 'd@x', 4, 4, 4)",
        "REPLACE INTO account (mail) VALUES ('d@x')",
    ],
)
async def test_nobody_puts_a_row_between_image_and_statement(
    application: Make, sql: Sql, before: str, xid: Xid, statement: str
) -> None:
    """The image locks the gap: an insert of the same value waits until the lock wait ends."""
    assert before
    app, other = application(xid), application(xid)
    found = await app.image(statement)
    assert found == []
    await other.run(b"SET SESSION innodb_lock_wait_timeout = 1")
    with pytest.raises(MySQLError) as waited:
        await other.run(b"INSERT INTO account (mail) VALUES ('d@x')")
    assert waited.value.args[0] == 1205
    await app.roll_back()
    assert sql(EVERYTHING) == before


@pytest.mark.parametrize(
    ("table", "statement", "reason"),
    [
        ("a INT PRIMARY KEY, b INT UNIQUE DEFAULT 5", "REPLACE INTO t (a) VALUES (1)", "unique column b"),
        ("a INT PRIMARY KEY, b INT UNIQUE", "INSERT IGNORE INTO t VALUES (1, 1 + 1)", "unique column b"),
        ("a INT PRIMARY KEY, b INT UNIQUE", "INSERT IGNORE INTO t VALUES (1, 1.5)", "unique column b"),
        ("a INT PRIMARY KEY, b YEAR UNIQUE", "INSERT IGNORE INTO t VALUES (1, '0')", "unique column b"),
        (
            "a INT PRIMARY KEY, b DATE UNIQUE",
            "INSERT IGNORE INTO t VALUES (1, '2023-02-29')",
            "unique column b",
        ),
        (
            "a INT PRIMARY KEY, b DATETIME UNIQUE",
            "INSERT IGNORE INTO t VALUES (1, '2023-02-28 24:00:00')",
            "unique column b",
        ),
        ("a INT PRIMARY KEY, b DOUBLE UNIQUE", "INSERT IGNORE INTO t VALUES (1, 1)", "unique column b"),
        (
            "a INT PRIMARY KEY, b INT NOT NULL UNIQUE",
            "INSERT IGNORE INTO t VALUES (1, NULL)",
            "unique column b",
        ),
        (
            "a INT PRIMARY KEY, b INT, c INT AS (b + 1) UNIQUE",
            "INSERT IGNORE INTO t (a, b) VALUES (1, 1)",
            "unique column c",
        ),
        (
            "a INT PRIMARY KEY, b TEXT, UNIQUE KEY b5 (b(5))",
            "INSERT IGNORE INTO t VALUES (1, 'x')",
            "unique key b5",
        ),
        (
            "a INT PRIMARY KEY AUTO_INCREMENT, b INT UNIQUE",
            "REPLACE INTO t (b) VALUES (1), (2)",
            "keys are generated",
        ),
        (
            "a INT PRIMARY KEY, b INT",
            "INSERT INTO t VALUES (1, 1) ON DUPLICATE KEY UPDATE a = 2",
            "primary key",
        ),
        ("a INT PRIMARY KEY, b INT", "UPDATE t SET a = UUID_SHORT()", "primary key"),
        ("a INT PRIMARY KEY, b INT", "UPDATE t SET a = 1, a = 2", "primary key"),
        ("a VARCHAR(5), b INT, PRIMARY KEY (a, b)", "UPDATE t SET b = 1", "primary key"),
    ],
)
async def test_refused_before_anything_changes(
    application: Make, sql: Sql, xid: Xid, table: str, statement: str, reason: str
) -> None:
    sql(f"CREATE TABLE t ({table})")
    with pytest.raises(RefusedError, match=reason):
        await application(xid).execute(statement)


async def test_unique_keys_are_read(schemas: CachedSchemas, sql: Sql, schema: str) -> None:
    sql(
        "CREATE TABLE t (a INT PRIMARY KEY, b INT, c VARCHAR(20) DEFAULT 'NULL', d INT NOT NULL,"
        " e INT DEFAULT 5, UNIQUE KEY cb (c, b), UNIQUE KEY part (c(3)), UNIQUE KEY d (d), KEY e (e))"
    )
    shape = await schemas.shape(schema, "t")
    assert set(shape.unique_keys) == {
        UniqueKey("cb", ("c", "b")),
        UniqueKey("part", ("c",), whole=False),
        UniqueKey("d", ("d",)),
    }
    assert [column.name for column in shape.columns if column.null_default] == ["b"]


@pytest.mark.parametrize("rule", ["ON DELETE CASCADE", "ON DELETE SET NULL", "ON UPDATE CASCADE"])
async def test_a_replace_that_would_take_children_along_is_refused(
    application: Make, sql: Sql, xid: Xid, rule: str
) -> None:
    sql(
        "CREATE TABLE parent (id INT PRIMARY KEY, a INT);"
        f"CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) {rule});"
        "INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (1, 1)"
    )
    with pytest.raises(RefusedError, match="child"):
        await application(xid).execute("REPLACE INTO parent VALUES (1, 2)")


@ON_MYSQL  # only it names the new row
async def test_the_new_row_may_have_a_name(
    application: Make, phase_two: PhaseTwo, sql: Sql, before: str, xid: Xid
) -> None:
    app = application(xid)
    await app.execute(
        f"INSERT INTO {ACCOUNT} VALUES (1, 'b@x', 9, 9, 1), (8, 'n@x', 8, 8, 1) AS new"
        " ON DUPLICATE KEY UPDATE hits = account.hits + new.hits"
    )
    await app.execute(
        "INSERT INTO word VALUES ('BOLT', 'x') AS new(w, m) ON DUPLICATE KEY UPDATE meaning = CONCAT(w, m)"
    )
    await app.commit()
    assert sql(EVERYTHING) != before
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == before
