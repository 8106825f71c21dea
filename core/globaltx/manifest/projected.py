"""Transactions that are kept elsewhere, shown as resources: how they look, and what is to be written next.

Pure, and one write at a time: a burst of changes costs what it takes to get from what is shown to
what holds then, however many there were between. What is shown carries a label, by which everything
that works on resources leaves it alone, and no finalizer: a removal loses nothing.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.conditions import Status
from globaltx.manifest.observed import owner, write_status
from globaltx.manifest.resources import (
    GROUP,
    branch_to_resource,
    decision_spec,
    settlement_status,
    transaction_to_resource,
)
from globaltx.manifest.times import format_time
from globaltx.transaction.model import Decision, Settlement
from globaltx.transaction.states import ENDS, Outcome, State
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from globaltx.transaction.model import Branch, GlobalTransaction

Json = dict[str, Any]

LABEL_PROJECTED = f"{GROUP}/projected"
ANNOTATION_BEGUN = f"{GROUP}/begun-at"
"""When the transaction began that is shown: another may begin by its name once it was forgotten."""
NOT_PROJECTED = f"!{LABEL_PROJECTED}"
"""The label selector that leaves out what is only shown."""
_COMPARED = ("state", "branches", "message", "resolutions", "notifications")
"""The fields of a transaction's status by which it is written anew; times follow from those."""

_ROWS = ("conflictRows", "conflicts", "resolutions")


def is_projected(resource: Mapping[str, Any]) -> bool:
    """Whether a resource only shows what is kept elsewhere."""
    return LABEL_PROJECTED in (resource["metadata"].get("labels") or {})


def is_of(resource: Mapping[str, Any], transaction: GlobalTransaction) -> bool:
    """Whether a resource shows this transaction, and not one that had its name before."""
    begun = (resource["metadata"].get("annotations") or {}).get(ANNOTATION_BEGUN)
    return begun is None or transaction.begun_at is None or begun == format_time(transaction.begun_at)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be shown of one transaction."""

    transaction: GlobalTransaction
    branches: tuple[Branch, ...]
    status: Status
    rows: Mapping[str, Json] = field(default_factory=dict)
    """Of branches by name: their rows in conflict, and what became of decisions, as fields of ``status``."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will become of it."""
        return self.status.over


@dataclass(frozen=True, slots=True)
class Shown:
    """The resources that are there, the branches' by name."""

    transaction: Json | None = None
    branches: Mapping[str, Json] = field(default_factory=dict)


class Verb(StrEnum):
    """What is done to a resource."""

    CREATE = "create"
    PATCH = "patch"
    STATUS = "status"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Write:
    """One write; ``branch`` names a Branch, None is the GlobalTransaction.

    ``body`` is a resource or a merge patch. ``refuses``: an outcome that was set there is not the one
    that stands, so the resource is made anew.
    """

    verb: Verb
    body: Json = field(default_factory=dict)
    branch: str | None = None
    refuses: bool = False


def asked(transaction: Mapping[str, Any] | None) -> Decision | None:
    """The outcome that stands at what is shown: our own, or what a person has set."""
    spec = {} if transaction is None else transaction["spec"]
    if "outcome" not in spec:
        return None
    return Decision(
        Outcome(spec["outcome"]),
        spec.get("outcomeReason", ""),
        spec.get("outcomeMessage", ""),
        spec.get("decidedBy", ""),
    )


def next_write(wanted: Wanted | None, shown: Shown, now: datetime) -> Write | None:
    """The next step from what is shown to what is wanted (None: nothing); None when they agree."""
    if shown.transaction is None:
        return None if wanted is None else Write(Verb.CREATE, _transaction(wanted))
    if "deletionTimestamp" in shown.transaction["metadata"]:
        return None  # it is made anew when it has gone
    if wanted is None or not is_of(shown.transaction, wanted.transaction):
        return Write(Verb.DELETE)
    there = shown.transaction
    of_branches = (write for each in wanted.branches for write in _branch_writes(each, wanted, shown, now))
    return next(_transaction_writes(wanted, there, now), None) or next(of_branches, None)


def _transaction(wanted: Wanted) -> Json:
    return _marked(transaction_to_resource(wanted.transaction), wanted)


def _marked(resource: Json, wanted: Wanted) -> Json:
    metadata = resource["metadata"]
    del metadata["finalizers"]
    metadata["labels"][LABEL_PROJECTED] = "true"
    if wanted.transaction.begun_at is not None:
        metadata["annotations"] = {ANNOTATION_BEGUN: format_time(wanted.transaction.begun_at)}
    return resource


def _transaction_writes(wanted: Wanted, there: Json, now: datetime) -> Iterator[Write]:
    decision, set_there = wanted.transaction.decision, asked(there)
    if decision is not None and set_there is not None and set_there.outcome is not decision.outcome:
        yield Write(Verb.DELETE, refuses=True)
    if decision is not None and set_there is None:
        yield Write(Verb.PATCH, {"spec": decision_spec(decision)})
    old = there.get("status") or {}
    if wanted.status == Status():
        return  # nothing is known yet but what a new resource says anyway
    ended = old.get("state", State.ACTIVE) in ENDS
    compared = ("notifications",) if ended else _COMPARED  # an end is never left, but notifications go on
    begun_at = wanted.transaction.begun_at
    birth = {} if begun_at is None else {"creationTimestamp": format_time(begun_at)}
    body = write_status(wanted.status, {"metadata": birth, "status": old}, now)
    if any(body["status"].get(name) != old.get(name) for name in compared if name in body["status"]):
        yield Write(Verb.STATUS, body)


def _branch_writes(branch: Branch, wanted: Wanted, shown: Shown, now: datetime) -> Iterator[Write]:
    name = branch.id.name
    found = shown.branches.get(name)
    assert shown.transaction is not None  # noqa: S101  it is made before its branches
    owners = [owner(shown.transaction)]
    if found is None:
        body = _marked(branch_to_resource(branch), wanted)
        body["metadata"]["ownerReferences"] = owners
        body["spec"].get("calls", {}).pop("request", None)  # bodies of requests need not be shown
        yield Write(Verb.CREATE, body, name)
        return
    if "deletionTimestamp" in found["metadata"]:
        return
    if found["metadata"].get("ownerReferences") != owners:
        yield Write(Verb.PATCH, {"metadata": {"ownerReferences": owners}}, name)
    if branch.outcome is not None and "outcome" not in found["spec"]:
        yield Write(Verb.PATCH, {"spec": {"outcome": str(branch.outcome)}}, name)
    yield from _branch_status(branch, wanted.rows.get(name, {}), found.get("status") or {}, now)


def _branch_status(branch: Branch, rows: Json, old: Json, now: datetime) -> Iterator[Write]:
    if branch.state is State.ACTIVE or old.get("state", State.ACTIVE) in ENDS:
        return
    told = Settlement(branch.state, branch.reason, branch.message, attempts=branch.attempts)
    status = settlement_status(told, now)
    status |= {name: rows.get(name) for name in _ROWS}  # None takes a field away
    if any(status[name] != old.get(name) for name in ("state", "reason", "message", *_ROWS)):
        yield Write(Verb.STATUS, {"status": status}, branch.id.name)
