from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from globaltx.transaction.model import Branch, BranchId, GlobalTransaction
from globaltx.transaction.states import ENDS, State
from globaltx.transaction.xid import Xid

XID = Xid("shop", "01jd5x7y2m3n4p5q6r7s")
WORD = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?\Z")


@given(WORD, WORD, WORD, WORD)
def test_branches_share_a_name_only_if_they_are_the_same(
    app: str, resource: str, other_app: str, other_resource: str
) -> None:
    one, other = BranchId(XID, app, resource), BranchId(XID, other_app, other_resource)
    assert (one.name == other.name) == (one == other)


def test_an_app_that_is_the_prefix_of_another_has_branches_of_its_own() -> None:
    assert BranchId(XID, "order", "svc").name != BranchId(XID, "ordersvc", "").name


def test_the_branch_name_fits_a_resource_name() -> None:
    longest = BranchId(Xid("n" * 63, "x" * 63), "a" * 63, "r" * 63)
    assert len(longest.name) <= 253


def test_the_deadline_counts_from_the_birth_that_the_store_stamped() -> None:
    birth = datetime(2026, 1, 2, tzinfo=UTC)
    begun = GlobalTransaction(XID, "shop", timedelta(seconds=30), begun_at=birth)
    assert begun.deadline == birth + timedelta(seconds=30)
    assert GlobalTransaction(XID, "shop", timedelta(seconds=30)).deadline is None


def test_only_an_end_is_settled() -> None:
    branch = BranchId(XID, "order", "orders")
    assert {state for state in State if Branch(branch, state=state).settled} == ENDS
