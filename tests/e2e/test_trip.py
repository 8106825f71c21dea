"""A trip of flight, hotel and payment (saga), in real pods on a real kubelet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from dev.waiting import wait_for
from tests.e2e.sample import SECONDS, Sample, deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.places import Place

EXAMPLE = Path(__file__).parents[2] / "examples" / "03-saga-trip"
PROVIDERS = ("flight", "hotel", "payment")


@pytest.fixture(scope="module")
def trips(place: Place) -> Iterator[Sample]:
    with deployed(place, EXAMPLE, "trips") as sample:
        yield sample


def book(trips: Sample, query: str = "", price: int = 30) -> tuple[int, str]:
    """Book a trip; the status, and how it ended."""
    known = set(trips.transactions())
    asked = {"seats": 2, "rooms": 1, "price": price}
    status, _ = trips.ask("trip", "POST", f"/trips{query}", asked)
    return status, trips.end(known)[1]


def apply(trips: Sample, name: str) -> str:
    """Apply a trip that is declared as a whole; the condition Succeeded, once it is known."""
    text = (EXAMPLE / "declared" / f"{name}.yaml").read_text()
    manifest = yaml.safe_load(text.replace("namespace: trips\n", f"namespace: {trips.namespace}\n"))
    trips.kubectl.apply(yaml.safe_dump(manifest))
    named = f"globaltx/{manifest['metadata']['name']}"

    def condition() -> str:
        (found,) = trips.kubectl.json("-n", trips.namespace, named)["status"]["conditions"]
        return str(found["status"])

    wait_for("the trip to be settled", lambda: condition() != "Unknown", seconds=SECONDS, every=0.2)
    return condition()


def free(trips: Sample) -> list[int]:
    return [trips.ask(each, "GET", "/bookings")[1]["free"] for each in PROVIDERS]


def test_a_trip_is_booked_and_paid(trips: Sample) -> None:
    before = free(trips)
    assert book(trips) == (200, "Committed")
    assert [left - now for left, now in zip(before, free(trips), strict=True)] == [2, 1, 30]


@pytest.mark.parametrize(("query", "price"), [("?fail", 30), ("", 10**6)])
def test_what_was_booked_before_something_failed_is_taken_back(trips: Sample, query: str, price: int) -> None:
    before = free(trips)
    assert book(trips, query, price) == (409, "RolledBack")
    assert free(trips) == before


def test_a_trip_that_is_declared_as_a_whole_is_booked_by_nobody_s_program(trips: Sample) -> None:
    before = free(trips)
    assert apply(trips, "trip") == "True"
    assert [left - now for left, now in zip(before, free(trips), strict=True)] == [2, 1, 30]


def test_a_declared_trip_that_cannot_be_paid_is_taken_back(trips: Sample) -> None:
    before = free(trips)
    assert apply(trips, "unpayable") == "False"
    assert free(trips) == before
