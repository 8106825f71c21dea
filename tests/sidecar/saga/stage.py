"""Declared sagas on a real API server: an operator, a conductor, and three providers that can be booked."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dev.waiting import wait_for
from globaltx.coordinator.policy import Egress
from globaltx.manifest.settings import SidecarSettings
from tests.ports import LOOPBACK, free_port
from tests.sidecar.bank.between import Between
from tests.sidecar.bank.stage import Json, Stage
from tests.sidecar.programs import get, service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster.cluster import Cluster
    from tests.sidecar.programs import SidecarProgram
    from tests.sidecar.site import Site

SAMPLE = Path(__file__).parents[3] / "examples" / "03-saga-trip"
CHART = Path(__file__).parents[3] / "charts" / "globaltx"
STOCK = 1000
PROVIDERS = ("flight", "hotel", "payment")


class Provider:
    """Somebody who can be booked, and what stands before them."""

    def __init__(self, name: str, folder: Path) -> None:
        port = free_port()
        self.between = Between(free_port(), port)
        held = {"DATABASE": str(folder / f"{name}.db"), "STOCK": str(STOCK)}
        self.service = service(name, [SAMPLE / "services" / "provider.py"], port, folder, **held)

    @property
    def port(self) -> int:
        """Where it is called."""
        return self.between.port

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def look(self) -> Json:
        """What is booked."""
        found: Json = json.loads(get(self.service.ready.replace("healthz", "bookings"))[1])
        return found


def limited(cluster: Cluster, namespace: str, folder: Path) -> Path:
    """A kubeconfig of somebody who may do what the chart lets a sidecar do in this namespace, and no more."""
    rendered = yaml.safe_load_all(cluster.helm("template", "globaltx", str(CHART)))
    role = next(each for each in rendered if each and each["metadata"]["name"] == "globaltx-sidecar")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump(role))
    cluster.kubectl("create", "serviceaccount", "sidecar", "-n", namespace)
    bound = ("--clusterrole=globaltx-sidecar", f"--serviceaccount={namespace}:sidecar")
    cluster.kubectl("create", "rolebinding", "sidecar", "-n", namespace, *bound)
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", "sidecar", "-n", namespace, "--duration=6h").strip()
    for user in config["users"]:
        user["user"] = {"token": token}
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


class Sagas(Stage):
    """An operator, the sidecars of the app ``trip``, and the providers."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._kubeconfig = limited(site.cluster, site.namespace, site.folder)
        self.flight, self.hotel, self.payment = self.providers = tuple(
            Provider(name, site.folder) for name in PROVIDERS
        )
        self.conductors = tuple(self._conductor(f"trip-{index}") for index in range(2))
        self.sidecar = self.conductors[0]
        self.a = self.flight
        self.betweens = tuple(each.between for each in self.providers)
        self.programs = (self.operator, self.sidecar, *(each.service for each in self.providers))
        self._count = 0

    def _conductor(self, pod: str) -> SidecarProgram:
        settings = SidecarSettings(
            namespace=self.namespace,
            app="trip",
            policies=("trip",),
            egress=(Egress(LOOPBACK, (1,)),),
            control_port=free_port(),
        )
        return self.site.sidecar(settings, pod=pod, kubeconfig=self._kubeconfig)

    def policy(self) -> Json:
        """The policy that lets the app's sagas call the providers."""
        ports = [each.port for each in self.providers]
        return {
            "apiVersion": "globaltx.io/v1alpha1",
            "kind": "TransactionPolicy",
            "metadata": {"name": "trip", "namespace": self.namespace},
            "spec": {"saga": {"egress": [{"host": LOOPBACK, "ports": ports, "paths": ["/bookings"]}]}},
        }

    @contextmanager
    def narrowed(self) -> Iterator[None]:
        """While it lasts, the policy lets nobody call the payment."""
        narrow = self.policy()
        del narrow["spec"]["saga"]["egress"][0]["ports"][2:]
        try:
            self.apply(narrow)
            yield
        finally:
            self.apply(self.policy())

    def step(self, name: str, amount: Any = 1, **more: Any) -> Json:
        """A step that books, and cancels what it has booked."""
        url = self.providers[PROVIDERS.index(name)].url
        return {
            "name": name,
            "request": {"url": f"{url}/bookings", "body": json.dumps({"amount": amount})},
            "compensation": {"url": f"{url}/bookings/cancel"},
            "timeoutSeconds": 5,
        } | more

    def trip(self, *steps: Json, **saga: Any) -> Json:
        """A saga of these steps, or flight and hotel side by side and then the payment."""
        self._count += 1
        chosen = steps or (
            self.step("flight", 2),
            self.step("hotel"),
            self.step("payment", 30, dependsOn=["flight", "hotel"]),
        )
        return {
            "apiVersion": "globaltx.io/v1alpha1",
            "kind": "GlobalTransaction",
            "metadata": {"name": f"trip-{self._count}", "namespace": self.namespace},
            "spec": {
                "mode": "Saga",
                "policy": "trip",
                "initiator": "trip",
                "timeoutSeconds": 600,
                "saga": {"steps": list(chosen), **saga},
            },
        }

    def wait(self, name: str, status: str = "True", seconds: int = 120) -> Json:
        """Wait as a person does, and give the transaction."""
        condition = f"--for=condition=Succeeded={status}"
        self.cluster.kubectl(
            *("wait", condition, f"globaltx/{name}", "-n", self.namespace, f"--timeout={seconds}s")
        )
        return self.read(name)

    def come_to(self, name: str, states: set[str]) -> Json:
        """Wait until the transaction is in one of these states, and give it."""
        wait_for(
            f"{name} in {states}",
            lambda: self.read(name)["status"]["state"] in states,
            seconds=120,
            every=0.1,
        )
        return self.read(name)

    def resolve(self, name: str, *words: str) -> str:
        """Decide as a person does, and give what is said."""
        return self.says(*("resolve", f"{self.namespace}.{name}", *words, "--why", "a test", "--wait", "90"))

    def steps(self, name: str) -> dict[str, Json]:
        """The branches of a saga by their steps."""
        label = f"globaltx.io/transaction={name}"
        text = self.cluster.kubectl("get", "gtxb", "-n", self.namespace, "-l", label, "-o", "json")
        return {each["spec"]["resource"]: each for each in json.loads(text)["items"]}

    def states(self, name: str) -> dict[str, str]:
        """How far each step has come."""
        return {
            step: each["status"].get("step", {}).get("state", "") for step, each in self.steps(name).items()
        }

    def until(self, what: str, name: str, states: dict[str, str]) -> None:
        """Wait until steps stand so."""
        wait_for(what, lambda: states.items() <= self.states(name).items(), seconds=60, every=0.1)

    def until_problem(self, words: str, name: str, step: str) -> None:
        """Wait until these words are told of a step's last call."""

        def told() -> bool:
            return words in self.steps(name)[step]["status"]["step"]["request"].get("problem", "")

        wait_for(f"{words!r} to be told of {step}", told, seconds=60, every=0.1)

    def free(self) -> tuple[int, ...]:
        """What each provider has left."""
        return tuple(int(each.look()["free"]) for each in self.providers)
