"""From what is shown to what is wanted, one write at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from globaltx.coordinator.conditions import Status
from globaltx.coordinator.reasons import Reason
from globaltx.manifest.check import problems
from globaltx.manifest.projected import (
    LABEL_PROJECTED,
    Shown,
    Verb,
    Wanted,
    Write,
    asked,
    is_of,
    is_projected,
    next_write,
)
from globaltx.manifest.schemas import branches as branch_schemas
from globaltx.manifest.schemas import transactions as transaction_schemas
from globaltx.transaction.calls import Calls, Request
from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction, Mode
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid

XID = Xid("shop", "t-1")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ACTIVE = {"state": "Active"}
COMMIT = Decision(Outcome.COMMIT, str(Reason.REQUEST_SUCCEEDED), "answered 200", "pod-1")
TRANSACTION = GlobalTransaction(XID, "order", timedelta(seconds=60), policy="p", begun_at=NOW)
BRANCHES = tuple(Branch(BranchId(XID, app, "db")) for app in ("order", "stock"))


class Server:
    """What an API server makes of writes."""

    def __init__(self) -> None:
        self.transaction: dict[str, Any] | None = None
        self.branches: dict[str, dict[str, Any]] = {}
        self.made = 0

    def shown(self) -> Shown:
        return Shown(self.transaction, self.branches)

    def apply(self, write: Write) -> None:
        if write.verb is Verb.DELETE:
            self.transaction, self.branches = None, {}
        elif write.verb is Verb.CREATE:
            self.made += 1
            made = {**write.body, "status": ACTIVE}
            made["metadata"] = {**made["metadata"], "uid": f"uid-{self.made}"}
            if write.branch is None:
                self.transaction = made
            else:
                self.branches[write.branch] = made
        else:
            of = self.transaction if write.branch is None else self.branches[write.branch]
            assert of is not None
            for part, fields in write.body.items():
                of[part] = {**of.get(part, {}), **fields}


def settle(server: Server, wanted: Wanted | None) -> list[tuple[str, bool]]:
    """Write until nothing is left; tell what was written, and whether it was to a branch."""
    written = []
    while (write := next_write(wanted, server.shown(), NOW)) is not None:
        server.apply(write)
        written.append((str(write.verb), write.branch is not None))
        assert len(written) < 50
    return written


def ended() -> Wanted:
    status = Status(State.COMMITTED, "Committed.", 2, 2, NOW, NOW + timedelta(seconds=3))
    branches = tuple(
        replace(each, outcome=Outcome.COMMIT, state=State.COMMITTED, reason="Committed", message="done")
        for each in BRANCHES
    )
    return Wanted(replace(TRANSACTION, decision=COMMIT), branches, status)


def test_what_is_shown_is_marked_and_holds_nobody_up() -> None:
    server = Server()
    settle(server, Wanted(TRANSACTION, BRANCHES, Status()))
    assert server.transaction is not None
    for each in (server.transaction, *server.branches.values()):
        assert is_projected(each)
        assert each["metadata"]["labels"][LABEL_PROJECTED] == "true"
        assert "finalizers" not in each["metadata"]
    assert {each["metadata"]["ownerReferences"][0]["uid"] for each in server.branches.values()} == {"uid-1"}
    assert not list(problems(transaction_schemas.spec(), server.transaction["spec"], "spec"))
    for each in server.branches.values():
        assert not list(problems(branch_schemas.spec(), each["spec"], "spec"))


def test_a_new_transaction_costs_a_write_each_and_the_end_only_what_changed() -> None:
    server = Server()
    assert settle(server, Wanted(TRANSACTION, BRANCHES, Status())) == [
        ("create", False),
        ("create", True),
        ("create", True),
    ]
    assert settle(server, ended()) == [("patch", False), ("status", False)] + 2 * [
        ("patch", True),
        ("status", True),
    ]
    assert server.transaction is not None
    assert server.transaction["spec"]["outcome"] == "Commit"
    assert server.transaction["status"]["duration"] == "3s"
    assert settle(server, ended()) == []
    assert settle(server, None) == [("delete", False)]


def test_what_changed_often_costs_no_more_than_what_changed_once() -> None:
    server = Server()
    assert len(settle(server, ended())) == 2 + 2 * 2


def test_the_same_again_is_no_write_whenever_it_is_looked_at() -> None:
    server = Server()
    settle(server, ended())
    assert next_write(ended(), server.shown(), NOW + timedelta(days=1)) is None
    later = replace(ended(), status=replace(ended().status, settled_at=NOW + timedelta(hours=1)))
    assert next_write(later, server.shown(), NOW) is None  # as a new leader has it


def test_an_outcome_that_a_person_set_is_asked_for_and_left_alone() -> None:
    server = Server()
    settle(server, Wanted(TRANSACTION, BRANCHES, Status()))
    assert server.transaction is not None
    assert asked(server.transaction) is None
    server.transaction["spec"] |= {
        "outcome": "Commit",
        "outcomeReason": "DecidedByPerson",
        "decidedBy": "ann",
    }
    assert asked(server.transaction) == Decision(Outcome.COMMIT, Reason.DECIDED_BY_PERSON, "", "ann")
    assert next_write(Wanted(TRANSACTION, BRANCHES, Status()), server.shown(), NOW) is None
    settle(server, ended())
    assert server.transaction["spec"]["outcomeReason"] == "DecidedByPerson"


def test_an_outcome_that_came_too_late_is_replaced_by_the_one_that_stands() -> None:
    server = Server()
    settle(server, Wanted(TRANSACTION, BRANCHES, Status()))
    assert server.transaction is not None
    server.transaction["spec"] |= {"outcome": "Rollback", "outcomeReason": "DecidedByPerson"}
    first = next_write(ended(), server.shown(), NOW)
    assert first is not None
    assert (first.verb, first.refuses) == (Verb.DELETE, True)
    settle(server, ended())
    assert server.transaction["spec"]["outcome"] == "Commit"


def test_what_had_the_name_before_is_not_taken_for_it() -> None:
    server = Server()
    settle(server, ended())
    again = replace(TRANSACTION, begun_at=NOW + timedelta(hours=1))
    assert server.transaction is not None
    assert is_of(server.transaction, TRANSACTION)
    assert not is_of(server.transaction, again)
    assert settle(server, Wanted(again, BRANCHES, Status()))[:2] == [("delete", False), ("create", False)]
    assert asked(server.transaction) is None
    del server.transaction["metadata"]["annotations"]  # shown by an operator that did not say it
    assert is_of(server.transaction, TRANSACTION)


def test_branches_are_given_to_a_transaction_that_was_made_anew() -> None:
    server = Server()
    settle(server, Wanted(TRANSACTION, BRANCHES, Status()))
    server.transaction = None  # the garbage collector is slower than we are
    assert settle(server, Wanted(TRANSACTION, BRANCHES, Status())) == [
        ("create", False),
        ("patch", True),
        ("patch", True),
    ]


def test_nothing_is_written_to_what_goes() -> None:
    server = Server()
    settle(server, Wanted(TRANSACTION, BRANCHES, Status()))
    assert server.transaction is not None
    server.transaction["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    assert next_write(ended(), server.shown(), NOW) is None
    assert next_write(None, server.shown(), NOW) is None


def test_requests_of_tries_are_not_shown() -> None:
    server = Server()
    calls = Calls("/confirm", "/cancel", request=Request("POST", body=b"secret"))
    branch = replace(BRANCHES[0], mode=Mode.TCC, calls=calls)
    settle(server, Wanted(TRANSACTION, (branch,), Status()))
    [shown] = server.branches.values()
    assert shown["spec"]["calls"]["onCommit"] == "/confirm"
    assert "request" not in shown["spec"]["calls"]


def test_rows_in_conflict_come_and_go() -> None:
    server = Server()
    branch = replace(BRANCHES[0], outcome=Outcome.ROLLBACK, state=State.CONFLICT, reason="RowChanged")
    name = branch.id.name
    rows = {"conflictRows": 1, "conflicts": [{"row": "r7", "table": "stock", "key": "id=7"}]}
    shown = Wanted(TRANSACTION, (branch,), Status(), {name: rows})
    settle(server, shown)
    assert server.branches[name]["status"]["conflicts"] == rows["conflicts"]
    done = {"resolutions": [{"number": 1, "rows": 1}]}
    assert settle(server, replace(shown, rows={name: done})) == [("status", True)]
    status = server.branches[name]["status"]
    assert (status["conflicts"], status["conflictRows"]) == (None, None)  # which take the fields away
    assert status["resolutions"] == done["resolutions"]
    assert settle(server, replace(shown, rows={name: done})) == []
