"""The chart with an etcd of its own, on a real kubelet: orders, a killed etcd, an upgrade, there and back."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from dev.demo import deploy, manifests
from dev.demo.cases import CASES
from dev.demo.deploy import SYSTEM
from dev.demo.shop import Shop
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.deploy import Store
    from dev.demo.places import Place

POD = "globaltx-etcd-0"
SECRETS = ("globaltx-etcd-authorities", "globaltx-etcd-root", "globaltx-etcd-server")
CLASS = "e2e-etcd"
COMMIT, ROLLBACK, _ = CASES


@dataclass
class Kept:
    """The sample in a namespace of its own, kept in the chart's etcd."""

    place: Place
    store: Store
    shop: Shop

    def install(self, *values: str) -> None:
        chosen = deploy.Store(self.store.type, (*self.store.values, *values), self.store.etcd)
        deploy.install(self.place.kubectl, self.place.images, chosen)

    def orders_end_as_they_must(self) -> None:
        for case in (COMMIT, ROLLBACK):
            assert case.run(self.shop).found == case.expected

    def secrets(self) -> list[Any]:
        return [self.place.kubectl.json("-n", SYSTEM, f"secret/{each}")["data"] for each in SECRETS]

    def uid(self, kind: str, name: str) -> str | None:
        found = self.place.kubectl.json("-n", SYSTEM, kind)["items"]
        return next((each["metadata"]["uid"] for each in found if each["metadata"]["name"] == name), None)


def volume(path: str) -> dict[str, Any]:
    """What a claim of the class gets in this cluster, which makes none by itself."""
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": CLASS,
        "hostPath": {"path": path},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": CLASS}, "spec": spec}


@pytest.fixture(scope="module")
def kept(place: Place, shop_namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    kubectl, namespace = place.kubectl, f"etcd-{secrets.token_hex(3)}"
    folder = tmp_path_factory.mktemp("etcd")
    folder.chmod(0o777)  # whoever etcd runs as: a volume of this kind has no group
    kubectl.apply(manifests.written([volume(str(folder))]))
    bundled = "store.etcd.bundled"
    store = place.own_etcd(f"{bundled}.storageClass={CLASS}", f"{bundled}.size=1Gi")
    made = Kept(place, store, Shop(kubectl, namespace, place.database))
    names = manifests.written(place.database_manifests).replace(shop_namespace, namespace)
    try:
        made.install()
        deploy.deploy(kubectl, place.images, manifests.documents(names), namespace, store)
        yield made
    finally:
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s", timeout=130)
        deploy.install(kubectl, place.images)
        kubectl("-n", SYSTEM, "delete", "secret", *SECRETS, "--ignore-not-found")
        kubectl("-n", SYSTEM, "delete", "pvc", "--all", "--timeout=60s", timeout=70)
        kubectl("delete", "pv", CLASS, "--ignore-not-found", "--timeout=60s", timeout=70)


def test_orders_end_as_they_must_and_are_shown(kept: Kept) -> None:
    kept.orders_end_as_they_must()
    said = kept.place.kubectl("-n", kept.shop.namespace, "get", "globaltx", "-l", "globaltx.io/projected")
    assert {line.split()[2] for line in said.splitlines()[1:]} == {"Committed", "RolledBack"}


def test_a_killed_etcd_comes_back_with_what_it_kept(kept: Kept) -> None:
    known, before = set(kept.shop.transactions()), kept.uid("pods", POD)
    kept.place.kubectl("-n", SYSTEM, "delete", "pod", POD, "--grace-period=0", "--force", timeout=60)
    wait_for("a new pod of the etcd", lambda: kept.uid("pods", POD) not in {None, before})
    kept.place.kubectl(
        *("-n", SYSTEM, "wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=120s"), timeout=130
    )
    kept.orders_end_as_they_must()
    assert known <= set(kept.shop.transactions()), "what was kept is still shown"


def test_an_upgrade_keeps_data_and_secrets(kept: Kept) -> None:
    known, held, claim = set(kept.shop.transactions()), kept.secrets(), kept.uid("pvc", f"data-{POD}")
    pod = kept.uid("pods", POD)
    kept.install("store.etcd.bundled.quotaMebibytes=1024")
    assert kept.uid("pods", POD) != pod
    assert (kept.secrets(), kept.uid("pvc", f"data-{POD}")) == (held, claim)
    kept.orders_end_as_they_must()
    assert known <= set(kept.shop.transactions())


def test_taking_it_away_keeps_what_the_next_one_goes_on_with(kept: Kept) -> None:
    held, claim = kept.secrets(), kept.uid("pvc", f"data-{POD}")
    deploy.install(kept.place.kubectl, kept.place.images)
    assert kept.uid("statefulsets", "globaltx-etcd") is None
    assert (kept.secrets(), kept.uid("pvc", f"data-{POD}")) == (held, claim)
    kept.install()
    kept.orders_end_as_they_must()
