"""Which key holds what, and how it is written: the layout that docs/stores.md shows.

Everything of a namespace is below one prefix, so that a role of etcd can be confined to it; all of a
transaction is below another, so that one range reads it as of one revision and one removes it:

    PREFIX NAMESPACE /tx/ NAME /begin                    who began it, when, for how long
                               /decision                 the outcome
                               /branch/ APP / RESOURCE   somebody joined, with or without its work let through
                               /started/ APP / RESOURCE  its work was let through after that
                               /completed/ APP / RESOURCE  it was done, if it is a step: by its revision
                               /end/ APP / RESOURCE      it has followed the outcome
                               /conflict/ APP / RESOURCE it could not, or not yet if it is a notification
                               /resolutions/ APP / RESOURCE  what people have decided about that
    PREFIX NAMESPACE /open/ APP / NAME / RESOURCE        what the app has to do, while it has
    PREFIX NAMESPACE /leader/ APP                        who leads phase two of the app

Values are JSON, but an outcome and an end begin with their word, because that is what etcd compares.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from globaltx.manifest.calls import read_calls, write_calls
from globaltx.manifest.conflicts import (
    conflicts_status,
    read_carried_out,
    read_resolutions,
    resolution_spec,
    write_carried_out,
)
from globaltx.manifest.notify import read_notification, read_notify, write_notification, write_notify
from globaltx.manifest.times import format_time, parse_time
from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction, Mode
from globaltx.transaction.states import UNDER_WAY, Outcome, State
from globaltx.transaction.xid import Xid
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from globaltx.stores.etcd.requests import KeyValue
    from globaltx.transaction.conflict import Resolution
    from globaltx.transaction.model import Settlement

Json = dict[str, Any]

BEGIN, DECISION = "begin", "decision"
BRANCH, STARTED, COMPLETED, END, CONFLICT = "branch", "started", "completed", "end", "conflict"
RESOLUTIONS = "resolutions"


class InvalidRecordError(ValueError):
    """A key of ours holds something that we have not written; the message names it."""

    def __init__(self, what: str, error: Exception) -> None:
        super().__init__(f"{what} cannot be read: {error!r}")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys below one prefix (``/globaltx/``)."""

    prefix: str

    def transaction(self, xid: Xid) -> str:
        """What all keys of a transaction begin with."""
        return f"{self.prefix}{xid.namespace}/tx/{xid.name}/"

    def begin(self, xid: Xid) -> str:
        """Its birth."""
        return self.transaction(xid) + BEGIN

    def decision(self, xid: Xid) -> str:
        """Its outcome."""
        return self.transaction(xid) + DECISION

    def of_branch(self, branch: BranchId, what: str) -> str:
        """One of the keys of a branch: ``BRANCH``, ``STARTED``, ``COMPLETED``, ``END`` and so on."""
        return self.each_of_branch(branch, what)[0]

    def each_of_branch(self, branch: BranchId, *what: str) -> list[str]:
        """Several of those."""
        at, whose = self.transaction(branch.xid), f"/{_part(branch.app)}/{_part(branch.resource)}"
        return [f"{at}{each}{whose}" for each in what]

    def undecided(self, branch: BranchId, *what: str) -> list[str]:
        """The birth and the outcome of its transaction, and several of those."""
        at = self.transaction(branch.xid)
        return [at + BEGIN, at + DECISION, *self.each_of_branch(branch, *what)]

    def opened_by(self, namespace: str, app: str) -> str:
        """What the keys of an app's open work begin with."""
        return f"{self.prefix}{namespace}/open/{_part(app)}/"

    def open(self, branch: BranchId) -> str:
        """A branch that was told an outcome and has not ended."""
        mine = self.opened_by(branch.xid.namespace, branch.app)
        return f"{mine}{branch.xid.name}/{_part(branch.resource)}"

    def leader(self, namespace: str, app: str) -> str:
        """Who leads phase two of an app."""
        return f"{self.prefix}{namespace}/leader/{_part(app)}"

    def parts(self, key: str) -> tuple[str, list[str]]:
        """The namespace of a key, and its parts behind that."""
        namespace, *rest = key.removeprefix(self.prefix).split("/")
        return namespace, rest


_STEP, _LET_THROUGH = f'{{"mode":"{Mode.SAGA}",', ',"started":true}'
_is_plain = re.compile(r"[\w.~-]*", re.ASCII).fullmatch


def _part(text: str) -> str:
    return text if _is_plain(text) else quote(text, safe="")


def write_begin(transaction: GlobalTransaction, born: datetime) -> str:
    """Write a transaction's birth."""
    return _json(
        {
            "initiator": transaction.initiator,
            "mode": str(transaction.mode),
            "policy": transaction.policy,
            "timeoutSeconds": transaction.timeout.total_seconds(),
            "ttlSeconds": transaction.ttl.total_seconds(),
            "begunAt": format_time(born),
        }
        | ({"begunBy": transaction.begun_by} if transaction.begun_by else {})
        | ({"notify": write_notify(transaction.notify)} if transaction.notify else {})
    )


