"""A checkout of reservations that run out by themselves (TCD), in real pods on a real kubelet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.waiting import wait_for
from tests.e2e.sample import SECONDS, deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.places import Place
    from tests.e2e.sample import Sample

FOLDER = Path(__file__).parents[2] / "examples" / "04-tcd-checkout"


@pytest.fixture(scope="module")
def checkout(place: Place) -> Iterator[Sample]:
    with deployed(place, FOLDER, "checkout") as sample:
        yield sample


def bought(sample: Sample, query: str = "") -> tuple[int, str, str]:
    """Buy for 30; the status, the transaction, and where it came to stand."""
    known = set(sample.transactions())
    status, _ = sample.ask("checkout", "POST", f"/checkout{query}", {"amount": 30})
    return status, *sample.end(known)


def free(sample: Sample, service: str) -> int:
    return int(sample.ask(service, "GET", "/free")[1]["free"])


def test_a_checkout_in_time_is_confirmed_by_both(checkout: Sample) -> None:
    before = free(checkout, "product")
    status, name, state = bought(checkout)
    assert (status, state) == (200, "Committed")
    confirmed = ("Committed", "CONFIRMED")
    assert checkout.said(name) == {"account": confirmed, "product": confirmed}
    assert free(checkout, "product") == before - 30


def test_a_checkout_that_fails_is_cancelled_by_nobody(checkout: Sample) -> None:
    status, name, state = bought(checkout, "?fail")
    assert (status, state) == (409, "RolledBack")
    found = checkout.said(name)
    assert found["product"] == ("RolledBack", "RESERVED")  # it runs out by itself, much later
    assert found["account"][0] == "RolledBack"


def test_a_checkout_that_is_late_is_rolled_back_before_it_is_too_late(checkout: Sample) -> None:
    """The account keeps for 20 s with a margin of 5: at 15 it is decided, long before the route's minute."""
    status, name, state = bought(checkout, "?late")
    assert (status, state) == (503, "RolledBack")
    transaction = checkout.kubectl.json("-n", checkout.namespace, "globaltransaction", name)
    assert transaction["spec"]["outcomeReason"] == "DeadlineExceeded"
    assert checkout.said(name)["account"] == ("RolledBack", "CANCELLED")


def test_a_reservation_that_ran_out_is_a_conflict_that_a_diagnosis_shows(checkout: Sample) -> None:
    status, name, state = bought(checkout, "?broken")
    assert (status, state) == (200, "Conflict")
    wait_for(
        "the product to be confirmed",
        lambda: checkout.branches(name)["product"][1] == "Committed",
        seconds=SECONDS,
        every=0.2,
    )
    assert checkout.said(name) == {
        "account": ("Conflict", "CANCELLED"),
        "product": ("Committed", "CONFIRMED"),
    }
    table = checkout.diagnosed(name)
    assert "ReservationExpired" in table
    (account,) = (line for line in table.splitlines() if line.startswith("account"))
    assert "CANCELLED" in account
