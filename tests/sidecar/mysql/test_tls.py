"""TLS between sidecar and database, and between application and sidecar, with real servers and drivers."""

from __future__ import annotations

import secrets
import socket
import ssl
from contextlib import closing
from typing import TYPE_CHECKING, Any

import mysql.connector
import pymysql
import pytest

from dev.databases import MariaDB
from globaltx.coordinator.policy import Tls, TlsMode
from globaltx.transaction.states import Outcome
from globaltx.undo.table import create_undo_table
from globaltx_sidecar.branch.database import Database, DatasourceUnavailableError
from globaltx_sidecar.mysql.packets import Capability, frame
from tests.sidecar.mysql.authority import Authority
from tests.sidecar.mysql.conversation import response
from tests.sidecar.mysql.harness import ACCOUNT, PASSWORD, RESOURCE, Place, Proxy, hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.database

REQUIRED = Tls(TlsMode.REQUIRED)
VERIFIED = Tls(TlsMode.VERIFY_IDENTITY, ca_secret="ca")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("the database's authority")


@pytest.fixture(scope="module")
def secure_server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A MariaDB that lets nobody in without TLS; its certificate is for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("secure")
    authority.issue(folder, "127.0.0.1")
    options = [
        f"--ssl-ca={folder / 'ca.crt'}",
        f"--ssl-cert={folder / 'tls.crt'}",
        f"--ssl-key={folder / 'tls.key'}",
        "--require-secure-transport=ON",
    ]
    account = f"CREATE USER '{ACCOUNT}'@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO '{ACCOUNT}'@'%';"
    with MariaDB.up("tls", folder=folder / "db", durable=False, options=options, sql=account) as server:
        yield server


@pytest.fixture
def secure_place(secure_server: MariaDB) -> Iterator[Place]:
    secure_server.execute("CREATE DATABASE shop")
    secure_server.execute(
        "CREATE TABLE item (id BIGINT PRIMARY KEY, amount INT NOT NULL); INSERT INTO item VALUES (1, 100)",
        schema="shop",
    )
    secure_server.execute(create_undo_table("shop"))
    yield Place("127.0.0.1", secure_server.port, "shop")
    secure_server.execute("DROP DATABASE shop")


@pytest.fixture
def clear_place(mariadb: MariaDB) -> Iterator[Place]:
    """A schema in a MariaDB that offers no TLS."""
    assert mariadb.execute("SELECT @@have_ssl").strip() != "YES"
    name = f"t_{secrets.token_hex(6)}"
    mariadb.execute(
        f"CREATE DATABASE {name}; CREATE USER IF NOT EXISTS '{ACCOUNT}'@'%' IDENTIFIED BY '{PASSWORD}';"
        f"GRANT ALL ON {name}.* TO '{ACCOUNT}'@'%';"
    )
    yield Place("127.0.0.1", mariadb.port, name)
    mariadb.execute(f"DROP DATABASE {name}")


@pytest.fixture
def folder(credentials: Path, authority: Authority) -> Path:
    """The sidecar's files, with the right authority."""
    (credentials / RESOURCE / "ca.crt").write_bytes(authority.certificate)
    return credentials


@pytest.fixture
def through(secure_place: Place, folder: Path) -> Callable[..., Proxy]:
    return lambda tls, host="127.0.0.1": Proxy(
        Place(host, secure_place.port, secure_place.schema), folder, tls=tls
    )


def cipher(connection: Any) -> str:
    with closing(connection.cursor()) as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        return str(cursor.fetchone()[1])


def amount(server: MariaDB) -> str:
    return server.execute("SELECT amount FROM item WHERE id = 1", schema="shop").strip()


@pytest.mark.parametrize("tls", [Tls(), REQUIRED, VERIFIED], ids=lambda tls: tls.mode)
def test_a_client_in_the_clear_reaches_a_server_that_insists_on_tls(
    through: Callable[..., Proxy], tls: Tls
) -> None:
    with through(tls) as proxy, proxy.connect() as connection:
        assert cipher(connection).startswith("TLS_")
        with connection.cursor() as cursor:
            cursor.execute("SELECT REPEAT('x', 10000000)")
            assert cursor.fetchall() == (("x" * 10_000_000,),)


def test_without_tls_the_server_says_no(through: Callable[..., Proxy]) -> None:
    with through(Tls(TlsMode.DISABLED)) as proxy, pytest.raises(pymysql.OperationalError) as refused:
        proxy.connect()
    assert refused.value.args[0] == 1045


@pytest.mark.parametrize("outcome", [Outcome.COMMIT, Outcome.ROLLBACK])
def test_at_over_tls_with_prepared_statements_to_the_end(
    through: Callable[..., Proxy], secure_server: MariaDB, outcome: Outcome
) -> None:
    with through(VERIFIED) as proxy:
        xid = proxy.begin()
        options = {"user": ACCOUNT, "password": PASSWORD, "database": "shop", "use_pure": True}
        with (
            closing(mysql.connector.connect(host="127.0.0.1", port=proxy.port, **options)) as connection,
            closing(connection.cursor(prepared=True)) as cursor,
        ):
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = amount - ? WHERE id = ?", (30, 1))
            connection.commit()
        assert amount(secure_server) == "70"
        proxy.decide(xid, outcome)
        proxy.carry_out(xid, outcome)
        assert amount(secure_server) == ("70" if outcome is Outcome.COMMIT else "100")
        assert proxy.place.rows("SELECT COUNT(*) FROM globaltx_undo WHERE table_name <> ''") == [(0,)]


