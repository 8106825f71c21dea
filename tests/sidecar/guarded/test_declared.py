"""Guard rows of declared sagas as processes: steps and compensations work once, whatever is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from dev.waiting import wait_for
from tests.sidecar.bank.between import lost_answer, lost_request, repeated
from tests.sidecar.guarded.conftest import staged
from tests.sidecar.guarded.declared import GuardedByDeclared
from tests.sidecar.guarded.promises import AMOUNT, spent
from tests.sidecar.site import IN_ETCD, IN_KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.databases import Server
    from tests.sidecar.bank.between import Answer, Fault, Forward

pytestmark = [pytest.mark.control_plane, pytest.mark.database, pytest.mark.timeout(300)]
FAULTS = [lost_request, lost_answer, repeated]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(IN_KUBERNETES, id="kubernetes"),
        pytest.param(IN_ETCD, id="etcd", marks=[pytest.mark.etcd, pytest.mark.deep]),
    ],
)
def booked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Server
) -> Iterator[GuardedByDeclared]:
    """The participant in each store; the sagas themselves are in Kubernetes always."""
    with staged(request, tmp_path_factory, server, request.param, kind=GuardedByDeclared) as running:
        declared = cast("GuardedByDeclared", running)
        declared.allow()
        yield declared


def outcome(booked: GuardedByDeclared, name: str) -> str:
    """Wait until a saga has ended."""

    def ended() -> str:
        state = str(booked.read(name).get("status", {}).get("state", ""))
        return state if state in {"Committed", "RolledBack", "Conflict"} else ""

    return wait_for(f"{name} to have ended", ended, seconds=120, every=0.1)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_step_works_once_whatever_the_network_does(booked: GuardedByDeclared, fault: Fault) -> None:
    before = booked.books()
    booked.between.fault("step", fault)
    assert outcome(booked, booked.book()) == "Committed"
    assert booked.books() == spent(before)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_compensation_works_once_whatever_the_network_does(booked: GuardedByDeclared, fault: Fault) -> None:
    before = booked.books()
    booked.between.fault("compensate", fault)
    assert outcome(booked, booked.book(fails=True)) == "RolledBack"
    assert booked.books() == before


def test_what_never_came_is_not_taken_back_and_is_kept_out_when_it_comes(booked: GuardedByDeclared) -> None:
    before = booked.books()
    late: list[Forward] = []

    def hold(forward: Forward) -> Answer | None:
        late.append(forward)
        return None

    booked.between.fault("step", hold)
    assert outcome(booked, booked.book(attempts=1)) == "RolledBack"
    assert late[0]().status == 500  # the network delivers it at last
    assert booked.books() == before


def test_a_saga_of_the_same_name_is_another(booked: GuardedByDeclared) -> None:
    before = booked.books()
    name = booked.book()
    assert outcome(booked, name) == "Committed"
    booked.cluster.kubectl("delete", "globaltx", name, "-n", booked.namespace, "--wait=true")
    booked._count -= 1
    assert outcome(booked, booked.book()) == "Committed"
    assert booked.books() == spent(before, times=2)


def test_without_guard_rows_the_same_fault_moves_it_twice(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Server
) -> None:
    with staged(
        request, tmp_path_factory, server, IN_KUBERNETES, kind=GuardedByDeclared, guards=False
    ) as running:
        declared = cast("GuardedByDeclared", running)
        declared.allow()
        before = declared.books()
        declared.between.fault("step", lost_answer)
        assert outcome(declared, declared.book()) == "Committed"
        assert declared.books() == before._replace(
            balance=before.balance - 2 * AMOUNT, spent=before.spent + 2 * AMOUNT
        )
