"""What holds of a guarded participant, however its rows come to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sidecar.guarded.stage import Books

if TYPE_CHECKING:
    from tests.sidecar.bank.between import Answer, Fault, Forward
    from tests.sidecar.guarded.stage import Guarded

TAKES_BACK = {"try": "cancel", "step": "compensate"}
AMOUNT = 30


def spent(before: Books, times: int = 1) -> Books:
    return Books(before.balance - AMOUNT * times, before.reserved, before.spent + AMOUNT * times)


def see_confirmed_once(account: Guarded, fault: Fault) -> None:
    before, xid = account.books(), account.client.begin().xid
    assert account.ask("try", xid) == 200
    account.between.fault("confirm", fault)
    account.client.commit(xid)
    assert account.ended(xid) == "Commit"
    assert account.books() == spent(before)


def see_taken_back_once(account: Guarded, operation: str, fault: Fault) -> None:
    before, xid = account.books(), account.client.begin().xid
    assert account.ask(operation, xid) == 200
    account.between.fault(TAKES_BACK[operation], fault)
    account.client.rollback(xid)
    assert account.ended(xid) == "Rollback"
    assert account.books() == before


def see_late_one_kept_out(account: Guarded, operation: str) -> None:
    before, xid = account.books(), account.client.begin().xid
    late: list[Forward] = []

    def hold(forward: Forward) -> Answer | None:
        late.append(forward)
        return None

    account.between.fault(operation, hold)
    assert account.ask(operation, xid) == 502
    account.client.rollback(xid)
    assert account.ended(xid) == "Rollback"
    assert account.books() == before
    assert late[0]().status == 500  # the network delivers it at last
    assert account.books() == before
