"""UPDATE and DELETE of several tables: undone byte for byte, and what they are without us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from globaltx.transaction.states import State
from globaltx.transaction.xid import Xid
from globaltx.undo.refusal import RefusedError
from tests.undo.application import MySQLError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.databases import Server
    from globaltx_sidecar.branch.phase_two import PhaseTwo
    from tests.undo.application import Application

    Sql = Callable[[str], str]
    Make = Callable[..., Application]

TABLES = """
CREATE TABLE item (id INT PRIMARY KEY, parent INT, name VARCHAR(20), price DECIMAL(10,2));
CREATE TABLE sale (item INT, day DATE, amount INT NOT NULL, note VARCHAR(20), PRIMARY KEY (item, day));
CREATE TABLE word (word VARCHAR(20) PRIMARY KEY, hits INT UNIQUE);
"""
ROWS = """
INSERT INTO item VALUES (1, NULL, 'bolt', 1.50), (2, 1, 'nut', 2), (3, 1, 'nut', NULL), (4, 9, 'O''Hara', 4);
INSERT INTO sale VALUES (1, '2024-01-01', 5, NULL), (1, '2024-01-02', 6, 'x'), (3, '2024-02-29', 7, ''),
  (8, '2024-01-01', 1, 'y');
INSERT INTO word VALUES ('bolt', 1), ('Nut', 2), ('çedilla', 3), ('o''hara', NULL);
"""
EVERYTHING = (
    "SELECT * FROM item ORDER BY id; SELECT * FROM sale ORDER BY item, day;"
    " SELECT HEX(word), hits FROM word ORDER BY word"
)
UNDONE = [
    "UPDATE item JOIN sale ON sale.item = item.id SET item.price = sale.amount WHERE sale.amount > 5",
    "UPDATE item i INNER JOIN sale AS s ON s.item = i.id SET i.price = i.price + 1, s.amount = s.amount + 1",
    "UPDATE item, sale SET price = amount, amount = amount, note = 'hit' WHERE item = id",
    "UPDATE item LEFT JOIN sale ON sale.item = item.id SET item.name = 'x', sale.note = 'y'",
    "UPDATE sale LEFT JOIN item ON sale.item = item.id SET item.name = 'x'",
    "UPDATE item RIGHT JOIN sale ON sale.item = item.id SET sale.note = item.name WHERE item.id IS NULL",
    "UPDATE item child JOIN item par ON child.parent = par.id SET child.name = CONCAT(par.name, child.name)",
    "UPDATE item JOIN word ON word.word = item.name SET word.hits = NULL, item.price = item.price",
    (
        "UPDATE item JOIN (SELECT item, SUM(amount) total FROM sale GROUP BY item) s ON s.item = item.id"
        " SET item.price = s.total"
    ),
    "UPDATE item JOIN (SELECT item FROM sale) s ON s.item = item.id SET item.price = 0",
    "UPDATE (item JOIN sale ON sale.item = item.id) CROSS JOIN word SET item.price = 7 WHERE word.hits = 1",
    (
        "UPDATE item JOIN sale ON sale.item = item.id SET item.price = 3 WHERE day < NOW() AND item.id IN"
        " (SELECT MIN(hits) FROM word)"
    ),
    "UPDATE item JOIN sale ON sale.item = item.id SET item.price = 3 WHERE 1 = 0",
    "UPDATE item LEFT JOIN sale ON sale.item = item.id SET sale.note = 'z' WHERE item.id = 2 AND NOW()",
    "DELETE item FROM item JOIN sale ON sale.item = item.id",
    "DELETE item, sale FROM item LEFT JOIN sale ON sale.item = item.id WHERE item.name <> 'nut'",
    "DELETE FROM s USING item AS i RIGHT JOIN sale AS s ON s.item = i.id WHERE i.id IS NULL",
    "DELETE a FROM item a JOIN item b ON a.name = b.name AND a.id < b.id",
    "DELETE word FROM word",
    "DELETE w.*, i FROM word w JOIN item i ON i.name = w.word WHERE w.hits IS NULL OR w.hits > 1",
    "DELETE i FROM item i JOIN (SELECT parent, COUNT(*) n FROM item GROUP BY parent) c ON c.parent = i.id",
    "DELETE i FROM item i WHERE i.id IN (SELECT item FROM sale)",
]


@pytest.fixture
def before(sql: Sql) -> str:
    sql(TABLES + ROWS)
    return sql(EVERYTHING)


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
async def test_undone_byte_for_byte(
    application: Make, phase_two: PhaseTwo, sql: Sql, before: str, level: str
) -> None:
    for number, statement in enumerate(UNDONE):
        xid = Xid("tests", f"j{level[:4].lower().strip()}-{number}")
        app = application(xid)
        await app.run(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}".encode())
        await app.execute(statement)
        await app.commit()
        assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK, statement
        assert sql(EVERYTHING) == before, statement


async def test_committed_it_is_what_it_is_without_us(
    application: Make, phase_two: PhaseTwo, sql: Sql, before: str, xid: Xid
) -> None:
    """The same statement on the same rows: past the sidecar, then with its undo records."""
    anew = "TRUNCATE item; TRUNCATE sale; TRUNCATE word;" + ROWS
    plain, app = application(xid), application(xid)
    for statement in UNDONE:
        ok = await plain.run(statement.encode())
        await plain.run(b"COMMIT")
        expected = sql(EVERYTHING)
        sql(anew)
        assert await app.execute(statement) == ok, statement
        await app.commit()
        await phase_two.commit([xid])
        assert sql(EVERYTHING) == expected, statement
        sql(anew)
    assert sql("SELECT COUNT(*) FROM globaltx_undo").strip() == "0"
    assert sql(EVERYTHING) == before


async def test_one_after_the_other(
    application: Make, phase_two: PhaseTwo, sql: Sql, before: str, xid: Xid
) -> None:
    app = application(xid)
    for statement in UNDONE:
        await app.execute(statement)
    await app.commit()
    assert sql(EVERYTHING) != before
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == before


@pytest.mark.parametrize(
    "statement",
    [
        "WITH s AS (SELECT item FROM sale) DELETE FROM item WHERE id IN (SELECT item FROM s)",
        "WITH s AS (SELECT item, amount FROM sale) UPDATE item JOIN s ON s.item = id SET item.price = amount",
        (
            "WITH s AS (SELECT item, SUM(amount) a FROM sale GROUP BY item), w AS (SELECT 1)"
            " UPDATE item SET price = 1 WHERE id IN (SELECT item FROM s) LIMIT 1"
        ),
    ],
)
async def test_common_table_expressions(
    application: Make, phase_two: PhaseTwo, sql: Sql, before: str, xid: Xid, server: Server, statement: str
) -> None:
    app = application(xid)
    if server.kind == "MariaDB":
        with pytest.raises(MySQLError) as error:
            await app.execute(statement)
        assert error.value.args[0] == 1064  # MariaDB 10.11 knows them before SELECT alone
        return
    await app.execute(statement)
    await app.commit()
    assert sql(EVERYTHING) != before
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == before


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE parent FROM parent JOIN item USING (id)", "does CASCADE in"),
        ("UPDATE parent JOIN item USING (id) SET parent.id = 5", "cascades to"),
        ("UPDATE item JOIN sale ON item = id SET item.id = 5", "primary key"),
        ("UPDATE item a JOIN item b USING (id) SET a.price = 1, b.name = 'x'", "two names"),
        ("UPDATE item JOIN bare SET bare.a = 1", "primary key"),
    ],
)
async def test_refused_before_anything_changes(
    application: Make, sql: Sql, before: str, xid: Xid, statement: str, reason: str
) -> None:
    assert before
    sql(
        "CREATE TABLE parent (id INT PRIMARY KEY);CREATE TABLE bare (a INT);"
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id)"
        " ON DELETE CASCADE ON UPDATE CASCADE)"
    )
    with pytest.raises(RefusedError, match=reason):
        await application(xid).execute(statement)
