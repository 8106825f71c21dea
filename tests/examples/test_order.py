"""The order sample without globaltx: what its services do when nobody undoes anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from dev.databases import MariaDB
from dev.waiting import wait_for
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "01-order"
XID = "shop.01jabcdefg0123456789"
MASTER_COLUMNS = (
    "buyer_user_sysno",
    "seller_company_code",
    "receive_division_sysno",
    "receive_address",
    "receive_zip",
    "receive_contact",
    "receive_contact_phone",
    "stock_sysno",
    "payment_type",
    "so_amt",
    "status",
    "appid",
)


@dataclass(frozen=True)
class Shop:
    """The three services as processes of this machine."""

    server: MariaDB
    aggregation: int
    order: int
    order_process: subprocess.Popen[bytes]

    def post(self, path: str, xid: str | None = XID) -> tuple[int, dict[str, object]]:
        return _post(self.aggregation, path, {"x-dbpack-xid": xid} if xid else {})

    def rows(self) -> tuple[int, ...]:
        counted = self.server.execute(
            "SELECT (SELECT COUNT(*) FROM `order`.so_master), (SELECT COUNT(*) FROM `order`.so_item), "
            "(SELECT available_qty FROM product.inventory)"
        )
        return tuple(int(each) for each in counted.split())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB.up(folder=tmp_path_factory.mktemp("mariadb") / "db", durable=False) as database:
        yield database


@pytest.fixture
def shop(server: MariaDB) -> Iterator[Shop]:
    server.execute("DROP DATABASE IF EXISTS `order`; DROP DATABASE IF EXISTS product")
    for file in ("order", "product", "accounts"):
        server.execute((SAMPLE / "database" / "sql" / f"{file}.sql").read_text())
    with ExitStack() as stack:
        order = stack.enter_context(_service("order", server, "order"))
        product = stack.enter_context(_service("product", server, "product"))
        aggregation = stack.enter_context(
            _service(
                "aggregation",
                server,
                "",
                ORDER_URL=f"http://127.0.0.1:{order[0]}",
                PRODUCT_URL=f"http://127.0.0.1:{product[0]}",
            )
        )
        yield Shop(server, aggregation[0], *order)


@contextmanager
def _service(
    name: str, server: MariaDB, schema: str, **variables: str
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    environment = os.environ | {
        "PORT": str(port),
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": str(server.port),
        "DATABASE_NAME": schema,
        "DATABASE_USER": "dksl",
        "DATABASE_PASSWORD": "123456",
        **variables,
    }
    with subprocess.Popen(
        [sys.executable, f"{name}.py"],
        cwd=SAMPLE / "services",
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(f"the {name} service", lambda: _healthy(port), seconds=60)
            yield port, process
        finally:
            process.kill()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _post(
    port: int, path: str, headers: dict[str, str], body: object = None
) -> tuple[int, dict[str, object]]:
    data = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        headers = headers | {"Content-Type": "application/json"}
    call = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method="POST")
    try:
        with urllib.request.urlopen(call, timeout=60) as answer:  # noqa: S310  our own address
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.database
def test_both_services_commit_and_nobody_undoes_it(shop: Shop) -> None:
    assert shop.post("/v1/order/create") == (200, {"success": True, "message": "success"})
    assert shop.rows() == (1, 1, 999_998)
    status, body = shop.post("/v1/order/create2")
    assert (status, body["success"]) == (400, False)
    assert shop.rows() == (2, 2, 999_996)


@pytest.mark.database
def test_without_an_xid_nothing_is_done(shop: Shop) -> None:
    status, body = shop.post("/v1/order/create", xid=None)
    assert status == 400
    assert "is this pod injected?" in str(body["message"])
    assert shop.rows() == (0, 0, 1_000_000)


@pytest.mark.database
def test_text_that_is_no_xid_does_not_reach_the_database(shop: Shop) -> None:
    status, body = shop.post("/v1/order/create", xid="x') */ INTO mysql.user --")
    assert status == 400
    assert "holds no xid" in str(body["message"])
    assert shop.rows() == (0, 0, 1_000_000)


@pytest.mark.database
def test_an_order_with_a_bad_item_leaves_no_master_behind(shop: Shop) -> None:
    order: dict[str, object] = dict.fromkeys(MASTER_COLUMNS, "1") | {"so_items": [{}]}
    status, _ = _post(shop.order, "/createSo", {"xid": XID}, {"req": [order]})
    assert status == 400
    assert shop.rows() == (0, 0, 1_000_000)


@pytest.mark.database
def test_a_sold_out_product_is_refused(shop: Shop) -> None:
    shop.server.execute("UPDATE product.inventory SET available_qty = 1")
    status, body = shop.post("/v1/order/create")
    assert status == 400
    assert "fewer than 2 pieces" in str(body["message"])


@pytest.mark.database
def test_a_service_that_dies_while_it_holds_its_answer_fails_the_order(shop: Shop) -> None:
    call = f"http://127.0.0.1:{shop.aggregation}/v1/order/create?hold=after-commit"
    with subprocess.Popen(
        [sys.executable, "-c", _CLIENT, call, XID], stdout=subprocess.PIPE, text=True
    ) as client:
        wait_for("the local commit", lambda: shop.rows() == (1, 1, 1_000_000), seconds=60)
        assert client.poll() is None
        shop.order_process.kill()
        said, _ = client.communicate(timeout=60)
    assert said.startswith("400")


@pytest.mark.database
def test_a_held_answer_goes_out_when_it_is_released(shop: Shop) -> None:
    call = f"http://127.0.0.1:{shop.aggregation}/v1/order/create?hold=after-commit"
    with subprocess.Popen(
        [sys.executable, "-c", _CLIENT, call, XID], stdout=subprocess.PIPE, text=True
    ) as client:
        wait_for("the local commit", lambda: shop.rows() == (1, 1, 1_000_000), seconds=60)
        assert _post(shop.order, "/release", {})[0] == 200
        said, _ = client.communicate(timeout=60)
    assert said.startswith("200")
    assert shop.rows() == (1, 1, 999_998)


_CLIENT = """
import sys, urllib.error, urllib.request
call = urllib.request.Request(sys.argv[1], b"", {"x-dbpack-xid": sys.argv[2]}, method="POST")
try:
    print(urllib.request.urlopen(call, timeout=60).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_accounts_and_secrets_have_the_same_passwords() -> None:
    sql = (SAMPLE / "database" / "sql" / "accounts.sql").read_text()
    secrets = list(yaml.safe_load_all((SAMPLE / "manifests" / "secrets.yaml").read_text()))
    for secret in secrets:
        user, password = secret["stringData"]["username"], secret["stringData"]["password"]
        assert f"CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{password}';" in sql
    assert len(secrets) == sql.count("CREATE USER")
