"""Guard rows as processes: a participant that remembers nothing moves money exactly once, whatever dies."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.between import Answer, lost_answer, lost_request, repeated
from tests.sidecar.guarded.promises import (
    TAKES_BACK,
    see_confirmed_once,
    see_late_one_kept_out,
    see_taken_back_once,
    spent,
)
from tests.sidecar.guarded.stage import Books

if TYPE_CHECKING:
    from tests.sidecar.bank.between import Fault, Forward
    from tests.sidecar.guarded.stage import Guarded

pytestmark = [pytest.mark.control_plane, pytest.mark.database, pytest.mark.timeout(300)]

COMMITS = {"try": "confirm"}


def both_at_once(forward: Forward) -> Answer | None:
    """The network delivers the request twice, side by side."""
    threads = [threading.Thread(target=forward) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return None


FAULTS = [lost_request, lost_answer, repeated, both_at_once]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_confirm_works_once_whatever_the_network_does(account: Guarded, fault: Fault) -> None:
    see_confirmed_once(account, fault)


@pytest.mark.parametrize("operation", TAKES_BACK)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_takes_back_works_once_whatever_the_network_does(
    account: Guarded, operation: str, fault: Fault
) -> None:
    see_taken_back_once(account, operation, fault)


@pytest.mark.parametrize("operation", TAKES_BACK)
def test_what_never_came_is_not_taken_back_and_is_kept_out_when_it_comes(
    account: Guarded, operation: str
) -> None:
    see_late_one_kept_out(account, operation)


@pytest.mark.parametrize("operation", TAKES_BACK)
def test_a_request_that_is_delivered_twice_reserves_once(account: Guarded, operation: str) -> None:
    before, xid = account.books(), account.client.begin().xid
    account.between.fault(operation, repeated)
    assert account.ask(operation, xid) == 200  # the second was answered with 500
    account.client.commit(xid)
    assert account.ended(xid) == "Commit"
    assert account.books() == spent(before)


@pytest.mark.parametrize("operation", TAKES_BACK)
def test_a_repeat_through_another_pod_is_told_that_it_was_done(account: Guarded, operation: str) -> None:
    before, xid = account.books(), account.client.begin().xid
    assert account.ask(operation, xid, "k") == 200
    with account.other:
        assert account.ask(operation, xid, "k", account.other) == 200
        assert account.ask(operation, xid, "another", account.other) == 200
    account.client.commit(xid)
    assert account.ended(xid) == "Commit"
    assert account.books() == spent(before, times=2)


@pytest.mark.parametrize("operation", TAKES_BACK)
@pytest.mark.parametrize(("fault", "status"), [(lost_answer, 200), (lost_request, 409)])
def test_a_repeat_of_what_was_not_answered_is_told_if_it_was_done(
    account: Guarded, fault: Fault, status: int, operation: str
) -> None:
    before, xid = account.books(), account.client.begin().xid
    account.between.fault(operation, fault)
    assert account.ask(operation, xid, "k") == 502
    assert account.ask(operation, xid, "k") == status
    account.client.rollback(xid)
    assert account.ended(xid) == "Rollback"
    assert account.books() == before


def test_a_repeat_behind_a_restart_is_told_that_it_was_done(account: Guarded) -> None:
    before, xid = account.books(), account.client.begin().xid
    assert account.ask("try", xid, "k") == 200
    account.sidecar.kill()
    account.sidecar.start(60)
    assert account.ask("try", xid, "k") == 200
    account.client.commit(xid)
    assert account.ended(xid) == "Commit"
    assert account.books() == spent(before)


@pytest.mark.kill
@pytest.mark.parametrize("victim", ["service", "sidecar"])
@pytest.mark.parametrize("call", ["confirm", "cancel", "compensate"])
def test_who_dies_between_the_local_commit_and_the_answer_makes_nothing_twice(
    account: Guarded, call: str, victim: str
) -> None:
    program = {"service": account.service, "sidecar": account.sidecar}[victim]
    died = threading.Event()

    def die(forward: Forward) -> Answer | None:
        forward()
        program.kill()
        died.set()
        return None

    before, xid = account.books(), account.client.begin().xid
    assert account.ask("step" if call == "compensate" else "try", xid) == 200
    account.between.fault(call, die)
    (account.client.commit if call == "confirm" else account.client.rollback)(xid)
    assert died.wait(120)
    program.start(60)
    account.ended(xid)
    assert account.books() == (spent(before) if call == "confirm" else before)


@pytest.mark.kill
@pytest.mark.parametrize("victim", ["service", "sidecar"])
def test_who_dies_before_the_local_commit_has_done_nothing(account: Guarded, victim: str) -> None:
    program = {"service": account.service, "sidecar": account.sidecar}[victim]
    died = threading.Event()

    def die(forward: Forward) -> Answer | None:
        with account.holding_the_row():
            calling = threading.Thread(target=quietly, args=(forward,))
            calling.start()
            account.wait_for_lock()
            program.kill()
            died.set()
        calling.join(60)
        return None

    before, xid = account.books(), account.client.begin().xid
    assert account.ask("try", xid) == 200
    account.between.fault("confirm", die)
    account.client.commit(xid)
    assert died.wait(120)
    program.start(60)
    account.ended(xid)
    assert account.books() == spent(before)


def quietly(forward: Forward) -> None:
    with suppress(OSError):  # whom it was sent to is dead
        forward()


def test_without_guard_rows_the_same_faults_move_it_twice(unguarded: Guarded) -> None:
    before, xid = unguarded.books(), unguarded.client.begin().xid
    assert unguarded.ask("try", xid) == 200
    unguarded.between.fault("confirm", lost_answer)
    unguarded.client.commit(xid)
    assert unguarded.ended(xid) == "Commit"
    assert unguarded.books() == Books(before.balance - 30, before.reserved - 30, before.spent + 60)


def test_without_guard_rows_what_never_came_is_taken_back(unguarded: Guarded) -> None:
    before, xid = unguarded.books(), unguarded.client.begin().xid
    unguarded.between.fault("try", lost_request)
    assert unguarded.ask("try", xid) == 502
    unguarded.client.rollback(xid)
    assert unguarded.ended(xid) == "Rollback"
    assert unguarded.books() == before._replace(balance=before.balance + 30, reserved=before.reserved - 30)
