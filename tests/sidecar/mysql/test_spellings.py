"""Forms that the sidecar writes anew, in every mode and character set that changes how SQL reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymysql.constants import CLIENT

from tests.sidecar.mysql.harness import hint
from tests.sidecar.mysql.test_at import items, undo
from tests.sidecar.mysql.test_tricks import no_change_is_bare, run

if TYPE_CHECKING:
    from tests.sidecar.mysql.harness import Proxy

# Each names one row; %x is the hint, %s a string in the connection's character set.
FORMS = [
    b"UPDATE %x item SET name = %s WHERE NOW() > 1 ORDER BY id LIMIT 1",
    b"UPDATE %x item AS i SET i.name = %s WHERE i.id IN (SELECT 1) AND i.name <=> 'bolt' LIMIT 1",
    b"UPDATE %x item JOIN (SELECT 1 AS a GROUP BY a) d ON item.id = d.a SET item.name = %s",
    b"INSERT %x INTO item (id, name) VALUES (LENGTH('1234567'), %s)",
    b"UPDATE item %x SET name = %s WHERE id = 1; UPDATE %x item SET amount = 5 WHERE id = 1",
]
MODES = {
    "ANSI_QUOTES": b"'a\"\\\\''b;'",
    "NO_BACKSLASH_ESCAPES": b"'a\\'",
    "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT": b"'a''\\;\"'",
}
CHARSETS = {
    "gbk": b"'\xbf\x5c'",
    "sjis": b"'\x83\x5c;'",
    "big5": b"'\xa4\x5c'",
    "latin1": b"_latin1'\xe9' '\xbf'",
    "utf8mb4": "_utf8mb4'é;' '\\'€'".encode(),
}


def _changed_name(proxy: Proxy, setting: str, form: bytes, literal: bytes) -> Any:
    """The name that a form gives to its row, which has its undo record."""
    carried = hint(proxy.begin()).replace("XID", "xId").encode()
    with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection:
        run(connection, setting)
        run(connection, form.replace(b"%x", carried).replace(b"%s", literal))
    no_change_is_bare(proxy.place)
    (key,) = {row[1] for row in undo(proxy.place)}
    return next(row[1] for row in items(proxy.place) if str(row[0]) == key)


def _plain_name(proxy: Proxy, setting: str, literal: bytes) -> Any:
    """What the server makes of the literal without a sidecar."""
    with proxy.place.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection:
        run(connection, setting)
        run(connection, b"UPDATE item SET name = " + literal + b" WHERE id = 3")
    return next(row[1] for row in items(proxy.place) if row[0] == 3)


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize("mode", MODES)
def test_modes(proxy: Proxy, mode: str, form: bytes) -> None:
    setting = f"SET sql_mode = '{mode}'"
    found = _changed_name(proxy, setting, form, MODES[mode])
    assert found == _plain_name(proxy, setting, MODES[mode])


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize("charset", CHARSETS)
def test_character_sets(proxy: Proxy, charset: str, form: bytes) -> None:
    setting = f"SET NAMES {charset}"
    found = _changed_name(proxy, setting, form, CHARSETS[charset])
    assert found == _plain_name(proxy, setting, CHARSETS[charset])
