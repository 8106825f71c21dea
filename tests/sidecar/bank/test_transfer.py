"""The example as processes: transfers that go well, that fail, and that meet every fault at every step."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.modes import tcc
from globaltx.stores.kubernetes.access import from_kubeconfig
from globaltx.stores.kubernetes.client import KubernetesClient
from globaltx.stores.kubernetes.store import KubernetesStore
from globaltx.transaction.calls import Calls, Request
from globaltx.transaction.model import Decision, GlobalTransaction, Mode
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import RANDOM_BITS, new_xid
from tests.sidecar.bank.between import answered
from tests.sidecar.bank.cases import CASES, QUERIES, STEPS, meet
from tests.sidecar.bank.page import Cell, Matrix

if TYPE_CHECKING:
    from tests.sidecar.bank.stage import Banks

pytestmark = [pytest.mark.control_plane, pytest.mark.database, pytest.mark.timeout(600)]

MATRIX = Matrix("matrix", "bank A's", CASES, STEPS)
AMOUNT = 30


def test_a_transfer_commits(banks: Banks) -> None:
    before, balances = set(banks.outcomes()), banks.balances()
    assert banks.transfer(AMOUNT) == 200
    assert banks.settled(before) == "Commit"
    assert banks.balances() == (balances[0] - AMOUNT, balances[1] + AMOUNT)


def test_a_transfer_of_too_much_moves_nothing(banks: Banks) -> None:
    before, balances = set(banks.outcomes()), banks.balances()
    assert banks.transfer(10**6) == 409
    assert banks.settled(before) == "Rollback"
    assert banks.balances() == balances
    assert banks.b.between.calls["cancel"] == 0  # it was never asked


def test_a_transfer_that_fails_at_last_gives_back(banks: Banks) -> None:
    before, balances = set(banks.outcomes()), banks.balances()
    assert banks.transfer(AMOUNT, "?fail") == 409
    assert banks.settled(before) == "Rollback"
    assert banks.balances() == balances


def test_what_is_refused_for_ever_is_shown_and_goes_on_after_a_person_has_acted(banks: Banks) -> None:
    banks.a.between.clear()
    before, balances = set(banks.outcomes()), banks.balances()
    for _ in range(200):
        banks.a.between.fault("confirm", answered(404))
    assert banks.transfer(AMOUNT) == 200
    banks.wait_for_branch("Conflict")
    banks.a.between.clear()  # the person
    banks.a.sidecar.kill()
    banks.a.sidecar.start()  # and impatient
    assert banks.settled(before) == "Commit"
    assert banks.balances() == (balances[0] - AMOUNT, balances[1] + AMOUNT)


def test_a_branch_of_a_policy_that_is_no_more_is_called_all_the_same(banks: Banks) -> None:
    """The transfer service has no tries; its sidecar stands for election once such a branch waits."""
    before = set(banks.outcomes())
    asyncio.run(leave_behind(banks))
    assert banks.settled(before) == "Rollback"


async def leave_behind(banks: Banks) -> None:
    xid = new_xid(banks.namespace, time.time_ns() // 1_000_000, secrets.randbits(RANDOM_BITS))
    branch = tcc.branch_id(xid, "transfer", "of-old", "")
    async with KubernetesClient(from_kubeconfig(str(banks.cluster.kubeconfig))) as client:
        store = KubernetesStore(client, banks.namespace)
        await store.begin(GlobalTransaction(xid, "transfer", timedelta(seconds=60)))
        await store.join(branch, Mode.TCC, Calls("/healthz", "/healthz", Request("GET")))
        await store.start(branch)
        await store.decide(xid, Decision(Outcome.ROLLBACK, Reason.DECIDED_BY_PERSON))


@pytest.mark.kill
@pytest.mark.parametrize(("banks", "cell"), MATRIX.cells(), indirect=["banks"], scope="module")
def test_whatever_goes_wrong_both_banks_agree(banks: Banks, cell: Cell) -> None:
    case, step = cell.case, cell.step
    before, balances = set(banks.outcomes()), banks.balances()
    status = meet(banks, step, case, lambda: banks.transfer(AMOUNT, QUERIES[step]))
    outcome = banks.settled(before)
    moved = AMOUNT if outcome == "Commit" else 0
    assert banks.balances() == (balances[0] - moved, balances[1] + moved)
    assert banks.reserved() == 0
    assert status != 200 or outcome == "Commit"
    MATRIX.note(banks.site.store, cell, outcome)


@pytest.mark.kill
def test_the_page_shows_every_cell() -> None:
    MATRIX.check()
