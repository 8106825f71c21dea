"""The calls of a branch, and where calls may go: parts of resources <-> model."""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.policy import Egress
from globaltx.transaction.calls import Calls, Order, Request, Reservation, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def write_calls(calls: Calls) -> dict[str, Any]:
    """Write ``spec.calls``."""
    more: dict[str, Any] = (
        {} if calls.reservation is None else {"reservation": write_reservation(calls.reservation)}
    )
    if calls.step is not None:
        more["step"] = _write_step(calls.step)
    if calls.traced:
        more["guardByTrace"] = True
    return more | {
        "onCommit": calls.on_commit,
        "onRollback": calls.on_rollback,
        "timeoutSeconds": int(calls.timeout.total_seconds()),
        "successStatuses": sorted(calls.success_statuses),
        "conflictAfterRefusals": calls.refusals_max,
        "guard": calls.guarded,
        "registeredBy": calls.by,
        "request": {
            "method": calls.request.method,
            "query": calls.request.query,
            "headers": [{"name": name, "value": value} for name, value in calls.request.headers],
            "body": base64.b64encode(calls.request.body).decode(),
        },
    }


def read_calls(raw: Mapping[str, Any] | None) -> Calls | None:
    """Read ``spec.calls``; None stays None.

    Raises:
        KeyError, TypeError, ValueError: it is not what the schema says.
    """
    if raw is None:
        return None
    return Calls(
        on_commit=raw["onCommit"],
        on_rollback=raw["onRollback"],
        request=_request(raw.get("request") or {}),
        timeout=timedelta(seconds=raw["timeoutSeconds"]),
        success_statuses=frozenset(raw["successStatuses"]),
        refusals_max=raw["conflictAfterRefusals"],
        guarded=raw["guard"],
        by=raw.get("registeredBy", ""),
        reservation=_reservation(raw.get("reservation")),
        step=_step(raw.get("step")),
        traced=raw.get("guardByTrace", False),
    )


def _write_step(step: Step) -> dict[str, Any]:
    return {"name": step.name, "order": str(step.order), "dependsOn": list(step.depends_on)}


def _step(raw: Mapping[str, Any] | None) -> Step | None:
    return None if raw is None else Step(raw["name"], Order(raw["order"]), tuple(raw["dependsOn"]))


def write_reservation(reservation: Reservation) -> dict[str, Any]:
    """Write ``spec.calls.reservation``."""
    return {
        "seconds": int(reservation.duration.total_seconds()),
        "marginSeconds": int(reservation.margin.total_seconds()),
        "expiredStatuses": sorted(reservation.expired_statuses),
        "state": reservation.state,
    }


def read_reservation(raw: Mapping[str, Any]) -> Reservation:
    """Read what `write_reservation` wrote."""
    return Reservation(
        duration=timedelta(seconds=raw["seconds"]),
        state=raw["state"],
        margin=timedelta(seconds=raw["marginSeconds"]),
        expired_statuses=frozenset(raw["expiredStatuses"]),
    )


def _reservation(raw: Mapping[str, Any] | None) -> Reservation | None:
    return None if raw is None else read_reservation(raw)


def _request(raw: Mapping[str, Any]) -> Request:
    try:
        body = base64.b64decode(raw.get("body", ""), validate=True)
    except binascii.Error as error:
        message = f"spec.calls.request.body is not base64: {error}"
        raise ValueError(message) from error
    return Request(
        method=raw.get("method", "POST"),
        query=raw.get("query", ""),
        headers=tuple((each["name"], each["value"]) for each in raw.get("headers", ())),
        body=body,
    )


def read_egress(raw: Iterable[Mapping[str, Any]]) -> tuple[Egress, ...]:
    """Read where calls may go, as a policy or the settings have it."""
    return tuple(Egress(each["host"], tuple(each["ports"]), tuple(each.get("paths", ()))) for each in raw)
