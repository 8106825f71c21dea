"""What the keys of one transaction mean together.

A step of a saga that was let through asks nothing of anybody when its transaction commits. So it is not
told then, and no end of it is written: that it has ended follows from the outcome.
"""

from __future__ import annotations

import json
from dataclasses import field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from globaltx.manifest.conflicts import read_carried_out, read_resolutions
from globaltx.modes.saga import STANDS, stands
from globaltx.stores.etcd.keys import (
    BEGIN,
    BRANCH,
    COMPLETED,
    CONFLICT,
    DECISION,
    END,
    RESOLUTIONS,
    STARTED,
    InvalidRecordError,
    is_step_let_through,
    read_begin,
    read_branch,
    read_decision,
    write_told,
)
from globaltx.transaction.model import BranchId, Mode, Snapshot
from globaltx.transaction.states import Outcome, State
from globaltx.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.stores.etcd.keys import Json, Keys
    from globaltx.stores.etcd.requests import KeyValue
    from globaltx.transaction.conflict import Resolution
    from globaltx.transaction.model import Branch, Decision
    from globaltx.transaction.xid import Xid

Of = tuple[str, str]
"""App and resource of a branch."""
_KINDS = {
    BRANCH: "branches",
    STARTED: "started",
    COMPLETED: "completed",
    END: "ends",
    CONFLICT: "conflicts",
    RESOLUTIONS: "resolutions",
}
"""Where a record has what the keys of a branch hold."""
_COMMITTED = f"{State.COMMITTED} "
"""How such an end begins."""


