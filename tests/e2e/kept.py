"""The sample kept in the chart's own etcd, in a namespace of its own, with the volumes that it asks for."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dev.demo import deploy, manifests
from dev.demo.cases import CASES
from dev.demo.deploy import SYSTEM
from dev.demo.shop import Shop
from dev.shell import CommandError
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.demo.deploy import Store
    from dev.demo.places import Place

SECRETS = ("globaltx-etcd-authorities", "globaltx-etcd-root", "globaltx-etcd-server")
CLASS = "e2e-etcd"
COMMIT, ROLLBACK, _ = CASES


@dataclass
class Kept:
    """What runs, and what is looked at."""

    place: Place
    store: Store
    shop: Shop
    volumes: list[str] = field(default_factory=list)

    def add_volume(self, folder: Path) -> None:
        """Let one more claim of the class be met."""
        name = f"{CLASS}-{len(self.volumes)}"
        self.place.kubectl.apply(manifests.written([_volume(name, folder)]))
        self.volumes.append(name)

    def install(self, *values: str) -> None:
        """Install or upgrade, with values besides."""
        chosen = deploy.Store(self.store.type, (*self.store.values, *values), self.store.etcd)
        deploy.install(self.place.kubectl, self.place.images, chosen)

    def orders_end_as_they_must(self) -> set[str]:
        """Place one that commits and one that fails, and give what is shown of them for three minutes."""
        results = [case.run(self.shop) for case in (COMMIT, ROLLBACK)]
        assert [each.found for each in results] == [each.expected for each in results]
        return {each.transaction for each in results}

    def shows_all_of(self, namespace: str) -> bool:
        """Whether every transaction that a namespace shows is kept in the etcd."""
        return not self.place.kubectl("-n", namespace, "get", "globaltx", "-l", "!globaltx.io/projected")

    def secrets(self) -> list[Any]:
        """What the operator made for it."""
        return [self.place.kubectl.json("-n", SYSTEM, f"secret/{each}")["data"] for each in SECRETS]

    def changed(self, before: list[Any]) -> bool:
        """Whether the operator has made the authorities and what the members show anew."""
        try:
            authorities, _, server = self.secrets()
        except CommandError:  # one of them is not there
            return False
        return bool(authorities != before[0] and server != before[2])

    def uid(self, kind: str, name: str) -> str | None:
        """Tell one object from the next of its name."""
        found = self.place.kubectl.json("-n", SYSTEM, kind)["items"]
        return next((each["metadata"]["uid"] for each in found if each["metadata"]["name"] == name), None)

    def kill(self, pod: str) -> None:
        """Take a member away at once, without a word to it."""
        before = self.uid("pods", pod)
        self.place.kubectl("-n", SYSTEM, "delete", "pod", pod, "--grace-period=0", "--force", timeout=60)
        wait_for("a new pod of the etcd", lambda: self.uid("pods", pod) not in {None, before})

    def ready(self, pod: str) -> None:
        """Wait for a member."""
        wait = ("-n", SYSTEM, "wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=120s")
        self.place.kubectl(*wait, timeout=130)


@contextmanager
def kept_in_etcd(place: Place, shop_namespace: str, folders: list[Path]) -> Iterator[Kept]:
    """Bring up as many members as there are folders, and the sample; put the chart back afterwards."""
    kubectl, namespace = place.kubectl, f"etcd-{secrets.token_hex(3)}"
    asked = {"storageClass": CLASS, "size": "1Gi", "replicas": len(folders)}
    store = place.own_etcd(*(f"store.etcd.bundled.{name}={value}" for name, value in asked.items()))
    made = Kept(place, store, Shop(kubectl, namespace, place.database))
    names = manifests.written(place.database_manifests).replace(shop_namespace, namespace)
    try:
        for folder in folders:
            made.add_volume(folder)
        made.install()
        deploy.deploy(kubectl, place.images, manifests.documents(names), namespace, store)
        yield made
    finally:
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s", timeout=130)
        deploy.install(kubectl, place.images)
        kubectl("-n", SYSTEM, "delete", "secret", *SECRETS, "--ignore-not-found")
        kubectl("-n", SYSTEM, "delete", "pvc", "--all", "--timeout=60s", timeout=70)
        kubectl("delete", "pv", *made.volumes, "--ignore-not-found", "--timeout=60s", timeout=70)


def _volume(name: str, folder: Path) -> dict[str, Any]:
    """What a claim of the class gets in this cluster, which makes none by itself."""
    folder.chmod(0o777)  # whoever etcd runs as: a volume of this kind has no group
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": CLASS,
        "hostPath": {"path": str(folder)},
    }
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}
