"""The chart's own etcd with three members: any one of them may be away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.demo.deploy import SYSTEM
from tests.e2e.kept import Kept, kept_in_etcd

if TYPE_CHECKING:
    from collections.abc import Iterator

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