@dataclass(slots=True)
class Record:
    """The keys of one transaction by what they are: values as they were read."""

    xid: Xid
    begin: str | None = None
    decision: str | None = None
    decided_in: int = 0
    """The revision of the outcome, which no other transaction has, even one begun anew by this name."""
    branches: dict[Of, str] = field(default_factory=dict)
    started: dict[Of, str] = field(default_factory=dict)
    completed: dict[Of, int] = field(default_factory=dict)
    """The revisions of these: that of a step which was done later is the greater one."""
    ends: dict[Of, str] = field(default_factory=dict)
    conflicts: dict[Of, str] = field(default_factory=dict)
    resolutions: dict[Of, str] = field(default_factory=dict)

    def put(self, parts: list[str], value: str, revision: int = 0) -> None:
        """Take in one key, by its parts behind the transaction's name."""
        what = parts[0]
        if what == BEGIN:
            self.begin = value
        elif what == DECISION:
            self.decision, self.decided_in = value, revision
        elif (kind := _KINDS.get(what)) is not None:
            of: dict[Of, Any] = getattr(self, kind)
            of[unquote(parts[1]), unquote(parts[2])] = revision if what == COMPLETED else value

    def rows(self, branch: BranchId) -> Json:
        """The rows in conflict of a branch, and what became of decisions, as fields of a Branch's status."""
        of = (branch.app, branch.resource)
        _, _, rest = (self.ends.get(of) or self.conflicts.get(of) or "").partition(" ")
        told: Json = json.loads(rest or "{}")
        return {name: told[name] for name in ("conflictRows", "conflicts", "resolutions") if name in told}

    @property
    def empty(self) -> bool:
        """Whether nothing of the transaction is there."""
        return self.begin is None and self.decision is None and not self.branches and not self.ends

    @property
    def outcome(self) -> str:
        """The word of the outcome, empty before it was taken."""
        return (self.decision or "").partition(" ")[0]

    @property
    def unsettled(self) -> int:
        """How many branches have not followed the outcome."""
        return sum(not self.ended(of) for of in self.branches)

    @property
    def went_smoothly(self) -> bool:
        """Whether it was committed, and all that is to be seen of its branches is that they have followed."""
        return (
            self.outcome == Outcome.COMMIT
            and not self.conflicts
            and not self.resolutions
            and all(
                is_step_let_through(joined) or self.ends.get(of, "").startswith(_COMMITTED)
                for of, joined in self.branches.items()
            )
        )

    def ended(self, of: Of) -> bool:
        """Whether a branch has followed the outcome."""
        if of in self.ends or self.outcome != Outcome.COMMIT or of not in self.branches:
            return of in self.ends
        if is_step_let_through(self.branches[of]):
            return True
        try:
            return self._stands(of, self._joined(of))
        except InvalidRecordError:
            return False

    def untold(self) -> list[tuple[BranchId, str]]:
        """Of whom an outcome that was taken just now asks something, and what `read_open` reads of that.

        Raises:
            InvalidRecordError: one of the branches is not what we write.
        """
        commits = self.outcome == Outcome.COMMIT
        joined = {
            of: self._joined(of)
            for of, value in self.branches.items()
            if of not in self.ends and not (commits and is_step_let_through(value))
        }
        places = self._places() if joined else {}
        return [
            (BranchId(self.xid, *of), self._told(of, each, places.get(of, 0)))
            for of, each in joined.items()
            if not self._stands(of, each)
        ]

    def _joined(self, of: Of) -> Json:
        try:
            joined: Json = json.loads(self.branches[of])
            joined["mode"] = Mode(joined["mode"])
        except (KeyError, TypeError, ValueError) as error:
            what = f"branch {BranchId(self.xid, *of).name}"
            raise InvalidRecordError(what, error) from error
        return joined

    def _told(self, of: Of, joined: Json, place: int) -> str:
        return write_told(joined, self.outcome, started=self._started(of, joined), completed=place)

    def _started(self, of: Of, joined: Json) -> bool:
        return of in self.started or bool(joined.get("started"))

    def _stands(self, of: Of, joined: Json) -> bool:
        """Whether the outcome itself is its end."""
        return stands(joined["mode"], self.outcome, started=self._started(of, joined))

    def _places(self) -> dict[Of, int]:
        """The places of the steps that were done, counted from 1."""
        revisions = sorted(set(self.completed.values()))
        return {of: revisions.index(revision) + 1 for of, revision in self.completed.items()}

    def snapshot(self) -> Snapshot | None:
        """What they mean; None where no transaction was begun.

        Raises:
            InvalidRecordError: one of them is not what we write.
        """
        if self.begin is None:
            return None
        decision = None if self.decision is None else read_decision(self.xid, self.decision)
        places = self._places()
        branches = [self._branch(of, decision, places.get(of, 0)) for of in self.branches]
        found = tuple(sorted(branches, key=lambda each: each.id))
        return Snapshot(read_begin(self.xid, self.begin, decision), found)

    def _branch(self, of: Of, decision: Decision | None, place: int) -> Branch:
        joined = read_branch(BranchId(self.xid, *of), self.branches[of])
        known = replace(
            joined,
            outcome=None if decision is None else decision.outcome,
            started=joined.started or of in self.started,
            completed=place,
            resolutions=self._resolutions(joined.id),
        )
        if stands(known.mode, known.outcome, started=known.started):
            return replace(known, state=STANDS.state, reason=STANDS.reason, message=STANDS.message)
        settled = self.ends.get(of) or self.conflicts.get(of)
        return known if settled is None else _settled(known, settled)

    def _resolutions(self, branch: BranchId) -> tuple[Resolution, ...]:
        value = self.resolutions.get((branch.app, branch.resource))
        try:
            return () if value is None else read_resolutions({"resolutions": json.loads(value)})
        except (KeyError, TypeError, ValueError) as error:
            what = f"the decisions about branch {branch.name}"
            raise InvalidRecordError(what, error) from error


def _settled(known: Branch, settled: str) -> Branch:
    word, _, rest = settled.partition(" ")
    try:
        told = json.loads(rest)
        return replace(
            known,
            state=State(word),
            reason=told["reason"],
            message=told["message"],
            carried_out=read_carried_out(told),
            attempts=told.get("attempts", 0),
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"the end of branch {known.id.name}"
        raise InvalidRecordError(what, error) from error


def record_of(keys: Keys, xid: Xid, found: Iterable[KeyValue]) -> Record:
    """Sort the keys of one transaction."""
    record = Record(xid)
    start = len(keys.transaction(xid))
    for each in found:
        record.put(each.key[start:].split("/"), each.value, each.revision)
    return record
