"""A transfer between two banks (TCC), in real pods on a real kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.banks import FOLDER, Banks
from tests.e2e.sample import deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.places import Place

CALL_REPEATED, CALL_EMPTY, CALL_LATE = "29901", "29902", "29903"


@pytest.fixture(scope="module")
def banks(place: Place, shop_namespace: str) -> Iterator[Banks]:
    with deployed(place, FOLDER, "banks", databases=shop_namespace) as sample:
        yield Banks(sample)


def test_a_transfer_is_confirmed_by_both_banks(banks: Banks) -> None:
    one, two = banks.balances()
    status, _, state = banks.transfer(30)
    assert (status, state) == (200, "Committed")
    assert banks.balances() == (one - 30, two + 30)


@pytest.mark.parametrize(("amount", "query"), [(10, "?fail"), (10**6, "")])
def test_a_transfer_that_fails_moves_nothing(banks: Banks, amount: int, query: str) -> None:
    before = banks.balances()
    status, _, state = banks.transfer(amount, query)
    assert (status, state) == (409, "RolledBack")
    assert banks.balances() == before


@pytest.mark.parametrize(("query", "last"), [("", "confirm"), ("?fail", "cancel")])
def test_what_was_worked_for_is_not_worked_for_again(banks: Banks, query: str, last: str) -> None:
    _, name, _ = banks.transfer(30, query)
    before, branch = banks.balances(), banks.branch(name)
    for operation in ("try", last, last):
        status, said = banks.deliver(operation, name, branch)
        assert (status, said[:5]) == (503, CALL_REPEATED)
    assert banks.balances() == before


def test_a_try_that_comes_behind_its_cancel_is_kept_out(banks: Banks) -> None:
    _, name, _ = banks.transfer(30, "?fail")
    before, branch = banks.balances(), "never-tried"
    for operation, number in (("cancel", CALL_EMPTY), ("try", CALL_LATE), ("cancel", CALL_REPEATED)):
        status, said = banks.deliver(operation, name, branch)
        assert (status, said[:5]) == (503, number)
    assert banks.reserve(name) == (409, "AlreadyDecided")
    assert banks.balances() == before


def test_an_xid_from_outside_is_not_believed(banks: Banks) -> None:
    """The transfer service is at the edge; the banks are not, and refuse what nobody knows."""
    status, body = banks.ask("bank-a", "POST", "/accounts/1/debit", {"amount": 1})
    assert (status, body["reason"]) == (400, "XidRequired")
