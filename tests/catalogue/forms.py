"""The forms that a statement can have: what docs/at-statements.md tells, and the tests run."""

from __future__ import annotations

from dataclasses import dataclass

TABLES = (
    (
        "item",
        """CREATE TABLE item (id INT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(20) UNIQUE,
        amount INT NOT NULL DEFAULT 0, note TEXT, doubled INT AS (amount * 2) STORED,
        changed TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3))""",
    ),
    (
        "item",
        """INSERT INTO item (id, code, amount, note) VALUES (1, 'bolt', 100, 'a'), (2, 'nut', 200, NULL),
        (3, NULL, 300, ''), (9, 'pin', 0, 'x')""",
    ),
    ("stock", "CREATE TABLE stock (place INT, item VARCHAR(20), amount INT, PRIMARY KEY (place, item))"),
    ("stock", "INSERT INTO stock VALUES (1, 'bolt', 5), (1, 'nut', 6), (2, 'bolt', 7)"),
    ("parent", "CREATE TABLE parent (id INT PRIMARY KEY, n INT)"),
    ("parent", "INSERT INTO parent VALUES (1, 1), (2, 2)"),
    (
        "child",
        """CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parent (id)
        ON DELETE CASCADE ON UPDATE CASCADE)""",
    ),
    ("child", "INSERT INTO child VALUES (1, 1), (2, 1)"),
    ("keyless", "CREATE TABLE keyless (name VARCHAR(20))"),
    ("old", "CREATE TABLE old (id INT PRIMARY KEY, n INT) ENGINE=MyISAM"),
    ("short", "CREATE TABLE short (id INT PRIMARY KEY, name TEXT, UNIQUE KEY (name(5)))"),
    ("watched", "CREATE TABLE watched (id INT PRIMARY KEY, n INT)"),
    (
        "watched",
        "CREATE TRIGGER noted AFTER INSERT ON watched FOR EACH ROW INSERT INTO keyless VALUES ('x')",
    ),
    ("seen", "CREATE VIEW seen AS SELECT id, amount FROM item"),
)
"""What makes the tables, by name."""
NAMES = frozenset(name for name, _ in TABLES)
NEEDS = (("parent", "child"), ("child", "parent"), ("watched", "keyless"), ("seen", "item"))


@dataclass(frozen=True, slots=True)
class Form:
    """A statement, and what the session says before and behind it; `shown` is how people read it."""

    group: str
    sql: str
    before: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    parameters: tuple[str | int | None, ...] | None = None

    @property
    def shown(self) -> str:
        text = "; ".join((*self.before, self.sql.replace("{xid} ", ""), *self.behind))
        return f"{text} (prepared)" if self.parameters is not None else text


def _all(group: str, *statements: str) -> tuple[Form, ...]:
    return tuple(Form(group, each) for each in statements)


