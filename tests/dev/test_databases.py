from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pymysql
import pytest

from dev.databases import MariaDB, MySQL
from dev.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.databases import Server

SETUP = """\
CREATE DATABASE IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.item (id INT PRIMARY KEY, name VARCHAR(20));
CREATE USER IF NOT EXISTS 'app'@'%' IDENTIFIED BY 'secret';
GRANT ALL ON shop.* TO 'app'@'%';
"""


@pytest.fixture(
    scope="module",
    params=[pytest.param(MariaDB, marks=pytest.mark.database), pytest.param(MySQL, marks=pytest.mark.mysql)],
    ids=lambda kind: kind.kind,
)
def kind(request: pytest.FixtureRequest) -> type[Server]:
    chosen: type[Server] = request.param
    return chosen


@pytest.fixture(scope="module")
def server(kind: type[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with kind.up(folder=tmp_path_factory.mktemp("db") / "server", sql=SETUP) as server:
        yield server


def test_an_application_enters_by_its_port(server: Server) -> None:
    connection = pymysql.connect(host="127.0.0.1", port=server.port, user="app", password="secret")
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES LIKE 'shop'")
        assert cursor.fetchall() == (("shop",),)


def test_root_enters_by_the_socket_only(server: Server) -> None:
    assert server.execute("SELECT CURRENT_USER()").startswith("root@localhost")
    with pytest.raises(pymysql.err.OperationalError):
        pymysql.connect(host="127.0.0.1", port=server.port, user="root")


def test_a_second_up_leaves_it_running(kind: type[Server], server: Server) -> None:
    again = kind.up(folder=server.folder, sql=SETUP)
    assert again.process == server.process
    assert again.port == server.port


def test_what_was_committed_survives_a_crash(server: Server) -> None:
    server.execute("REPLACE INTO item VALUES (1, 'äöü')", schema="shop")
    server.crash()
    assert server.process is None
    with pytest.raises(ToolError):
        server.execute("SELECT 1")
    server.start()
    assert server.execute("SELECT name FROM item WHERE id = 1", schema="shop") == "äöü\n"


def test_a_restart_keeps_the_port(server: Server) -> None:
    port, process = server.port, server.process
    server.restart()
    assert server.port == port
    assert server.process != process


def test_two_servers_run_side_by_side(kind: type[Server], server: Server, tmp_path: Path) -> None:
    with kind.up(folder=tmp_path / "other", options=["--sql-mode=ANSI"]) as other:
        assert other.port != server.port
        assert "ANSI" in other.execute("SELECT @@sql_mode")
    assert list(tmp_path.iterdir()) == []


def test_wrong_sql_is_told_with_the_servers_words(server: Server) -> None:
    with pytest.raises(ToolError, match="Unknown column"):
        server.execute("SELECT nonsense")


def test_a_server_that_cannot_start_is_told_with_its_last_words(kind: type[Server], tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="unknown option"):
        kind.up(folder=tmp_path / "db", options=["--no-such-option"])


def test_a_name_that_could_leave_the_folder_is_refused(kind: type[Server]) -> None:
    with pytest.raises(ToolError, match="cannot name a database"):
        kind.of("../up")
    assert MariaDB.of("shop").folder != MySQL.of("shop").folder


def test_a_server_that_was_killed_with_its_starter_is_found_and_ended(
    kind: type[Server], tmp_path: Path
) -> None:
    """Nothing but its process and its folder tells of it: no mount, no file of process ids."""
    kind.up(folder=tmp_path / "db")
    left = kind(tmp_path / "db", bind=(), options=(), durable=True)
    found = left.process
    assert found is not None
    left.down()
    assert left.process is None
    assert list(tmp_path.iterdir()) == []
    mounts = Path("/proc/mounts")
    assert not mounts.exists() or str(tmp_path) not in mounts.read_text()


def test_starting_a_server_leaves_the_temporary_tables_of_others_alone(
    server: Server, tmp_path: Path
) -> None:
    temporary = Path(server.execute("SELECT @@tmpdir").strip())
    assert temporary.is_relative_to(server.folder)
    table = temporary / "#sql-temptable-1-2-3.MAI"
    table.touch()
    with type(server).up(folder=tmp_path / "other"):
        assert table.exists()
