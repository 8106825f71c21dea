"""What is to be known of a transaction that went smoothly, as nearly all do: a fraction of all of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.stores.etcd.record import Record


@dataclass(frozen=True, slots=True)
class Passed:
    """A transaction that was committed, whose branches have followed, and of which nobody is to be told."""

    policy: str
    ttl: timedelta
    reason: str
    """Of its outcome."""


def passed(record: Record) -> Passed | None:
    """The same of a record; None where all of it has to be looked at."""
    if record.begin is None or record.decision is None or not record.went_smoothly:
        return None
    try:
        begun, decided = json.loads(record.begin), json.loads(record.decision.partition(" ")[2])
        if "notify" in begun:
            return None
        return Passed(begun["policy"], timedelta(seconds=begun["ttlSeconds"]), decided["reason"])
    except (KeyError, TypeError, ValueError):
        return None  # who reads all of it says what is wrong