_READ_COMMITTED = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
FORMS = (
    *_all(
        "INSERT",
        "INSERT {xid} INTO item (code) VALUES ('cap')",
        "INSERT {xid} INTO item (id, code) VALUES (NULL, 'cap'), (0, 'rod'), (DEFAULT, 'peg')",
        "INSERT {xid} INTO item (id, code) VALUES (50, 'cap'), (51, 'rod')",
        "INSERT {xid} INTO item (id, code) VALUES (50, 'cap'), (NULL, 'rod')",
        "INSERT {xid} INTO item SET code = 'cap', amount = 1 + 1",
        "INSERT {xid} INTO item VALUES (50, 'cap', 1, 'x', DEFAULT, DEFAULT)",
        "INSERT {xid} INTO stock VALUES (3, 'cap', 1)",
        "INSERT {xid} INTO stock VALUES (3, UUID(), 1)",
        "INSERT {xid} INTO stock VALUES (1 + 2, 'cap', 1)",
        "INSERT {xid} INTO item (code) SELECT item FROM stock WHERE place = 9",
        "INSERT {xid} INTO item (amount) SELECT amount FROM stock ORDER BY item LIMIT 2",
        "INSERT {xid} INTO parent SELECT id + 10, amount FROM item",
        "INSERT {xid} INTO stock SELECT 7, i.code, NOW() + 0 > 1 FROM item i JOIN stock s ON s.item = i.code"
        " WHERE s.place IN (SELECT 1)",
        "INSERT {xid} INTO stock SELECT 7, code, amount FROM item LIMIT 1",
        "INSERT {xid} INTO stock SELECT place + 7, MAX(item), 1 FROM stock GROUP BY place",
        "INSERT {xid} INTO parent SELECT id + 10, amount FROM item UNION SELECT 77, 7",
        "INSERT {xid} INTO item (code) SELECT CONCAT(item, '!') FROM stock WHERE place = 2 RETURNING id",
        "INSERT {xid} INTO item (code) VALUES ('cap'), ('rod') RETURNING id, doubled",
        "INSERT {xid} INTO stock VALUES (3, CONCAT('a', 1 + 1), 1) RETURNING item",
        "INSERT {xid} LOW_PRIORITY INTO item (code) VALUES ('cap')",
    ),
    Form("INSERT", "INSERT {xid} INTO item (code, amount) VALUES (?, ?)", parameters=("cap", 5)),
    Form(
        "INSERT",
        "INSERT {xid} INTO parent SELECT id + ?, amount FROM item WHERE code <> ?",
        parameters=(50, "nut"),
    ),
    Form("INSERT", "INSERT {xid} INTO item (code, amount) VALUES (?, ?) RETURNING *", parameters=("cap", 5)),
    Form(
        "INSERT",
        "INSERT {xid} INTO item (code) VALUES ('cap'), ('rod')",
        before=("SET auto_increment_increment = 10",),
    ),
    *_all(
        "INSERT IGNORE, ON DUPLICATE KEY UPDATE, REPLACE",
        "INSERT {xid} IGNORE INTO item (id, code) VALUES (1, 'x'), (50, 'nut'), (51, 'cap')",
        "INSERT {xid} IGNORE INTO item (code) VALUES ('nut')",
        "INSERT {xid} IGNORE INTO item (code) VALUES ('nut'), ('cap'), ('bolt'), (CONCAT('r', 'od'))",
        "INSERT {xid} INTO item (id, code) VALUES (1, 'x') ON DUPLICATE KEY UPDATE amount = amount + 1",
        "INSERT {xid} INTO item (code) VALUES ('nut') ON DUPLICATE KEY UPDATE amount = amount + 1",
        "INSERT {xid} INTO item (code) VALUES ('nut'), ('cap') ON DUPLICATE KEY UPDATE amount = 1",
        "INSERT {xid} INTO item (code) VALUES ('nut') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)",
        "INSERT {xid} INTO item (id, code) VALUES (1, 'nut') ON DUPLICATE KEY UPDATE id = 77",
        "INSERT {xid} INTO stock VALUES (1, 'bolt', 1), (1, 'bolt', 2), (4, 'x', 3)"
        " ON DUPLICATE KEY UPDATE amount = stock.amount + VALUES(amount)",
        "INSERT {xid} INTO stock VALUES (1, 'bolt', 1) AS new ON DUPLICATE KEY UPDATE amount = new.amount",
        "INSERT {xid} IGNORE INTO short VALUES (1, 'abcdefg')",
        "REPLACE {xid} INTO item (id, code, amount) VALUES (1, 'nut', 5)",
        "REPLACE {xid} INTO item (code) VALUES ('nut')",
        "INSERT {xid} IGNORE INTO item (code) SELECT item FROM stock",
        "INSERT {xid} IGNORE INTO stock SELECT 1, code, amount FROM item WHERE code IS NOT NULL",
        "INSERT {xid} INTO stock SELECT 1, code, amount FROM item WHERE code IS NOT NULL"
        " ON DUPLICATE KEY UPDATE amount = stock.amount + VALUES(amount)",
        "INSERT {xid} INTO item (code) SELECT item FROM stock ON DUPLICATE KEY UPDATE amount = 1",
        "REPLACE {xid} INTO stock SELECT 1, 'bolt', 9",
        "REPLACE {xid} INTO item (id, code) SELECT place + 1, item FROM stock WHERE item = 'nut'",
        "REPLACE {xid} INTO parent VALUES (1, 5)",
        "INSERT {xid} IGNORE INTO item (code) VALUES ('nut') RETURNING id",
        "INSERT {xid} INTO stock VALUES (1, 'bolt', 1), (4, 'x', 3) ON DUPLICATE KEY UPDATE amount = 9"
        " RETURNING *",
        "REPLACE {xid} INTO stock VALUES (1, 'bolt', 1) RETURNING amount",
        "REPLACE {xid} INTO item (code) VALUES ('nut') RETURNING id",
    ),
    Form(
        "INSERT IGNORE, ON DUPLICATE KEY UPDATE, REPLACE",
        "REPLACE {xid} INTO stock VALUES (1, 'bolt', 1)",
        before=(_READ_COMMITTED, "BEGIN"),
        behind=("COMMIT",),
    ),
    *_all(
        "UPDATE",
        "UPDATE {xid} item SET amount = amount - 1, note = NULL WHERE id = 1",
        "UPDATE {xid} item SET amount = amount + 1",
        "UPDATE {xid} item AS i SET i.amount = 1 WHERE i.id < 3",
        "UPDATE {xid} item SET amount = 1 WHERE id = 99",
        "UPDATE {xid} item SET note = 'n' WHERE code <=> NULL",
        "UPDATE {xid} item SET amount = 1 ORDER BY id LIMIT 2",
        "UPDATE {xid} item SET amount = 1 LIMIT 2",
        "UPDATE {xid} item SET amount = 1 WHERE code IN (SELECT item FROM stock)",
        "UPDATE {xid} item i SET amount = 1 WHERE EXISTS (SELECT 1 FROM stock s WHERE s.item = i.code)",
        "UPDATE {xid} item SET amount = (SELECT MAX(amount) FROM stock) WHERE id = 1",
        "UPDATE {xid} item SET note = CONCAT(code, '!'), amount = LENGTH(code) WHERE code LIKE '%u%'",
        "UPDATE {xid} item SET note = NOW(6), amount = RAND() * 10 WHERE id = 99",
        "UPDATE {xid} item SET amount = 1 WHERE amount > RAND() * 1000 AND id = 99",
        "UPDATE {xid} item JOIN stock ON stock.item = item.code SET item.amount = stock.amount",
        "UPDATE {xid} item, stock SET item.amount = 1, stock.amount = 2 WHERE item.code = stock.item",
        "WITH w AS (SELECT item FROM stock) UPDATE {xid} item SET amount = 1 WHERE code IN (TABLE w)",
        "UPDATE {xid} IGNORE item SET code = 'nut' WHERE id = 1",
        "UPDATE {xid} item SET code = 'screw' WHERE code = 'bolt'",
        "UPDATE {xid} item SET id = 77 WHERE id = 1",
        "UPDATE {xid} stock SET place = 5 WHERE place = 1",
        "UPDATE {xid} item SET id = id + 100",
        "UPDATE {xid} parent SET n = 5 WHERE id = 1",
        "UPDATE {xid} parent SET id = 5 WHERE id = 1",
        "UPDATE {xid} seen SET amount = 5",
    ),
    Form("UPDATE", "UPDATE {xid} item SET amount = ? WHERE code = ?", parameters=(5, "nut")),
    *_all(
        "DELETE",
        "DELETE {xid} FROM item WHERE id = 1",
        "DELETE {xid} FROM stock",
        "DELETE {xid} FROM stock ORDER BY place, item LIMIT 1",
        "DELETE {xid} FROM item WHERE code IN (SELECT item FROM stock)",
        "DELETE {xid} item FROM item JOIN stock ON stock.item = item.code WHERE stock.place = 2",
        "DELETE {xid} FROM item, stock USING item JOIN stock ON stock.item = item.code",
        "DELETE {xid} FROM item WHERE id = 1 RETURNING code",
        "DELETE {xid} FROM stock LIMIT 1 RETURNING item, amount",
        "DELETE {xid} QUICK FROM item WHERE id = 1",
        "DELETE {xid} FROM parent WHERE id = 1",
        "DELETE {xid} FROM child WHERE id = 1",
    ),
    Form("DELETE", "DELETE {xid} FROM item WHERE code = ?", parameters=("nut",)),
    Form("DELETE", "DELETE {xid} FROM item WHERE code = ? RETURNING id, note", parameters=("nut",)),
    *(
        Form("Local transactions", sql, before=before, behind=behind)
        for before, sql, behind in (
            (("BEGIN",), "UPDATE {xid} item SET amount = 1", ("UPDATE item SET amount = 2", "COMMIT")),
            (("BEGIN",), "UPDATE {xid} item SET amount = 1", ("ROLLBACK",)),
            (
                ("BEGIN", "SAVEPOINT a"),
                "DELETE {xid} FROM stock",
                ("ROLLBACK TO a", "UPDATE stock SET amount = 1", "COMMIT"),
            ),
            (
                ("SET autocommit = 0",),
                "INSERT {xid} INTO stock VALUES (9, 'x', 1)",
                (
                    "UPDATE stock SET amount = 2 WHERE place = 9",
                    "DELETE FROM stock WHERE place = 9",
                    "SET autocommit = 1",
                ),
            ),
            (
                ("SET @globaltx_xid = '{name}'",),
                "UPDATE item SET amount = 1",
                ("SET @globaltx_xid = NULL",),
            ),
            (
                ("BEGIN", "UPDATE item SET amount = amount WHERE id = 99"),
                "UPDATE {xid} item SET amount = 1",
                ("COMMIT",),
            ),
        )
    ),
    *_all(
        "Tables",
        "INSERT {xid} INTO keyless VALUES ('x')",
        "UPDATE {xid} old SET n = 1",
        "INSERT {xid} INTO watched VALUES (1, 1)",
        "DELETE {xid} FROM seen",
        "UPDATE {xid} information_schema.TABLES SET TABLE_NAME = 'x'",
    ),
    *_all(
        "Other statements",
        "SELECT {xid} amount FROM item WHERE id = 1",
        "SELECT {xid} amount FROM item WHERE id = 1 FOR UPDATE",
        "SELECT {xid} amount FROM item WHERE id = 1 LOCK IN SHARE MODE",
        "SHOW {xid} TABLES LIKE 'item'",
        "EXPLAIN {xid} UPDATE item SET amount = 1",
        "TRUNCATE {xid} TABLE item",
        "CREATE {xid} TABLE new (id INT PRIMARY KEY)",
        "ALTER {xid} TABLE item ADD COLUMN more INT",
        "DROP {xid} TABLE item",
        "CALL {xid} anything()",
        "LOAD {xid} DATA INFILE 'x' INTO TABLE item",
        "LOCK {xid} TABLES item WRITE",
        "XA {xid} START 'x'",
        "DO {xid} SLEEP(0)",
        "UPDATE {xid} item SET amount = 1; UPDATE item SET amount = 2",
    ),
)
