"""What every client does: the same statements with a hint through the sidecar, without one directly."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.conversation import Client, ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.clients.programs import Driver
    from tests.sidecar.mysql.harness import Place

TABLES = """
CREATE TABLE item (
  id BIGINT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(64) UNIQUE, amount INT NOT NULL DEFAULT 0
);
CREATE TABLE document (code VARCHAR(32) PRIMARY KEY, note LONGTEXT, data LONGBLOB, price DECIMAL(10,2));
INSERT INTO item VALUES (1, 'bolt', 100), (2, 'nut', 200), (3, 'washer', 300);
INSERT INTO document VALUES ('old', 'ein alter Text', X'00FF', 1.50);
"""
ODD = "naïve 日本語 🚀 'quoted' \"double\" back\\slash ; % ?"
LARGE_TEXT = ("0123456789abcdef" * 65_536)[: 1024 * 1024]
LARGE_BYTES = hashlib.shake_256(b"clients").digest(1024 * 1024)
LARGE_UPDATES: dict[str, str | bytes] = {
    "note": "ä€🚀x" * 400_000,
    "data": hashlib.shake_256(b"large").digest(5 * 1024 * 1024),
}
"""By column: 4 MB of text, of characters of one to four bytes, and 5 MiB of bytes."""
DUPLICATE = 1062
_CONNECTION = re.compile(r"^\(conn=\d+\) ")


def unmarked(verb: str) -> str:
    """No hint: what is sent without a sidecar."""
    return verb


def changes(client: Client, verb: Callable[[str], str], single: Collection[str] = ()) -> list[Any]:
    """Change rows in autocommit and in local transactions; give all that the driver tells.

    ``verb`` puts the hint behind a verb; statements of the verbs ``single`` are not sent in batches.
    """
    return [
        *_autocommit(client, verb),
        *_local_transactions(client, verb),
        *_values(client, verb),
        *_batches(client, verb, single),
    ]


def _autocommit(client: Client, verb: Callable[[str], str]) -> list[Any]:
    insert, update, delete = verb("INSERT"), verb("UPDATE"), verb("DELETE")
    return [
        client.execute(f"{insert} INTO item (name, amount) VALUES (?, ?)", "pin", 7),
        client.query("SELECT LAST_INSERT_ID()"),
        client.execute(f"{insert} INTO item (name) VALUES ('cap'), ('rod'), ('cog')"),
        client.execute(f"{update} item SET amount = amount + ? WHERE id <= ?", 5, 2),
        client.query("SELECT LAST_INSERT_ID()"),
        client.execute(f"{update} item SET amount = amount WHERE id = 1"),
        client.execute(f"{update} item SET amount = 1 WHERE id = ?", 99),
        client.execute(f"{delete} FROM item WHERE name = ?", "cap"),
        _failing(client, f"{insert} INTO item (name) VALUES (?)", "bolt"),
        client.execute(f"{insert} INTO item (name, amount) VALUES (?, ?)", "after the error", -1),
        client.query("SELECT id, name, amount FROM item WHERE id > ? ORDER BY id", 0),
    ]


def _local_transactions(client: Client, verb: Callable[[str], str]) -> list[Any]:
    update, insert = verb("UPDATE"), verb("INSERT")
    client.begin()
    told: list[Any] = [
        client.execute(f"{update} item SET amount = ? WHERE id = 3", 301),
        client.execute(f"{insert} INTO item (name) VALUES (?)", "kept"),
        client.execute("UPDATE item SET amount = 302 WHERE id = ?", 3),
        _failing(client, f"{insert} INTO item (name) VALUES (?)", "bolt"),
        client.query("SELECT amount, LAST_INSERT_ID() FROM item WHERE id = 3"),
    ]
    client.commit()
    client.begin()
    told += [
        client.execute(f"{update} item SET amount = ? WHERE id = 3", 999),
        client.execute(f"{insert} INTO item (name) VALUES (?)", "dropped"),
    ]
    client.rollback()
    return [*told, client.query("SELECT name, amount FROM item WHERE id >= 3 ORDER BY id")]


def _values(client: Client, verb: Callable[[str], str]) -> list[Any]:
    insert, update = verb("INSERT"), verb("UPDATE")
    row = f"{insert} INTO document (code, note, data, price) VALUES (?, ?, ?, ?)"
    return [
        client.execute(row, "odd 'ключ'", ODD, b"\x00\x01'\\\xff", "12.34"),
        client.execute(row, "nulls", None, None, None),
        client.execute(row, "large", LARGE_TEXT, LARGE_BYTES, "-0.01"),
        client.execute(
            f"{update} document SET note = ?, price = ? WHERE code = ?", "ü" * 500_000, None, "old"
        ),
        client.query(
            "SELECT code, CHAR_LENGTH(note), HEX(LEFT(note, 99)), SHA2(data, 256), price"
            " FROM document ORDER BY code"
        ),
        client.query("SELECT note FROM document WHERE code = ?", "odd 'ключ'"),
        client.query("SELECT note FROM document WHERE code = ?", "large"),
    ]


def _batches(client: Client, verb: Callable[[str], str], single: Collection[str]) -> list[Any]:
    insert = f"{verb('INSERT')} INTO item (name, amount) VALUES (?, ?)"
    update = f"{verb('UPDATE')} item SET amount = ? WHERE name = ?"
    inserts = one_by_one if "INSERT" in single else Client.batch
    updates = one_by_one if "UPDATE" in single else Client.batch
    names = [f"batch {number}" for number in range(20)]
    told: list[Any] = [inserts(client, insert, *[(name, 1) for name in names])]
    client.begin()
    told += [
        inserts(client, insert, *[(f"local {name}", 2) for name in names]),
        updates(client, update, *[(7, name) for name in names]),
    ]
    client.commit()
    return [*told, client.query("SELECT id, name, amount FROM item ORDER BY id")]


def one_by_one(client: Client, sql: str, *rows: tuple[Any, ...]) -> list[Any]:
    """Do what a batch would do."""
    return [client.execute(sql, *row) for row in rows]


def _failing(client: Client, sql: str, *parameters: Any) -> tuple[int, str, str]:
    """Run into a duplicate key; give the error, without what is about this connection or statement."""
    with pytest.raises(ClientError) as told:
        client.execute(sql, *parameters)
    error = told.value
    assert error.code == DUPLICATE, error
    return error.code, error.state, _CONNECTION.sub("", error.message)


def introduce(driver: Driver, place: Place) -> None:
    """Let a MySQL that has just started know the account, where the driver would not tell it the password."""
    if driver.wary:
        place.rows("SELECT 1")


def contents(place: Place) -> list[tuple[Any, ...]]:
    """All rows."""
    return [
        *place.rows("SELECT * FROM item ORDER BY id"),
        *place.rows("SELECT * FROM document ORDER BY code"),
    ]
