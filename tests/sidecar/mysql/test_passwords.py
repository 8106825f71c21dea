"""MySQL's own ways of logging in, through the sidecar and by its own account."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import aiomysql
import pymysql
import pytest
from pymysql import _auth

from globaltx.coordinator.policy import Datasource, Tls, TlsMode
from globaltx_sidecar.branch.database import Database, DatasourceUnavailableError
from tests.conftest import ON_MYSQL
from tests.sidecar.mysql.harness import ACCOUNT, PASSWORD, RESOURCE, Proxy
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from pathlib import Path

    from dev.databases import Server
    from tests.sidecar.mysql.harness import Place

pytestmark = ON_MYSQL


@pytest.fixture
def enciphered(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Each password that the driver enciphers with an RSA key, which it does only in the full exchange."""
    passwords: list[bytes] = []
    encipher = _auth.sha2_rsa_encrypt

    def noted(password: bytes, salt: bytes, key: bytes) -> Any:
        passwords.append(password)
        return encipher(password, salt, key)

    monkeypatch.setattr(_auth, "sha2_rsa_encrypt", noted)
    return passwords


def forget_passwords(server: Server) -> None:
    """Empty the cache that lets a known password in by its digest."""
    server.execute("FLUSH PRIVILEGES")


def test_a_password_is_enciphered_once_and_known_from_then_on(
    server: Server, proxy: Proxy, enciphered: list[bytes]
) -> None:
    forget_passwords(server)
    for _ in range(2):
        with proxy.connect(ssl_disabled=True) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT CURRENT_USER()")
            assert cursor.fetchone() == (f"{ACCOUNT}@%",)
        assert enciphered == [PASSWORD.encode()]


def test_a_wrong_password_is_refused_in_both_exchanges(
    server: Server, proxy: Proxy, enciphered: list[bytes]
) -> None:
    forget_passwords(server)
    for _ in range(2):
        with pytest.raises(pymysql.OperationalError) as refused:
            proxy.connect(password="wrong", ssl_disabled=True)
        assert refused.value.args[0] == 1045
        proxy.connect(ssl_disabled=True).close()  # known from here on
    assert enciphered == [b"wrong", PASSWORD.encode(), b"wrong"]


def test_change_user_with_a_password_that_is_not_known_yet(server: Server, proxy: Proxy) -> None:
    other = f"o{proxy.place.schema}"
    server.execute(f"CREATE USER {other}@'%' IDENTIFIED BY ''; GRANT ALL ON *.* TO {other}@'%'")
    with closing(connector(proxy)) as connection:
        connection.cmd_change_user(username=other, password="", database=proxy.place.schema)
        cursor = connection.cursor()
        cursor.execute("SELECT CURRENT_USER()")
        assert cursor.fetchall() == [(f"{other}@%",)]


async def test_a_client_that_begins_with_the_old_plugin_is_switched(
    server: Server, proxy: Proxy, enciphered: list[bytes]
) -> None:
    forget_passwords(server)
    connection = await aiomysql.connect(
        host="127.0.0.1",
        port=proxy.port,
        user=ACCOUNT,
        password=PASSWORD,
        auth_plugin="mysql_native_password",
    )
    await connection.ping()
    await connection.ensure_closed()
    assert enciphered == [PASSWORD.encode()]


def test_accounts_of_the_old_plugin_are_gone(server: Server) -> None:
    with pytest.raises(Exception, match="'mysql_native_password' is not loaded"):
        server.execute("CREATE USER old@'%' IDENTIFIED WITH mysql_native_password BY 'x'")


def test_a_driver_that_enciphers_nothing(server: Server, proxy: Proxy) -> None:
    """It says its password as it is, on loopback; the server takes that because it hears it over TLS."""
    forget_passwords(server)
    for _ in range(2):
        with closing(connector(proxy, ssl_disabled=True)) as connection:
            connection.cmd_ping()


@pytest.mark.parametrize("mode", [TlsMode.DISABLED, TlsMode.PREFERRED, TlsMode.REQUIRED])
async def test_phase_twos_account_gets_in(
    server: Server, place: Place, credentials: Path, enciphered: list[bytes], mode: TlsMode
) -> None:
    forget_passwords(server)
    for _ in range(2):
        database = _database(place, credentials, mode)
        async with database.session() as session:
            rows = await session.rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        database.close()
        assert bool(rows[0][1]) is (mode is not TlsMode.DISABLED)
    assert len(enciphered) == (mode is TlsMode.DISABLED)


async def test_an_account_that_must_use_tls(server: Server, place: Place, credentials: Path) -> None:
    server.execute(f"ALTER USER '{ACCOUNT}'@'%' REQUIRE SSL")
    try:
        with pytest.raises(DatasourceUnavailableError, match="Access denied"):
            await _asked(_database(place, credentials, TlsMode.DISABLED))
        assert await _asked(_database(place, credentials, TlsMode.PREFERRED)) == 1
    finally:
        server.execute(f"ALTER USER '{ACCOUNT}'@'%' REQUIRE NONE")


async def _asked(database: Database) -> int:
    async with database.session() as session:
        rows = await session.rows("SELECT 1")
    database.close()
    return int(rows[0][0])


def _database(place: Place, credentials: Path, mode: TlsMode) -> Database:
    datasource = Datasource(RESOURCE, place.host, place.schema, "-", port=place.port, tls=Tls(mode))
    return Database(datasource, str(credentials))
