"""Resources and the model: what is written is read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.manifest.check import problems
from globaltx.manifest.resources import (
    FINALIZER,
    InvalidResourceError,
    branch_from_resource,
    branch_to_resource,
    settlement_status,
    transaction_from_resource,
    transaction_to_resource,
)
from globaltx.manifest.schemas import branches as branch_schema
from globaltx.manifest.schemas import transactions as transaction_schema
from globaltx.transaction.model import (
    Branch,
    BranchId,
    Decision,
    GlobalTransaction,
    Mode,
    Settlement,
)
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid

XID = Xid("shop", "01abc")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
reasons = st.from_regex(r"[A-Z][A-Za-z]{0,20}", fullmatch=True)
decisions = st.builds(
    Decision, outcome=st.sampled_from(Outcome), reason=reasons, message=st.text(max_size=1024), by=names
)
transactions = st.builds(
    GlobalTransaction,
    xid=st.builds(Xid, names, names),
    initiator=names,
    timeout=st.integers(1, 10**5).map(lambda seconds: timedelta(seconds=seconds)),
    mode=st.sampled_from(Mode),
    policy=st.just("") | names,
    ttl=st.integers(0, 10**5).map(lambda seconds: timedelta(seconds=seconds)),
    decision=st.none() | decisions,
)


@given(transactions)
def test_a_transaction_is_read_as_it_was_written(transaction: GlobalTransaction) -> None:
    resource = transaction_to_resource(transaction)
    assert transaction_from_resource(resource) == transaction
    assert list(problems(transaction_schema.spec(), resource["spec"])) == []
    assert resource["metadata"]["finalizers"] == [FINALIZER]


@given(names, names, st.sampled_from(Mode), st.none() | st.sampled_from(Outcome))
def test_a_branch_is_read_as_it_was_written(
    app: str, datasource: str, mode: Mode, outcome: Outcome | None
) -> None:
    branch = Branch(BranchId(XID, app, datasource), mode, outcome)
    resource = branch_to_resource(branch)
    assert branch_from_resource(resource) == branch
    assert list(problems(branch_schema.spec(), resource["spec"])) == []
    assert resource["metadata"]["labels"] == {"globaltx.io/transaction": "01abc", "globaltx.io/app": app}


@given(st.sampled_from([State.COMMITTED, State.ROLLED_BACK, State.CONFLICT]), st.text(max_size=3000))
def test_a_settlement_is_read_as_it_was_written_but_for_its_length(state: State, message: str) -> None:
    status = settlement_status(Settlement(state, "Reason", message), NOW)
    assert list(problems(branch_schema.status(), status)) == []
    found = branch_from_resource({**branch_to_resource(Branch(BranchId(XID, "a", "b"))), "status": status})
    assert (found.state, found.reason) == (state, "Reason")
    assert found.message == (message if len(message) <= 1024 else message[:1021] + "...")
    assert ("settledAt" in status) == (state is not State.CONFLICT)
    expected = {State.COMMITTED: "True", State.ROLLED_BACK: "False", State.CONFLICT: "False"}
    assert status["conditions"][0]["status"] == expected[state]


def test_fractions_of_a_second_are_rounded_up() -> None:
    transaction = GlobalTransaction(XID, "a", timedelta(milliseconds=1), ttl=timedelta(seconds=1.5))
    spec = transaction_to_resource(transaction)["spec"]
    assert (spec["timeoutSeconds"], spec["ttlSecondsAfterFinished"]) == (1, 2)


def without(resource: dict[str, Any], field: str) -> dict[str, Any]:
    return {**resource, "spec": {name: each for name, each in resource["spec"].items() if name != field}}


def test_a_resource_that_cannot_be_read_says_which_field() -> None:
    whole = transaction_to_resource(GlobalTransaction(XID, "a", timedelta(seconds=1)))
    with pytest.raises(InvalidResourceError, match=r"GlobalTransaction shop/01abc .* 'initiator' is missing"):
        transaction_from_resource(without(whole, "initiator"))
    with pytest.raises(InvalidResourceError, match="'XYZ' is not a valid Mode"):
        transaction_from_resource({**whole, "spec": {**whole["spec"], "mode": "XYZ"}})
    branch = branch_to_resource(Branch(BranchId(XID, "a", "b")))
    with pytest.raises(InvalidResourceError, match="'app' is missing"):
        branch_from_resource(without(branch, "app"))
