"""What `status` tells about a transaction, from resources as they are on the wire."""

from typing import Any

import pytest

from globaltx_cli.main import main
from globaltx_cli.transactions import describe

XID = "shop.01jabcdefg0123456789"


def _transaction(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop",
            "name": "01jabcdefg0123456789",
            "creationTimestamp": "2024-06-01T12:00:00Z",
        },
        "spec": {"mode": "AT", "initiator": "aggregation", "timeoutSeconds": 60, "policy": "order"},
        "status": status,
    }


def _branch(app: str, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": f"b-{app}"},
        "spec": {"transaction": "01jabcdefg0123456789", "app": app, "resource": "orders", "mode": "AT"},
        "status": status,
    }


def test_an_undecided_transaction_without_branches() -> None:
    assert describe(_transaction(state="Active"), []) == (
        f"Transaction   {XID}\n"
        "State         Active: No outcome was taken yet; phase one is under way.\n"
        "Begun         2024-06-01T12:00:00Z by app aggregation under policy order in mode AT\n"
        "Timeout       60s\n"
        "\n"
        "No branches: nothing was changed under this xid."
    )


def test_a_transaction_that_was_rolled_back() -> None:
    transaction = _transaction(
        state="RolledBack",
        decidedAt="2024-06-01T12:00:01.000000Z",
        settledAt="2024-06-01T12:00:02.000000Z",
        duration="2.0s",
    )
    transaction["spec"] |= {
        "outcome": "Rollback",
        "outcomeReason": "RequestFailed",
        "outcomeMessage": "POST /v1/order/create2 was answered with 400",
        "decidedBy": "aggregation-1",
    }
    branch = _branch("order", state="RolledBack", reason="RolledBack", message="3 rows\nrestored")
    assert describe(transaction, [branch]) == (
        f"Transaction   {XID}\n"
        "State         RolledBack: Every branch has been undone.\n"
        "Outcome       Rollback\n"
        "Reason        RequestFailed: The initiating request was answered with a status that does not mean "
        "commit. POST /v1/order/create2 was answered with 400\n"
        "Decided       2024-06-01T12:00:01.000000Z by aggregation-1\n"
        "Begun         2024-06-01T12:00:00Z by app aggregation under policy order in mode AT\n"
        "Timeout       60s\n"
        "Settled       2024-06-01T12:00:02.000000Z after 2.0s\n"
        "\n"
        "APP     RESOURCE   MODE   STATE        REASON       MESSAGE\n"
        "order   orders     AT     RolledBack   RolledBack   3 rows restored"
    )


def test_a_reason_that_nobody_knows_is_shown_as_it_is() -> None:
    transaction = _transaction(state="Active")
    transaction["spec"] |= {"outcome": "Rollback", "outcomeReason": "FromTheFuture"}
    assert "\nReason        FromTheFuture\n" in describe(transaction, [])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["status", "Shop.1"], "is not an xid"),
        (["status", "shop.1", "-n", "other"], "is of namespace shop, but --namespace says other"),
    ],
)
def test_a_wrong_xid_is_refused_before_any_cluster_is_asked(
    line: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line) == 1
    assert complaint in capsys.readouterr().err
