"""Notifications: parts of resources, settings and records <-> model."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.conditions import NotificationState, NotificationStatus
from globaltx.manifest.times import format_time, parse_time
from globaltx.transaction.notification import Notification, Notify
from globaltx.transaction.states import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def write_notify(wishes: Iterable[Notify]) -> list[dict[str, Any]]:
    """Write ``spec.notify`` of a transaction."""
    return [
        {
            "name": each.name,
            "url": each.url,
            "outcomes": sorted(map(str, each.outcomes)),
            "retryAfterSeconds": _seconds(each.pauses),
            "timeoutSeconds": int(each.timeout.total_seconds()),
        }
        for each in wishes
    ]


def read_notify(raw: Iterable[Mapping[str, Any]]) -> tuple[Notify, ...]:
    """Read it.

    Raises:
        KeyError, TypeError, ValueError: it is not what the schema says.
    """
    return tuple(
        Notify(
            each["name"],
            each["url"],
            frozenset(map(Outcome, each["outcomes"])),
            _pauses(each["retryAfterSeconds"]),
            timedelta(seconds=each["timeoutSeconds"]),
        )
        for each in raw
    )


def write_notification(notification: Notification) -> dict[str, Any]:
    """Write ``spec.notification`` of a branch."""
    return {
        "url": notification.url,
        "retryAfterSeconds": _seconds(notification.pauses),
        "timeoutSeconds": int(notification.timeout.total_seconds()),
        "reason": notification.reason,
        "decidedAt": format_time(notification.decided_at),
        "policy": notification.policy,
    }


def read_notification(raw: Mapping[str, Any] | None) -> Notification | None:
    """Read it; None stays None.

    Raises:
        KeyError, TypeError, ValueError: it is not what the schema says.
    """
    if raw is None:
        return None
    decided_at = parse_time(raw["decidedAt"])
    if decided_at is None:
        message = "spec.notification.decidedAt is empty"
        raise ValueError(message)
    return Notification(
        raw["url"],
        _pauses(raw["retryAfterSeconds"]),
        timedelta(seconds=raw["timeoutSeconds"]),
        raw["reason"],
        decided_at,
        raw.get("policy", ""),
    )


def write_notifications(told: Iterable[NotificationStatus]) -> list[dict[str, Any]]:
    """Write ``status.notifications`` of a transaction."""
    return [
        {"name": each.name, "state": str(each.state), "attempts": each.attempts}
        | ({"problem": each.problem} if each.problem else {})
        for each in told
    ]


def read_notifications(raw: Iterable[Mapping[str, Any]]) -> tuple[NotificationStatus, ...]:
    """Read it."""
    return tuple(
        NotificationStatus(
            each["name"], NotificationState(each["state"]), each.get("attempts", 0), each.get("problem", "")
        )
        for each in raw
    )


def _seconds(pauses: Iterable[timedelta]) -> list[int]:
    return [int(each.total_seconds()) for each in pauses]


def _pauses(raw: Iterable[int]) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=each) for each in raw)