def test_a_wrong_authority_is_refused(through: Callable[..., Proxy], folder: Path) -> None:
    (folder / RESOURCE / "ca.crt").write_bytes(Authority("somebody else").certificate)
    with through(VERIFIED) as proxy, pytest.raises(pymysql.OperationalError) as refused:
        proxy.connect()
    assert refused.value.args[0] == 2026
    assert "no TLS with the database: the server's certificate is refused" in refused.value.args[1]


def test_a_wrong_name_is_refused(through: Callable[..., Proxy]) -> None:
    with through(VERIFIED, host="localhost") as proxy, pytest.raises(pymysql.OperationalError) as refused:
        proxy.connect()
    assert refused.value.args[0] == 2026
    assert "localhost" in refused.value.args[1]


def test_an_authority_that_is_missing_is_told_and_found_later(
    through: Callable[..., Proxy], folder: Path, authority: Authority
) -> None:
    (folder / RESOURCE / "ca.crt").unlink()
    with through(VERIFIED) as proxy:
        with pytest.raises(pymysql.OperationalError, match=r"ca\.crt cannot be used for TLS"):
            proxy.connect()
        (folder / RESOURCE / "ca.crt").write_bytes(authority.certificate)
        with proxy.connect() as connection:
            assert cipher(connection)


@pytest.mark.parametrize("tls", [REQUIRED, VERIFIED], ids=lambda tls: tls.mode)
def test_a_server_without_tls_is_refused_where_it_is_required(
    clear_place: Place, folder: Path, tls: Tls
) -> None:
    with Proxy(clear_place, folder, tls=tls) as proxy, pytest.raises(pymysql.OperationalError) as refused:
        proxy.connect()
    assert refused.value.args[0] == 2026
    assert "offers no TLS" in refused.value.args[1]


def test_tls_all_the_way_and_only_then(through: Callable[..., Proxy], folder: Path) -> None:
    application = Authority("the pod's authority")
    application.issue(folder / RESOURCE, "127.0.0.1", chain=False)
    trusted = folder / "pod.crt"
    trusted.write_bytes(application.certificate)
    options = {"ssl_ca": str(trusted), "ssl_verify_identity": True}
    tls = Tls(TlsMode.VERIFY_IDENTITY, "ca", "shown")
    with through(tls) as proxy:
        with proxy.connect(**options) as connection:
            assert connection._secure
            assert cipher(connection).startswith("TLS_")
        with proxy.connect(ssl_disabled=True) as connection:
            assert cipher(connection).startswith("TLS_")
        application.issue(folder / RESOURCE, "elsewhere", chain=False)  # renewed without a restart
        with pytest.raises(pymysql.OperationalError, match="IP address mismatch"):
            proxy.connect(**options)


def test_the_application_is_offered_no_tls_that_would_end_in_the_clear(
    clear_place: Place, folder: Path
) -> None:
    Authority("the pod's authority").issue(folder / RESOURCE, "127.0.0.1", chain=False)
    with Proxy(clear_place, folder, tls=Tls(server_secret="shown")) as proxy:
        with proxy.connect() as connection:
            assert not connection._secure
            assert not cipher(connection)
        with pytest.raises(pymysql.OperationalError):
            proxy.connect(ssl={"check_hostname": False})


def test_a_client_that_sends_tls_along_with_its_request(through: Callable[..., Proxy], folder: Path) -> None:
    Authority("the pod's authority").issue(folder / RESOURCE, "127.0.0.1", chain=False)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        through(Tls(server_secret="shown")) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as raw,
    ):
        raw.settimeout(20)
        greeting = raw.recv(4096)
        assert greeting[3] == 0
        come, gone = ssl.MemoryBIO(), ssl.MemoryBIO()
        speech = context.wrap_bio(come, gone)
        with pytest.raises(ssl.SSLWantReadError):
            speech.do_handshake()
        raw.sendall(frame(response(_FLAGS)[:32], 1) + gone.read())
        while True:
            come.write(raw.recv(4096))
            try:
                speech.do_handshake()
            except ssl.SSLWantReadError:
                continue
            break
        raw.sendall(gone.read())
        assert speech.version() == "TLSv1.3"


_FLAGS = int(Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH | Capability.SSL)


async def test_phase_two_keeps_to_the_same_tls(secure_place: Place, clear_place: Place, folder: Path) -> None:
    found = Database(secure_place.datasource(VERIFIED), str(folder))
    async with found.session() as session:
        assert (await session.rows("SHOW STATUS LIKE 'Ssl_cipher'"))[0][1].startswith("TLS_")
    found.close()
    clear = Database(secure_place.datasource(Tls(TlsMode.DISABLED)), str(folder))
    with pytest.raises(DatasourceUnavailableError):
        async with clear.session():
            pass
    for tls in (REQUIRED, VERIFIED):
        refused = Database(clear_place.datasource(tls), str(folder))
        with pytest.raises(DatasourceUnavailableError, match="offers no TLS"):
            async with refused.session():
                pass
    (folder / RESOURCE / "ca.crt").write_bytes(Authority("somebody else").certificate)
    wrong = Database(secure_place.datasource(VERIFIED), str(folder))
    with pytest.raises(DatasourceUnavailableError, match="refused"):
        async with wrong.session():
            pass
