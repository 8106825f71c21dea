"""Whether what is passed over is just what looking at all of it would find nothing to do about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from globaltx.coordinator.decide import decide
from globaltx.coordinator.observed import Observed, ObservedBranch, Plan
from globaltx.coordinator.reasons import Reason
from globaltx.stores.etcd.keys import (
    BEGIN,
    BRANCH,
    CONFLICT,
    DECISION,
    END,
    RESOLUTIONS,
    STARTED,
    InvalidRecordError,
    write_begin,
    write_branch,
    write_decision,
    write_resolutions,
    write_settlement,
)
from globaltx.stores.etcd.passed import Passed, passed
from globaltx.stores.etcd.record import Record
from globaltx.transaction.calls import Calls
from globaltx.transaction.conflict import Remedy, Resolution
from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction, Mode, Settlement
from globaltx.transaction.notification import Notify
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid

NOW = datetime(2026, 1, 1, tzinfo=UTC)
XID = Xid("shop", "01")
TTL = timedelta(seconds=90)
COMMIT = Decision(Outcome.COMMIT, Reason.REQUEST_SUCCEEDED, "200", "front-0", NOW)
ROLLBACK = Decision(Outcome.ROLLBACK, Reason.REQUEST_FAILED, "500", "front-0", NOW)
DONE = Settlement(State.COMMITTED, Reason.COMMITTED, "")
Keys = dict[tuple[str, ...], str]


def begun(*notify: Notify) -> Keys:
    transaction = GlobalTransaction(
        XID, "front", timedelta(minutes=1), policy="pay", ttl=TTL, notify=tuple(notify)
    )
    return {(BEGIN,): write_begin(transaction, NOW)}


def decided(decision: Decision) -> Keys:
    return {(DECISION,): write_decision(decision)}


def joined(app: str, mode: Mode, *, started: bool = True) -> Keys:
    branch = Branch(BranchId(XID, app, "r"), mode, calls=Calls("/a", "/b"), started=started)
    return {(BRANCH, app, "r"): write_branch(branch)}


def settled(app: str, settlement: Settlement, what: str = END) -> Keys:
    return {(what, app, "r"): write_settlement(settlement)}


SAGA = joined("a", Mode.SAGA) | joined("b", Mode.SAGA)
TCC = joined("c", Mode.TCC) | settled("c", DONE)
SMOOTH = {
    "no branch": {},
    "a saga": SAGA,
    "a try": TCC,
    "rows": joined("d", Mode.AT, started=False) | settled("d", DONE),
    "all of them": SAGA | TCC,
}
NOTIFY = Notify("told", "https://a.example/")
BY_PERSON = {
    (RESOLUTIONS, "c", "r"): write_resolutions([Resolution(1, Remedy.KEEP, "it is right", "kim", NOW)])
}
UNDONE = Settlement(State.ROLLED_BACK, Reason.ROLLED_BACK, "")
DISPUTED = Settlement(State.CONFLICT, Reason.CONFLICT, "")
OPEN = begun() | joined("c", Mode.TCC)
LATER = begun() | joined("a", Mode.SAGA, started=False)
ROUGH = {
    "not decided": begun() | SAGA,
    "not begun": SAGA | decided(COMMIT),
    "rolled back": OPEN | decided(ROLLBACK) | settled("c", UNDONE),
    "a branch goes on": OPEN | decided(COMMIT),
    "a step that was not let through": LATER | decided(COMMIT),
    "a step that was let through later": LATER | decided(COMMIT) | {(STARTED, "a", "r"): ""},
    "the end is another": OPEN | decided(COMMIT) | settled("c", UNDONE),
    "a conflict": OPEN | decided(COMMIT) | settled("c", DISPUTED, CONFLICT),
    "a conflict that is over": begun() | decided(COMMIT) | TCC | settled("c", DISPUTED, CONFLICT),
    "a person has decided": begun() | decided(COMMIT) | TCC | BY_PERSON,
    "somebody is to be told": begun(NOTIFY) | decided(COMMIT) | SAGA,
    "its birth cannot be read": {(BEGIN,): "{"} | decided(COMMIT) | SAGA,
    "its outcome cannot be read": begun() | {(DECISION,): "Commit {"} | SAGA,
}


def record_of(keys: Keys) -> Record:
    record = Record(XID)
    for revision, (parts, value) in enumerate(keys.items(), 1):
        record.put(list(parts), value, revision)
    return record


def plan_of(record: Record) -> Plan:
    """What the operator finds when it looks at all of it."""
    snapshot = record.snapshot()
    assert snapshot is not None
    branches = tuple(ObservedBranch(each, held=False, owned=True) for each in snapshot.branches)
    return decide(Observed(snapshot.transaction, branches=branches, complete=True, held=False), NOW)


@pytest.mark.parametrize("keys", SMOOTH.values(), ids=SMOOTH)
def test_of_what_went_smoothly_there_is_nothing_to_do_but_to_keep_it(keys: Keys) -> None:
    record = record_of(begun() | keys | decided(COMMIT))
    assert passed(record) == Passed("pay", TTL, Reason.REQUEST_SUCCEEDED)
    plan = plan_of(record)
    assert plan.status is not None
    assert (plan.status.state, plan.status.telling) == (State.COMMITTED, False)
    assert plan == Plan(status=plan.status, requeue_after=TTL)


@pytest.mark.parametrize("keys", ROUGH.values(), ids=ROUGH)
def test_all_else_is_looked_at(keys: Keys) -> None:
    assert passed(record_of(keys)) is None


def test_what_cannot_be_read_is_told_by_who_reads_all_of_it() -> None:
    for name in ("its birth cannot be read", "its outcome cannot be read"):
        with pytest.raises(InvalidRecordError):
            record_of(ROUGH[name]).snapshot()
