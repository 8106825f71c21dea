from __future__ import annotations

from typing import TYPE_CHECKING

import pymysql
import pytest

from dev.databases import MariaDB
from dev.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.database
SETUP = """\
CREATE DATABASE IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.item (id INT PRIMARY KEY, name VARCHAR(20));
CREATE USER IF NOT EXISTS 'app'@'%' IDENTIFIED BY 'secret';
GRANT ALL ON shop.* TO 'app'@'%';
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB.up(folder=tmp_path_factory.mktemp("db") / "server", sql=SETUP) as server:
        yield server


def test_an_application_enters_by_its_port(server: MariaDB) -> None:
    connection = pymysql.connect(host="127.0.0.1", port=server.port, user="app", password="secret")
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES LIKE 'shop'")
        assert cursor.fetchall() == (("shop",),)


def test_root_enters_by_the_socket_only(server: MariaDB) -> None:
    assert server.execute("SELECT CURRENT_USER()").startswith("root@localhost")
    with pytest.raises(pymysql.err.OperationalError):
        pymysql.connect(host="127.0.0.1", port=server.port, user="root")


def test_a_second_up_leaves_it_running(server: MariaDB) -> None:
    again = MariaDB.up(folder=server.folder, sql=SETUP)
    assert again.process == server.process
    assert again.port == server.port


def test_what_was_committed_survives_a_crash(server: MariaDB) -> None:
    server.execute("REPLACE INTO item VALUES (1, 'äöü')", schema="shop")
    server.crash()
    assert server.process is None
    with pytest.raises(ToolError):
        server.execute("SELECT 1")
    server.start()
    assert server.execute("SELECT name FROM item WHERE id = 1", schema="shop") == "äöü\n"


def test_a_restart_keeps_the_port(server: MariaDB) -> None:
    port, process = server.port, server.process
    server.restart()
    assert server.port == port
    assert server.process != process


def test_two_servers_run_side_by_side(server: MariaDB, tmp_path: Path) -> None:
    with MariaDB.up(folder=tmp_path / "other", options=["--sql-mode=ANSI"]) as other:
        assert other.port != server.port
        assert "ANSI" in other.execute("SELECT @@sql_mode")
    assert list(tmp_path.iterdir()) == []


def test_wrong_sql_is_told_with_the_servers_words(server: MariaDB) -> None:
    with pytest.raises(ToolError, match="Unknown column"):
        server.execute("SELECT nonsense")


def test_a_server_that_cannot_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="unknown option"):
        MariaDB.up(folder=tmp_path / "db", options=["--no-such-option"])
