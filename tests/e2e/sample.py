"""An example in a namespace of its own.

Unless it has an image of its own, its programs come from a ConfigMap, in the order sample's image: it has all
that most of them need, and is there already.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dev.demo import manifests
from dev.demo.deploy import KUBERNETES
from dev.demo.rollout import rolled_out
from dev.demo.shop import ENDS
from dev.shell import CommandError
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dev.demo.deploy import Store
    from dev.demo.kubectl import Kubectl
    from dev.demo.places import Place

PORT = 3000
SECONDS = 60
GLOBALTX = Path(sys.executable).parent / "globaltx"
CONNECT = """
import json, socket, sys
for place in json.loads(sys.argv[1]):
    socket.create_connection(tuple(place), 2).close()
"""
PATIENCE_SECONDS = 240
"""For a command that takes a second, on a machine that does much else."""


class Sample:
    """The example in one namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self.kubectl, self.namespace = kubectl, namespace

    def ask(self, service: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send one request to a Service; the status and what its JSON says."""
        status, said = self._ask(f"service/{service}", method, path, body)
        return status, json.loads(said)

    def status(self, service: str, method: str, path: str, body: Any = None) -> int:
        """Send one request to a Service that need not answer with JSON; the status."""
        return self._ask(f"service/{service}", method, path, body)[0]

    def post(self, target: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Any]:
        """Send one request with headers; ``deployment/...`` is a program itself, past its sidecar."""
        status, said = self._ask(target, "POST", path, body, headers)
        return status, json.loads(said)

    def _ask(
        self, target: str, method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        with (
            self.kubectl.forwarded(self.namespace, target, PORT) as port,
            closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection,
        ):
            given = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, None if body is None else json.dumps(body), given)
            response = connection.getresponse()
            return response.status, response.read()

    def transactions(self) -> dict[str, str]:
        """The transactions that there are, each with its state."""
        items = self.kubectl.json("-n", self.namespace, "globaltransactions")["items"]
        return {each["metadata"]["name"]: each.get("status", {}).get("state", "") for each in items}

    def end(self, known: set[str]) -> tuple[str, str]:
        """Wait until the one transaction that is not known has ended; its name, and how it stands."""

        def new() -> list[tuple[str, str]]:
            return [each for each in self.transactions().items() if each[0] not in known]

        wait_for(
            "the transaction to come to an end",
            lambda: [state in ENDS for _, state in new()] == [True],
            seconds=SECONDS,
            every=0.2,
        )
        (ended,) = new()
        return ended

    def diagnosed(self, transaction: str, *more: str) -> str:
        """What a person sees who asks with kubectl's own rights."""
        context = [f"--context={self.kubectl.context}"] if self.kubectl.context else []
        line = [str(GLOBALTX), "diagnose", f"{self.namespace}.{transaction}", *context, *more]
        ended = subprocess.run(
            line,
            env=os.environ | self.kubectl.env,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_SECONDS,
        )
        return ended.stdout

    def said(self, transaction: str) -> dict[str, tuple[str, str]]:
        """By app, how its branch stands, and what the participant says of it."""
        told: dict[str, Any] = json.loads(self.diagnosed(transaction, "-o", "json"))
        return {each["app"]: (each["state"], each["participant"]["state"]) for each in told["branches"]}

    def branches(self, transaction: str) -> dict[str, tuple[str, str]]:
        """The mode of each app's branch, and how it stands."""
        items = self.kubectl.json("-n", self.namespace, "branches")["items"]
        return {
            each["spec"]["app"]: (each["spec"]["mode"], each["status"]["state"])
            for each in items
            if each["spec"]["transaction"] == transaction
        }


@contextmanager
def deployed(
    place: Place,
    folder: Path,
    name: str,
    *,
    others: Sequence[Path] = (),
    databases: str = manifests.NAMESPACE,
    store: Store = KUBERNETES,
    own_image: bool = False,
) -> Iterator[Sample]:
    """Run the example of a folder whose manifests are of the namespace ``name``.

    ``others`` are folders of examples whose programs it uses as well; ``databases`` is the namespace in which
    those of the order sample are; ``own_image`` says that it needs more than the order sample's has.
    """
    namespace, kubectl = f"{name}-{secrets.token_hex(3)}", place.kubectl
    parts = _moved(kubectl.kustomize(folder / "manifests"), name, namespace, databases)
    if store.etcd:
        parts = [*_shown(parts)]
    late = [each for each in parts if each["kind"] == "Deployment"]
    image = place.example(folder) if own_image else place.images.sample
    try:
        kubectl.apply(manifests.written([each for each in parts if each not in late]))
        if not own_image:
            programs = [each for part in (folder, *others) for each in (part / "services").glob("*.py")]
            files = [f"--from-file={each}" for each in sorted(programs)]
            kubectl("-n", namespace, "create", "configmap", "services", *files)
        kubectl(
            *("-n", namespace, "wait", "--for=condition=Ready", "transactionpolicy", "--all"),
            "--timeout=60s",
            timeout=70,
        )
        kubectl.apply(manifests.written(_with_image(each, image, mounts=not own_image) for each in late))
        for each in late:
            rolled_out(kubectl, namespace, each["metadata"]["name"])
        services = [each for each in parts if each["kind"] == "Service"]
        wait_for("the Services", lambda: _lead_somewhere(kubectl, namespace, services, late[0]), every=0.2)
        yield Sample(kubectl, namespace)
    finally:
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def _lead_somewhere(
    kubectl: Kubectl, namespace: str, services: Sequence[dict[str, Any]], place: dict[str, Any]
) -> bool:
    """Whether a pod of a deployment reaches them all: a node hears of pods that are ready a little later."""
    ports = [(each["metadata"]["name"], each["spec"]["ports"][0]["port"]) for each in services]
    name = place["metadata"]["name"]
    try:
        kubectl(
            *("-n", namespace, "exec", f"deployment/{name}", "-c", name, "--"),
            *("python3", "-c", CONNECT, json.dumps(ports)),
        )
    except CommandError:
        return False
    return True


def _moved(text: str, name: str, namespace: str, databases: str) -> list[dict[str, Any]]:
    """The manifests of the namespace ``name`` for another one."""
    text = text.replace(f"namespace: {name}\n", f"namespace: {namespace}\n")
    text = text.replace(f".{manifests.NAMESPACE}.svc.", f".{databases}.svc.")
    text = text.replace(f".{name}.svc", f".{namespace}.svc")
    parts = manifests.documents(text)
    for each in parts:
        if each["kind"] == "Namespace":
            each["metadata"]["name"] = namespace
    return parts


def _shown(parts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Let what an etcd keeps be seen until it is forgotten."""
    for each in parts:
        yield from manifests.with_projection([each]) if each["kind"] == manifests.POLICY else [each]


def _with_image(deployment: dict[str, Any], image: str, *, mounts: bool) -> dict[str, Any]:
    """Run the image, with the programs of the ConfigMap where that ``mounts`` them."""
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["image"] = image
    if mounts:
        pod.setdefault("volumes", []).append({"name": "services", "configMap": {"name": "services"}})
        mount = {"name": "services", "mountPath": "/srv/services"}
        container.setdefault("volumeMounts", []).append(mount)
    return deployment
