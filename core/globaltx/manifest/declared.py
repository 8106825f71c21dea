"""Declared sagas: ``spec.saga`` and ``status.step`` <-> model; what is wrong with one beside its policy."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.egress import refusal
from globaltx.manifest.schemas.calls import HEADERS_SENTENCE, may_repeat
from globaltx.manifest.times import format_time, parse_time
from globaltx.modes import declaring
from globaltx.transaction.declared import (
    Attempts,
    Exchange,
    Progress,
    Recovery,
    Retry,
    SagaPlan,
    StepPlan,
    StepState,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from globaltx.coordinator.policy import Egress


def read_saga(raw: Mapping[str, Any] | None) -> SagaPlan | None:
    """Read ``spec.saga``; None stays None.

    Raises:
        KeyError, TypeError, ValueError: it is not what the schema says.
    """
    if raw is None:
        return None
    return SagaPlan(tuple(_step(each) for each in raw["steps"]), Recovery(raw["recovery"]))


def _step(raw: Mapping[str, Any]) -> StepPlan:
    retry = raw["retry"]
    compensation = raw.get("compensation")
    return StepPlan(
        name=raw["name"],
        request=_exchange(raw["request"]),
        compensation=None if compensation is None else _exchange(compensation),
        depends_on=tuple(raw.get("dependsOn", ())),
        retry=Retry(
            retry["attempts"],
            timedelta(seconds=retry["backoffSeconds"]),
            timedelta(seconds=retry["backoffSecondsMax"]),
        ),
        timeout=timedelta(seconds=raw["timeoutSeconds"]),
        success_statuses=frozenset(raw["successStatuses"]),
        refusals_max=raw["conflictAfterRefusals"],
        pivot=raw["pivot"],
    )


def _exchange(raw: Mapping[str, Any]) -> Exchange:
    headers = tuple((each["name"], each["value"]) for each in raw.get("headers", ()))
    return Exchange(raw["url"], raw["method"], headers, raw.get("body", ""))


def problems(plan: SagaPlan, allowed: Iterable[Egress]) -> Iterator[str]:
    """Tell everything that is wrong with a saga where these destinations are allowed."""
    egress = tuple(allowed)
    yield from declaring.problems(plan)
    for step in plan.steps:
        for where, exchange in (("request", step.request), ("compensation", step.compensation)):
            if exchange is None:
                continue
            at = f"steps[{step.name}].{where}"
            if told := refusal(exchange.url, egress, "saga.egress"):
                yield f"{at}.url: {told}"
            if not all(may_repeat(name.lower()) for name, _ in exchange.headers):
                yield f"{at}.headers: {HEADERS_SENTENCE}"


def write_progress(progress: Progress) -> dict[str, Any]:
    """Write ``status.step``."""
    written: dict[str, Any] = {"state": str(progress.state)}
    if progress.result:
        written["result"] = progress.result
    if progress.place:
        written["place"] = progress.place
    if progress.heeded:
        written["heeded"] = progress.heeded
    if progress.guarded:
        written["guarded"] = progress.guarded
    for name, attempts in (("request", progress.step), ("compensation", progress.compensation)):
        if attempts != Attempts():
            written[name] = _write_attempts(attempts)
    return written


def _write_attempts(attempts: Attempts) -> dict[str, Any]:
    return {
        "attempts": attempts.count,
        "calledAt": None if attempts.called_at is None else format_time(attempts.called_at),
        "nextAt": None if attempts.next_at is None else format_time(attempts.next_at),
        "status": attempts.status,
        "refusals": attempts.refusals,
        "problem": attempts.problem,
    }


def read_progress(raw: Mapping[str, Any] | None) -> Progress:
    """Read ``status.step``; of a step that nobody has touched there is none.

    Raises:
        KeyError, TypeError, ValueError: it is not what the schema says.
    """
    if raw is None:
        return Progress()
    return Progress(
        state=StepState(raw["state"]),
        step=_attempts(raw.get("request")),
        compensation=_attempts(raw.get("compensation")),
        result=raw.get("result", ""),
        place=raw.get("place", 0),
        heeded=raw.get("heeded", 0),
        guarded=raw.get("guarded", 0),
    )


def _attempts(raw: Mapping[str, Any] | None) -> Attempts:
    if raw is None:
        return Attempts()
    return Attempts(
        count=raw.get("attempts", 0),
        called_at=parse_time(raw.get("calledAt")),
        next_at=parse_time(raw.get("nextAt")),
        status=raw.get("status", 0),
        refusals=raw.get("refusals", 0),
        problem=raw.get("problem", ""),
    )
