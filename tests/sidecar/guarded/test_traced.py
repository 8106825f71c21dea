"""Guard rows as processes, without a hint: what stock OpenTelemetry writes behind statements is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.between import lost_answer, lost_request, repeated
from tests.sidecar.guarded.conftest import staged
from tests.sidecar.guarded.promises import (
    TAKES_BACK,
    see_confirmed_once,
    see_late_one_kept_out,
    see_taken_back_once,
    spent,
)
from tests.sidecar.guarded.stage import GuardedByTrace
from tests.sidecar.site import IN_ETCD, IN_KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.databases import Server
    from tests.sidecar.bank.between import Fault
    from tests.sidecar.guarded.stage import Guarded

pytestmark = [pytest.mark.control_plane, pytest.mark.database, pytest.mark.timeout(300)]
FAULTS = [lost_answer, repeated]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(IN_KUBERNETES, id="kubernetes"),
        pytest.param(IN_ETCD, id="etcd", marks=[pytest.mark.etcd, pytest.mark.deep]),
    ],
)
def traced(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Server
) -> Iterator[Guarded]:
    with staged(request, tmp_path_factory, server, request.param, kind=GuardedByTrace) as running:
        yield running


@pytest.mark.parametrize("fault", FAULTS)
def test_a_confirm_works_once_whatever_the_network_does(traced: Guarded, fault: Fault) -> None:
    see_confirmed_once(traced, fault)


@pytest.mark.parametrize("operation", TAKES_BACK)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_takes_back_works_once_whatever_the_network_does(
    traced: Guarded, operation: str, fault: Fault
) -> None:
    see_taken_back_once(traced, operation, fault)


@pytest.mark.parametrize("operation", TAKES_BACK)
def test_what_never_came_is_not_taken_back_and_is_kept_out_when_it_comes(
    traced: Guarded, operation: str
) -> None:
    see_late_one_kept_out(traced, operation)


@pytest.mark.parametrize("operation", TAKES_BACK)
@pytest.mark.parametrize(("fault", "status"), [(lost_answer, 200), (lost_request, 409)])
def test_a_repeat_of_what_was_not_answered_is_told_if_it_was_done(
    traced: Guarded, operation: str, fault: Fault, status: int
) -> None:
    before, xid = traced.books(), traced.client.begin().xid
    traced.between.fault(operation, fault)
    assert traced.ask(operation, xid, "k") == 502
    assert traced.ask(operation, xid, "k") == status
    traced.client.rollback(xid)
    assert traced.ended(xid) == "Rollback"
    assert traced.books() == before


def test_two_tries_of_one_trace_are_not_mixed_up(traced: Guarded) -> None:
    before, xid = traced.books(), traced.client.begin().xid
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for _ in range(2):
        assert traced.ask("try", xid, traceparent=parent) == 200
    traced.client.commit(xid)
    assert traced.ended(xid) == "Commit"
    assert traced.books() == spent(before, times=2)


def test_what_was_registered_at_the_local_api_is_called_without_a_row(traced: Guarded) -> None:
    """Its work named no trace that anybody knows: by a row of its cancel it would never have been done."""
    before, xid = traced.books(), traced.client.begin().xid
    traced.client.join(xid, "reserve", "/reserve/confirm", "/reserve/cancel")
    traced.client.rollback(xid)
    assert traced.ended(xid) == "Rollback"
    assert traced.books() == before._replace(balance=before.balance + 30, reserved=before.reserved - 30)