def read_begin(xid: Xid, value: str, decision: Decision | None) -> GlobalTransaction:
    """Read it, together with the decision that stands.

    Raises:
        InvalidRecordError: it is not what `write_begin` writes.
    """
    try:
        told = json.loads(value)
        return GlobalTransaction(
            xid=xid,
            initiator=told["initiator"],
            timeout=timedelta(seconds=told["timeoutSeconds"]),
            mode=Mode(told["mode"]),
            policy=told["policy"],
            ttl=timedelta(seconds=told["ttlSeconds"]),
            begun_at=parse_time(told["begunAt"]),
            begun_by=told.get("begunBy", ""),
            notify=read_notify(told.get("notify", ())),
            decision=decision,
            state=UNDER_WAY[decision.outcome] if decision else State.ACTIVE,
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"{BEGIN} of {xid}"
        raise InvalidRecordError(what, error) from error


def write_decision(decision: Decision) -> str:
    """Write an outcome: its word first."""
    rest = {"reason": decision.reason, "message": decision.message, "by": decision.by}
    return f"{decision.outcome} {_json(rest | {'at': decision.at and format_time(decision.at)})}"


def read_decision(xid: Xid, value: str) -> Decision:
    """Read an outcome.

    Raises:
        InvalidRecordError: it is not what `write_decision` writes.
    """
    word, _, rest = value.partition(" ")
    try:
        told = json.loads(rest)
        return Decision(Outcome(word), told["reason"], told["message"], told["by"], parse_time(told["at"]))
    except (KeyError, TypeError, ValueError) as error:
        what = f"{DECISION} of {xid}"
        raise InvalidRecordError(what, error) from error


def write_branch(branch: Branch) -> str:
    """Write that somebody joined, whether that lets its work through, and what was left for the end.

    The mode is the first in it, and that the work is let through the last (`is_step_let_through`).
    """
    return _json(_joined(branch) | ({"started": True} if branch.started else {}))


def is_step_let_through(value: str) -> bool:
    """Whether `write_branch` wrote a step of a saga that is let through; it may be by another key, too."""
    return value.startswith(_STEP) and value.endswith(_LET_THROUGH)


def read_branch(id_: BranchId, value: str) -> Branch:
    """Read it: a branch without outcome.

    Raises:
        InvalidRecordError: it is not what `write_branch` writes.
    """
    try:
        told = json.loads(value)
        return Branch(
            id_,
            Mode(told["mode"]),
            calls=read_calls(told.get("calls")),
            started=told.get("started", False),
            notification=read_notification(told.get("notification")),
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"branch {id_.name}"
        raise InvalidRecordError(what, error) from error


def _joined(branch: Branch) -> Json:
    joined: Json = {"mode": str(branch.mode)}
    if branch.calls is not None:
        joined["calls"] = write_calls(branch.calls)
    if branch.notification is not None:
        joined["notification"] = write_notification(branch.notification)
    return joined


def write_settlement(settlement: Settlement) -> str:
    """Write an end or a conflict with its rows: its word first."""
    told = {"reason": settlement.reason, "message": settlement.message, **conflicts_status(settlement)}
    if settlement.attempts:
        told["attempts"] = settlement.attempts
    return f"{settlement.state} {_json(told)}"


def write_resolutions(resolutions: Iterable[Resolution]) -> str:
    """Write what people have decided about a branch."""
    return _json([resolution_spec(each) for each in resolutions])


def write_open(branch: Branch) -> str:
    """Write what an app has to do, so that its watch needs to read nothing else."""
    rest: Json = {"reason": branch.reason, "message": branch.message, "started": branch.started}
    if branch.completed:
        rest["completed"] = branch.completed
    if branch.attempts:
        rest["attempts"] = branch.attempts
    if branch.resolutions:
        rest["decided"] = [resolution_spec(each) for each in branch.resolutions]
        rest["resolutions"] = write_carried_out(branch.carried_out)
    return _json({"outcome": str(branch.outcome), "state": str(branch.state)} | rest | _joined(branch))


def write_told(joined: Json, outcome: str, *, started: bool, completed: int) -> str:
    """The same of a branch that is told just now, made of what `write_branch` has written."""
    told = joined | {"outcome": outcome, "state": str(State.ACTIVE), "reason": "", "message": ""}
    told["started"] = started
    if completed:
        told["completed"] = completed
    return _json(told)


def read_open(keys: Keys, found: KeyValue) -> Branch:
    """Read it.

    Raises:
        InvalidRecordError: it is not what `write_open` writes.
    """
    try:
        namespace, (_, app, name, resource) = keys.parts(found.key)
        told = json.loads(found.value)
        return Branch(
            BranchId(Xid(namespace, name), unquote(app), unquote(resource)),
            Mode(told["mode"]),
            Outcome(told["outcome"]),
            State(told["state"]),
            told["reason"],
            told["message"],
            read_calls(told.get("calls")),
            told["started"],
            read_resolutions({"resolutions": told.get("decided", ())}),
            read_carried_out(told),
            completed=told.get("completed", 0),
            notification=read_notification(told.get("notification")),
            attempts=told.get("attempts", 0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRecordError(found.key, error) from error


_json = json.JSONEncoder(separators=(",", ":")).encode
