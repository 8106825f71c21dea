from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.stores.kubernetes.election import (
    Claim,
    Sighting,
    Timing,
    claim_of,
    patience,
    released,
    renewed,
    sight,
    taken,
)

NOW = datetime(2025, 1, 31, 12, tzinfo=UTC)
THEIRS = Claim("them", 3, 15.0, "100")


def lease(spec: dict[str, Any] | None, version: str = "100") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version}} | ({} if spec is None else {"spec": spec})


@pytest.mark.parametrize("wrong", [(15, 15, 2), (15, 10, 10), (15, 10, 0), (10, 15, 2)])
def test_a_timing_under_which_two_could_lead_is_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="retry < renew_deadline < duration"):
        Timing(*wrong)


def test_another_duration_keeps_the_usual_proportions() -> None:
    assert Timing.lasting(15) == Timing()
    assert Timing.lasting(3) == Timing(3, 2, 0.4)
    with pytest.raises(ValueError, match="duration"):
        Timing.lasting(0)


def test_a_lease_is_read_back_as_it_was_taken() -> None:
    assert claim_of(lease(taken("us", 4, Timing(), NOW)), Timing()) == Claim("us", 4, 15.0, "100")


def test_a_duration_is_rounded_up_so_that_others_wait_long_enough() -> None:
    timing = Timing(2.2, 1.0, 0.1)
    assert claim_of(lease(taken("us", 1, timing, NOW)), timing).duration == 3.0


@pytest.mark.parametrize("spec", [None, {}, {"holderIdentity": None, "leaseDurationSeconds": 0}])
def test_a_lease_that_nobody_holds(spec: dict[str, Any] | None) -> None:
    claim = claim_of(lease(spec), Timing())
    assert claim == Claim("", 0, 15.0, "100")
    assert patience(Sighting(claim, 0.0), "us", 0.0) == 0.0


def test_an_absurd_duration_does_not_hold_us_off_for_ever() -> None:
    assert claim_of(lease({"leaseDurationSeconds": 10**9}), Timing()).duration == 15.0


def test_a_claim_keeps_the_time_when_it_was_first_seen() -> None:
    first = sight(None, THEIRS, 50.0)
    assert sight(first, THEIRS, 60.0) == first
    assert sight(first, replace(THEIRS, version="101"), 60.0).at == 60.0


def test_others_wait_until_the_claim_was_not_renewed_for_its_duration() -> None:
    seen = Sighting(THEIRS, 50.0)
    assert [patience(seen, "us", now) for now in (50.0, 64.0, 65.0, 99.0)] == [15.0, 1.0, 0.0, 0.0]


def test_a_rest_of_our_own_is_taken_at_once() -> None:
    assert patience(Sighting(THEIRS, 50.0), "them", 50.0) == 0.0


def test_a_released_lease_is_free_and_keeps_its_epoch() -> None:
    spec = released(renewed(taken("us", 4, Timing(), NOW), NOW), NOW)
    claim = claim_of(lease(spec), Timing())
    assert (claim.holder, claim.epoch) == ("", 4)
    assert patience(Sighting(claim, 0.0), "them", 0.0) == 0.0


@given(
    renewals=st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), max_size=8),
    skew=st.floats(-(10**6), 10**6),
    looks=st.lists(st.floats(0, 60), min_size=1, max_size=30),
)
def test_no_two_lead_whatever_the_delays_and_clocks(
    renewals: list[tuple[float, float]], skew: float, looks: list[float]
) -> None:
    """The leader's renewals are sent and land later; a candidate looks by another clock, and takes."""
    timing, sent = Timing(), 0.0
    landed = [(0.0, 0.0)]  # when sent, when landed; the first is how the lease was taken
    for wait, travel in renewals:
        sent += wait
        landed.append((sent, sent + travel))
        sent += travel
    seen: Sighting | None = None
    for look in sorted(looks):
        versions = [(begun, str(number)) for number, (begun, done) in enumerate(landed) if done <= look]
        last_sent, version = versions[-1]
        seen = sight(seen, Claim("them", 1, timing.duration, version), look + skew)
        if patience(seen, "us", look + skew) == 0.0:
            # Renewals that land from now on are refused by compare-and-set.
            assert look >= last_sent + timing.renew_deadline
            return
