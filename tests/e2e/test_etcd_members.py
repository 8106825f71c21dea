"""The chart's own etcd with three members: any one of them may be away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.demo.deploy import SYSTEM
from dev.errors import ToolError
from dev.waiting import wait_for
from tests.e2e.kept import Kept, kept_in_etcd
from tests.e2e.membership import Membership

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.demo.places import Place

MEMBERS = tuple(f"globaltx-etcd-{number}" for number in range(3))


@pytest.fixture(scope="module")
def kept(place: Place, shop_namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folders = [tmp_path_factory.mktemp(name) for name in MEMBERS]
    with kept_in_etcd(place, shop_namespace, folders) as made:
        yield made


@pytest.mark.deep
@pytest.mark.parametrize("member", MEMBERS)
def test_orders_end_as_they_must_without_one_of_three(kept: Kept, member: str) -> None:
    """One of them leads, so one of the cases takes the leader away."""
    known = kept.orders_end_as_they_must()
    kept.kill(member)
    kept.orders_end_as_they_must()
    kept.ready(member)
    assert known <= set(kept.shop.transactions()), "what was kept is still shown"


@pytest.mark.deep
def test_an_upgrade_goes_from_one_member_to_the_next(kept: Kept) -> None:
    known, pods = kept.orders_end_as_they_must(), [kept.uid("pods", each) for each in MEMBERS]
    kept.install("store.etcd.bundled.quotaMebibytes=1024")
    assert not {kept.uid("pods", each) for each in MEMBERS} & set(pods)
    budget = kept.place.kubectl.json("-n", SYSTEM, "poddisruptionbudget/globaltx-etcd")
    assert budget["spec"]["maxUnavailable"] == 1
    kept.orders_end_as_they_must()
    assert known <= set(kept.shop.transactions())


@pytest.mark.deep
def test_a_member_that_lost_its_claim_is_replaced(kept: Kept, tmp_path: Path) -> None:
    """By the steps of docs/stores.md."""
    known, [lost, other, last] = kept.orders_end_as_they_must(), MEMBERS
    kubectl = kept.place.kubectl
    state = "--from-literal=initial-cluster-state=existing"
    kubectl("-n", SYSTEM, "create", "configmap", "globaltx-etcd", state)
    entering, fresh = tmp_path / "root", tmp_path / "fresh"
    entering.mkdir()
    fresh.mkdir()
    url = f"https://{lost}.globaltx-etcd.{SYSTEM}.svc:2380"
    Membership(kubectl, other, entering).replace(lost, url)
    kept.add_volume(fresh)
    before = kept.uid("persistentvolumeclaims", f"data-{lost}")
    kubectl("-n", SYSTEM, "delete", "pvc", f"data-{lost}", "--wait=false")
    kept.kill(lost)
    kept.ready(lost)
    kubectl("-n", SYSTEM, "delete", "configmap", "globaltx-etcd")
    assert kept.uid("persistentvolumeclaims", f"data-{lost}") not in {None, before}
    kept.kill(last)  # so that nothing is agreed on without the new one
    known |= kept.orders_end_as_they_must()
    kept.ready(last)
    assert known <= set(kept.shop.transactions())


@pytest.mark.deep
def test_other_authorities_take_a_restart_of_all_members_at_once(kept: Kept) -> None:
    """By the steps of docs/stores.md; sidecars and the operator go on as they are."""
    kubectl, before = kept.place.kubectl, kept.secrets()
    kubectl("-n", SYSTEM, "delete", "secret", "globaltx-etcd-authorities")
    wait_for("the members' new certificates", lambda: kept.changed(before))
    kubectl("-n", SYSTEM, "delete", "pod", "-l", "app.kubernetes.io/name=globaltx-etcd", timeout=90)
    for each in MEMBERS:
        kept.ready(each)
    wait_for("the sidecars to be let in", lambda: _an_order_ends(kept), seconds=240, every=5)
    kept.orders_end_as_they_must()


def _an_order_ends(kept: Kept) -> bool:
    try:
        kept.orders_end_as_they_must()
    except (AssertionError, ToolError):
        return False
    return True
