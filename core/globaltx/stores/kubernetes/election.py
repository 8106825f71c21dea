"""Who may lead, decided purely: from a Lease as it was sighted, and the clock of the one who looks.

Two clocks are never compared. A candidate notes by its own clock when it first saw the Lease
in its present version, and takes it only when ``duration`` has passed since without a new
version. The leader reckons from the moment *before* it sent its last successful renewal, and
stops ``renew_deadline`` after it. The renewal landed after it was sent and was sighted after
it landed, so the leader's end comes first by ``duration - renew_deadline``, whatever the wall
clocks say, as long as both clocks run about equally fast.

What is beyond any lease: a process that is stopped, with a write on its way, and wakes up
later. The epoch tells its writes from its successor's; correctness must not depend on there
being one leader.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_CLAIM_SECONDS_MAX = 3600


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds: how long a claim holds others off, when its holder gives up, how often it renews."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        """Refuse a timing under which two could lead."""
        if not 0 < self.retry < self.renew_deadline < self.duration:
            message = f"a lease needs 0 < retry < renew_deadline < duration, not {self}"
            raise ValueError(message)

    @classmethod
    def lasting(cls, duration: float) -> Timing:
        """The usual timing, stretched or shrunk to a claim of so many seconds."""
        usual = cls()
        share = duration / usual.duration
        return cls(duration, usual.renew_deadline * share, usual.retry * share)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a Lease says: who holds it (nobody: empty), in which term, and for how long a version counts."""

    holder: str
    epoch: int
    duration: float
    version: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A claim, and when it was first seen in this version by the clock of the one who looks."""

    claim: Claim
    at: float


def claim_of(lease: Mapping[str, Any], timing: Timing) -> Claim:
    """Read a Lease; a duration that is missing or absurd counts as our own."""
    spec = lease.get("spec") or {}
    duration = int(spec.get("leaseDurationSeconds") or 0)
    usual = 0 < duration <= _CLAIM_SECONDS_MAX
    return Claim(
        holder=spec.get("holderIdentity") or "",
        epoch=int(spec.get("leaseTransitions") or 0),
        duration=float(duration) if usual else timing.duration,
        version=lease["metadata"]["resourceVersion"],
    )


def sight(last: Sighting | None, claim: Claim, now: float) -> Sighting:
    """Note a claim that was received by ``now``; one seen before keeps its time."""
    return last if last is not None and last.claim == claim else Sighting(claim, now)


def patience(sighting: Sighting | None, identity: str, now: float) -> float:
    """How long ``identity`` must still wait before it may take the lease; 0 when it may at once.

    A lease that names ourselves is a rest of our own earlier term: no one else leads by it.
    """
    if sighting is None or sighting.claim.holder in {"", identity}:
        return 0.0
    return max(0.0, sighting.at + sighting.claim.duration - now)


def taken(identity: str, epoch: int, timing: Timing, now: datetime) -> dict[str, Any]:
    """The ``spec`` of a lease that ``identity`` takes; each term has an epoch of its own."""
    return {
        "holderIdentity": identity,
        "leaseDurationSeconds": math.ceil(timing.duration),
        "acquireTime": _micro(now),
        "renewTime": _micro(now),
        "leaseTransitions": epoch,
    }


def renewed(spec: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The ``spec`` after a renewal. The time is for people; nobody reckons with it."""
    return {**spec, "renewTime": _micro(now)}


def released(spec: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The ``spec`` of a lease that its holder gives up: anybody may take it at once."""
    return {**spec, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro(now)}


def _micro(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
