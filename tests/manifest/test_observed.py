"""What the operator reads from and writes to the resources of one transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.coordinator.conditions import Status
from globaltx.manifest.check import problems
from globaltx.manifest.observed import (
    duration,
    observe,
    read_status,
    write_release,
    write_stamp,
    write_status,
)
from globaltx.manifest.resources import FINALIZER, branch_to_resource, transaction_to_resource
from globaltx.manifest.schemas import transactions as schema
from globaltx.transaction.model import Branch, BranchId, GlobalTransaction
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid

XID = Xid("shop", "01abc")
BIRTH = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
moments = st.datetimes(datetime(2026, 1, 3), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  the strategy adds the zone


def resource(**metadata: Any) -> dict[str, Any]:
    made = transaction_to_resource(GlobalTransaction(XID, "a", timedelta(seconds=60)))
    born = {"uid": "u1", "creationTimestamp": "2026-01-02T03:04:05Z", "resourceVersion": "7"}
    made["metadata"] |= born | metadata
    return made


statuses = st.builds(
    Status,
    state=st.sampled_from(State),
    message=st.text(max_size=1024),
    total=st.integers(0, 1000),
    settled=st.integers(0, 1000),
    decided_at=st.none() | moments,
    settled_at=st.none() | moments,
    resolutions=st.integers(0, 64),
    resolved=st.booleans(),
)


@given(statuses)
def test_a_status_is_read_as_it_was_written(status: Status) -> None:
    patch = write_status(status, resource(), BIRTH)
    assert read_status({**resource(), **patch}) == status
    assert list(problems(schema.status(), patch["status"])) == []


def test_the_time_of_the_last_transition_stays_while_the_condition_does() -> None:
    later = BIRTH + timedelta(seconds=9)
    first = write_status(Status(State.COMMITTING), resource(), BIRTH)
    second = write_status(Status(State.COMMITTING, "more"), {**resource(), **first}, later)
    third = write_status(Status(State.COMMITTED), {**resource(), **second}, later)
    times = [each["status"]["conditions"][0]["lastTransitionTime"] for each in (first, second, third)]
    assert times == ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:14Z"]


def test_a_default_condition_has_no_time_worth_keeping() -> None:
    fresh = {**resource(), "status": {"conditions": [schema.active_condition()]}}
    written = write_status(Status(State.COMMITTING), fresh, BIRTH)
    assert written["status"]["conditions"][0]["lastTransitionTime"] == "2026-01-02T03:04:05Z"


def test_what_a_resource_carries_besides_is_observed() -> None:
    mine = branch_to_resource(Branch(BranchId(XID, "a", "b")))
    mine["metadata"] |= {"ownerReferences": [{"uid": "u1"}], "finalizers": []}
    other = branch_to_resource(Branch(BranchId(XID, "c", "d")))
    other["metadata"] |= {"deletionTimestamp": "2026-01-02T03:04:05Z", "ownerReferences": [{"uid": "u0"}]}
    seen = observe(resource(deletionTimestamp="2026-01-02T03:04:05Z"), [mine, other])
    assert (seen.held, seen.deleting, seen.complete) == (True, True, False)
    assert [(each.held, each.owned, each.deleting) for each in seen.branches] == [
        (False, True, False),
        (True, False, True),
    ]


def test_a_release_takes_off_our_finalizer_alone_where_it_was_seen() -> None:
    place = "/metadata/finalizers/1"
    assert write_release(resource(finalizers=["other/one", FINALIZER])) == [
        {"op": "test", "path": place, "value": FINALIZER},
        {"op": "remove", "path": place},
    ]


def test_a_stamp_tells_outcome_and_owner() -> None:
    patch = write_stamp(Outcome.COMMIT, resource())
    assert patch["spec"] == {"outcome": "Commit"}
    assert patch["metadata"]["ownerReferences"][0]["uid"] == "u1"
    assert "ownerReferences" not in write_stamp(Outcome.COMMIT, None)["metadata"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "<1s"), (0.99, "<1s"), (1, "1s"), (59.9, "59s"), (60, "1m0s"), (3599, "59m59s"), (7265, "2h1m")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text
