"""`schema` prints SQL that a server takes, and that gives exactly the rights which `check` looks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from globaltx.modes.guard_row import GUARD_TABLE
from globaltx_cli.database import Account, Address, Rights, UnreachableError, rights
from globaltx_cli.main import main
from globaltx_cli.schema import statements

if TYPE_CHECKING:
    from dev.databases import MariaDB

APP = "'app'@'127.0.0.1'"
SIDECAR = "'side`car'@'127.0.0.1'"


def test_an_account_that_is_not_written_as_sql_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "orders", "--app-account", "app'; DROP TABLE x"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "'USER'@'HOST'" in err


def test_a_schema_of_any_name_is_quoted() -> None:
    assert "`or``der`.globaltx_undo" in statements("or`der", APP, SIDECAR)


@pytest.mark.database
def test_a_server_takes_the_statements(server: MariaDB) -> None:
    schema, account = _schema(server, "printed")
    assert rights(_address(server), account, schema) == Rights(table_missing=True, missing=())
    server.execute(statements(schema, f"'{account.user}'@'%'", f"'{account.user}'@'%'"))
    assert rights(_address(server), account, schema) == Rights(table_missing=False, missing=())


@pytest.mark.database
def test_a_server_takes_the_guard_table_too(server: MariaDB) -> None:
    schema, account = _schema(server, "guard")
    name = f"'{account.user}'@'%'"
    server.execute(statements(schema, name, name))
    assert rights(_address(server), account, schema, table=GUARD_TABLE).table_missing
    server.execute(statements(schema, name, name, guard=True))
    server.execute(f"REVOKE ALL ON `{schema}`.* FROM {name}")
    assert rights(_address(server), account, schema, table=GUARD_TABLE) == Rights(
        table_missing=False, missing=()
    )
    server.execute(f"REVOKE INSERT ON `{schema}`.globaltx_guard FROM {name}")
    assert rights(_address(server), account, schema, table=GUARD_TABLE).missing == ("INSERT",)


@pytest.mark.database
@pytest.mark.parametrize("right", ["SELECT", "INSERT", "UPDATE", "DELETE"])
def test_a_right_that_is_missing_is_named(server: MariaDB, right: str) -> None:
    schema, account = _schema(server, f"lacks_{right.lower()}")
    server.execute(statements(schema, f"'{account.user}'@'%'", f"'{account.user}'@'%'"))
    server.execute(
        f"REVOKE ALL ON `{schema}`.* FROM '{account.user}'@'%';"
        f"REVOKE {right} ON `{schema}`.globaltx_undo FROM '{account.user}'@'%'"
    )
    assert right in rights(_address(server), account, schema).missing


@pytest.mark.database
def test_an_account_that_does_not_see_triggers(server: MariaDB) -> None:
    schema, account = _schema(server, "triggers")
    server.execute(statements(schema, f"'{account.user}'@'%'", f"'{account.user}'@'%'"))
    assert rights(_address(server), account, schema, triggers=True).missing == ()
    server.execute(f"REVOKE TRIGGER ON `{schema}`.* FROM '{account.user}'@'%'")
    assert rights(_address(server), account, schema, triggers=True).missing == ("TRIGGER",)
    assert rights(_address(server), account, schema).missing == ()


@pytest.mark.database
def test_a_login_that_is_refused_tells_neither_way(server: MariaDB) -> None:
    schema, account = _schema(server, "refused")
    with pytest.raises(UnreachableError, match="Access denied") as refused:
        rights(_address(server), Account(account.user, "not the password"), schema)
    assert "not the password" not in str(refused.value)


def _schema(server: MariaDB, name: str) -> tuple[str, Account]:
    """A schema and an account of the test's own, which may enter it and nothing more."""
    schema, account = f"cli_{name}", Account(f"cli_{name}", "secret")
    server.execute(
        f"CREATE DATABASE `{schema}`; CREATE USER '{account.user}'@'%' IDENTIFIED BY '{account.password}';"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{schema}`.* TO '{account.user}'@'%'"
    )
    return schema, account


def _address(server: MariaDB) -> Address:
    return Address("127.0.0.1", server.port)
