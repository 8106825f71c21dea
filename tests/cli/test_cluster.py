"""The commands against a real API server, and `check` against a real database too."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from globaltx.manifest.resources import (
    branch_to_resource,
    decision_spec,
    settlement_status,
    transaction_to_resource,
)
from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction, Settlement
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid
from globaltx_cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.cluster import Cluster
    from dev.databases import MariaDB


NAME = "01jabcdefg0123456789"


@pytest.fixture
def globaltx(control_plane: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a command in a namespace of the test's own."""
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    location = "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
    monkeypatch.setattr(location, str(control_plane.kubeconfig))
    return lambda *words: main([*words, "-n", namespace])


def _apply(cluster: Cluster, *manifests: dict[str, Any], status: bool = False) -> None:
    part = ["--subresource=status"] if status else []
    cluster.kubectl("apply", "--server-side", *part, "-f", "-", stdin=yaml.safe_dump_all(manifests))


def _rolled_back(cluster: Cluster, namespace: str) -> None:
    xid, now = Xid(namespace, NAME), datetime.now(UTC)
    transaction = transaction_to_resource(GlobalTransaction(xid, "aggregation", timedelta(seconds=60)))
    branch = branch_to_resource(Branch(BranchId(xid, "order", "orders"), outcome=Outcome.ROLLBACK))
    transaction["spec"] |= decision_spec(Decision(Outcome.ROLLBACK, "RequestFailed", "answered with 400"))
    _apply(cluster, transaction, branch)
    settlement = Settlement(State.ROLLED_BACK, "RolledBack", "2 rows restored")
    branch["status"] = settlement_status(settlement, now)
    transaction["status"] = {"state": "RolledBack", "branches": "1/1"}
    _apply(cluster, transaction, branch, status=True)


def test_an_empty_namespace(globaltx: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert globaltx("get") == 0
    assert capsys.readouterr().out.startswith("No global transactions in namespace t-")


def test_get_and_status(
    control_plane: Cluster,
    namespace: str,
    globaltx: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    _rolled_back(control_plane, namespace)
    assert globaltx("get") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAMESPACE", "NAME", "MODE", "STATE", "BRANCHES", "REASON", "APP", "AGE"]
    assert row.split()[:-1] == [namespace, NAME, "AT", "RolledBack", "1/1", "RequestFailed", "aggregation"]
    assert globaltx("get", "--state", "Committed") == 0
    assert "No global transactions" in capsys.readouterr().out
    assert globaltx("status", f"{namespace}.{NAME}") == 0
    told = capsys.readouterr().out
    assert "RequestFailed" in told
    assert told.splitlines()[-1].split()[:4] == ["order", "orders", "AT", "RolledBack"]
    assert "2 rows restored" in told
    assert globaltx("status", NAME, "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["transaction"]["metadata"]["name"] == NAME
    assert [each["spec"]["app"] for each in found["branches"]] == ["order"]


def test_an_xid_that_nobody_knows(globaltx: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert globaltx("status", "nothing") == 1
    assert "there is no GlobalTransaction" in capsys.readouterr().err


def test_a_context_that_is_not_there(
    globaltx: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert globaltx("get", "--context", "elsewhere") == 1
    assert "choose with --context" in capsys.readouterr().err


POLICY = {
    "apiVersion": "globaltx.io/v1alpha1",
    "kind": "TransactionPolicy",
    "spec": {
        "datasources": [
            {
                "name": "orders",
                "host": "orders.example.internal",
                "schema": "cli_check",
                "aliases": ["orders-db"],
                "secretName": "phase-two",
                "manageUndoTable": False,
            }
        ]
    },
}


def test_check_without_a_policy(globaltx: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert globaltx("check") == 1
    assert "has no TransactionPolicy" in capsys.readouterr().out


def test_check_names_a_missing_secret_and_a_pod_without_sidecar(
    control_plane: Cluster,
    namespace: str,
    globaltx: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "order",
            "namespace": namespace,
            "annotations": {"globaltx.io/inject": "true"},
        },
        "spec": {"containers": [{"name": "order", "image": "none"}], "automountServiceAccountToken": False},
    }
    policy = POLICY | {"metadata": {"name": "orders", "namespace": namespace}}
    _apply(control_plane, policy, pod)
    assert globaltx("check") == 1
    told = capsys.readouterr().out
    assert "Secret phase-two does not exist" in told
    assert "asks for injection and has no sidecar" in told
    assert "2 problems" in told


@pytest.mark.database
def test_check_tells_when_the_application_lacks_rights(
    control_plane: Cluster,
    namespace: str,
    server: MariaDB,
    globaltx: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.execute(
        "CREATE DATABASE cli_check; CREATE USER cli_two IDENTIFIED BY 'two';"
        "GRANT ALL ON cli_check.* TO cli_two;"
        "CREATE USER cli_app IDENTIFIED BY 'app'; GRANT SELECT, CREATE ON cli_check.* TO cli_app"
    )
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": {"username": user, "password": password},
        }
        for name, user, password in (("phase-two", "cli_two", "two"), ("app", "cli_app", "app"))
    ]
    _apply(control_plane, POLICY | {"metadata": {"name": "orders", "namespace": namespace}}, *secrets)
    line = ("check", "--address", f"orders=127.0.0.1:{server.port}", "--app-secret", "orders=app")
    assert globaltx(*line) == 1
    assert "globaltx_undo is missing: run `globaltx schema cli_check`" in capsys.readouterr().out
    main(["schema", "cli_check", "--app-account", "'cli_two'@'%'", "--sidecar-account", "'cli_two'@'%'"])
    server.execute(capsys.readouterr().out)
    assert globaltx(*line) == 1
    told = capsys.readouterr().out
    assert "the application's account cli_app lacks INSERT, UPDATE, DELETE" in told
    assert "the sidecars' account cli_two has its rights" in told
    assert "two" not in told.replace("cli_two", "").replace("phase-two", "")
    server.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON cli_check.* TO cli_app")
    assert globaltx(*line) == 0


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--address=orders", "write DATASOURCE="),
        ("--address=orders=here", "is not HOST:PORT"),
        ("--app-secret=nobody=app", "no policy has this datasource"),
    ],
)
def test_check_refuses_a_wrong_option(
    globaltx: Callable[..., int], capsys: pytest.CaptureFixture[str], option: str, complaint: str
) -> None:
    assert globaltx("check", option) == 1
    assert complaint in capsys.readouterr().err
