"""UPDATE and DELETE with any WHERE: undone byte for byte, and what they are without us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from globaltx.transaction.states import State
from globaltx.transaction.xid import Xid

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx_sidecar.branch.phase_two import PhaseTwo
    from tests.undo.application import Application

    Sql = Callable[[str], str]
    Make = Callable[..., Application]

TABLES = """
CREATE TABLE item (id INT PRIMARY KEY, parent INT, name VARCHAR(20), price DECIMAL(10,2), at DATETIME(6));
CREATE TABLE sale (item INT, day DATE, amount INT NOT NULL, PRIMARY KEY (item, day));
CREATE TABLE word (word VARCHAR(20) PRIMARY KEY, hits INT UNIQUE);
"""
ROWS = """
INSERT INTO item VALUES (1, NULL, 'bolt', 1.50, '2020-01-01'), (2, 1, 'nut', 2, '2021-01-01 01:02:03.5'),
  (3, 1, 'nut', NULL, '2999-01-01'), (4, 9, 'O''Hara', 4, NULL);
INSERT INTO sale VALUES (1, '2024-01-01', 5), (1, '2024-01-02', 6), (3, '2024-02-29', 7),
  (8, '2024-01-01', 1);
INSERT INTO word VALUES ('bolt', 1), ('Nut', 2), ('çedilla', 3), ('o''hara', NULL);
"""
EVERYTHING = (
    "SELECT * FROM item ORDER BY id; SELECT * FROM sale ORDER BY item, day;"
    " SELECT HEX(word), hits FROM word ORDER BY word"
)
UNDONE = [
    # other tables
    "UPDATE item SET price = 9 WHERE id IN (SELECT item FROM sale)",
    "UPDATE item AS i SET i.price = 9 WHERE NOT EXISTS (SELECT 1 FROM sale s WHERE s.item = i.id)",
    "DELETE FROM item WHERE id = (SELECT MAX(item) FROM sale WHERE item < 5)",
    "DELETE FROM item WHERE id > ALL (SELECT item FROM sale WHERE item < 3)",
    "DELETE FROM sale WHERE (item, day) IN (SELECT i.id, '2024-01-01' FROM item i)",
    "DELETE FROM sale WHERE item NOT IN ((SELECT id FROM item) UNION (SELECT 1 FROM word))",
    "UPDATE item SET price = (SELECT SUM(amount) FROM sale WHERE item = id) WHERE parent <=> NULL",
    "DELETE FROM item WHERE id NOT IN (SELECT * FROM (SELECT MIN(id) FROM item GROUP BY name) AS kept)",
    "UPDATE word SET hits = NULL WHERE word IN (SELECT name FROM item)",
    "DELETE FROM word WHERE word IN (SELECT name FROM item) ORDER BY (SELECT 1 FROM dual), word LIMIT 1",
    "UPDATE item SET price = 0 WHERE price > (SELECT AVG(amount) FROM sale) - 4",
    "UPDATE item SET price = 0 WHERE id = (SELECT item FROM sale ORDER BY amount DESC LIMIT 1)",
    # another answer each time
    "UPDATE item SET price = 9 WHERE at < NOW()",
    "DELETE FROM item WHERE at BETWEEN CURRENT_TIMESTAMP - INTERVAL 10 YEAR AND UTC_TIMESTAMP(6)",
    "UPDATE item SET name = 'x' WHERE RAND() < 0.5",
    "DELETE FROM word WHERE RAND() < 0.5",
    "DELETE FROM sale WHERE RAND() < 0.5",
    "DELETE FROM item WHERE UUID() IS NULL",
    # LIMIT over rows in no certain order
    "UPDATE item SET name = 'x' LIMIT 2",
    "DELETE FROM sale ORDER BY day LIMIT 2",
    "UPDATE item SET name = 'x' WHERE name = 'nut' ORDER BY price LIMIT 1",
    "DELETE FROM word ORDER BY RAND() LIMIT 2",
    # keys by expression
    "UPDATE item SET id = id + 1 ORDER BY id DESC",
    "UPDATE item SET id = id - 1 WHERE id > 0 ORDER BY id",
    "UPDATE item SET id = id * 10 + parent, name = 'moved' WHERE parent = 1",
    "UPDATE item SET id = -id, price = id WHERE at < NOW() LIMIT 1",
    "UPDATE item SET id = 17 - id WHERE id IN (SELECT item FROM sale)",
    # functions, and what reads odd
    "UPDATE item i SET i.name = CONCAT(name, '?', \"'\") WHERE JSON_VALID('[]') AND i.name LIKE '%\\'%'",
    "DELETE FROM item WHERE IF(name = 'nut', id <=> 2, FALSE) OR COALESCE(parent, 0) = 9",
    "UPDATE word SET hits = 9 WHERE word = 'BOLT' /* ? */ AND CHAR_LENGTH(word) = 4 -- LIMIT 1",
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
        xid = Xid("tests", f"c{level[:4].lower().strip()}-{number}")
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
        if "RAND()" in statement:
            continue
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
