"""What is written of a step's progress is read as the same, and a saga is read with its defaults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from globaltx.coordinator.policy import Egress
from globaltx.manifest.check import filled
from globaltx.manifest.check import problems as schema_problems
from globaltx.manifest.declared import problems, read_progress, read_saga, write_progress
from globaltx.manifest.schemas.declared import saga, step_status
from globaltx.transaction.declared import (
    Attempts,
    Exchange,
    Progress,
    Recovery,
    SagaPlan,
    StepPlan,
    StepState,
)

times = st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
attempts = st.builds(
    Attempts,
    count=st.integers(0, 10**6),
    called_at=times,
    next_at=times,
    status=st.integers(0, 999),
    refusals=st.integers(0, 10**6),
    problem=st.text(max_size=400),
)
progress = st.builds(
    Progress,
    state=st.sampled_from(StepState),
    step=attempts,
    compensation=attempts,
    result=st.text(max_size=100),
    place=st.integers(0, 32),
    heeded=st.integers(0, 64),
    guarded=st.integers(0, 10**6),
)
FLIGHT: dict[str, Any] = {"name": "flight", "request": {"url": "http://flight:3000/bookings"}}


@given(progress)
def test_progress_is_read_as_it_was_written(given: Progress) -> None:
    written = write_progress(given)
    stored = {name: each for name, each in written.items() if each is not None}
    for name in ("request", "compensation"):
        if name in stored:
            stored[name] = {key: each for key, each in stored[name].items() if each is not None}
    assert read_progress(stored) == given
    assert not list(schema_problems(step_status(), stored))


def test_a_saga_is_read_with_the_defaults() -> None:
    plan = read_saga(filled(saga(), {"steps": [FLIGHT]}))
    assert plan == SagaPlan((StepPlan("flight", Exchange("http://flight:3000/bookings")),), Recovery.BACKWARD)
    assert plan.steps[0].timeout == timedelta(seconds=10)


def test_what_no_policy_allows_is_told_with_its_step() -> None:
    plan = read_saga(filled(saga(), {"steps": [FLIGHT | {"compensation": {"url": "http://other/"}}]}))
    assert plan is not None
    found = list(problems(plan, [Egress("flight", (3000,))]))
    assert len(found) == 1
    assert found[0].startswith("steps[flight].compensation.url: ")
    assert not list(problems(plan, [Egress("flight", (3000,)), Egress("other", (80,))]))
