"""An example of services that need nothing but Flask, in a namespace of its own.

The programs are those of the example, from a ConfigMap, in the order sample's image: it has all that they
need, and is there already.
"""

from __future__ import annotations

import http.client
import json
import secrets
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from dev.demo import manifests
from dev.demo.rollout import rolled_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dev.demo.kubectl import Kubectl
    from dev.demo.places import Place

PORT = 3000
SECONDS = 60


class Sample:
    """The example in one namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self.kubectl, self.namespace = kubectl, namespace

    def ask(self, service: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send one request to a Service; the status and what its JSON says."""
        with (
            self.kubectl.forwarded(self.namespace, f"service/{service}", PORT) as port,
            closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection,
        ):
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def transactions(self) -> dict[str, str]:
        """The transactions that there are, each with its state."""
        items = self.kubectl.json("-n", self.namespace, "globaltransactions")["items"]
        return {each["metadata"]["name"]: each["status"]["state"] for each in items}

    def new(self, known: set[str]) -> dict[str, str]:
        """Those that there were not."""
        return {name: state for name, state in self.transactions().items() if name not in known}


@contextmanager
def deployed(
    place: Place, folder: Path, name: str, *, others: Sequence[Path] = (), databases: str = "shop"
) -> Iterator[Sample]:
    """Run the example of a folder whose manifests are of the namespace ``name``.

    ``others`` are folders of examples whose programs it uses as well; ``databases`` is the namespace in which
    those of the order sample are.
    """
    namespace, kubectl = f"{name}-{secrets.token_hex(3)}", place.kubectl
    text = kubectl.kustomize(folder / "manifests").replace(
        f"namespace: {name}\n", f"namespace: {namespace}\n"
    )
    text = text.replace(".shop.svc.", f".{databases}.svc.")
    parts = manifests.documents(text)
    for each in parts:
        if each["kind"] == "Namespace":
            each["metadata"]["name"] = namespace
    late = [each for each in parts if each["kind"] == "Deployment"]
    try:
        kubectl.apply(manifests.written([each for each in parts if each not in late]))
        programs = [each for part in (folder, *others) for each in sorted((part / "services").glob("*.py"))]
        files = [f"--from-file={each}" for each in programs]
        kubectl("-n", namespace, "create", "configmap", "services", *files)
        kubectl(
            *("-n", namespace, "wait", "--for=condition=Ready", "transactionpolicy", "--all"),
            "--timeout=60s",
            timeout=70,
        )
        kubectl.apply(manifests.written([_with_programs(each, place.images.sample) for each in late]))
        for each in late:
            rolled_out(kubectl, namespace, each["metadata"]["name"])
        yield Sample(kubectl, namespace)
    finally:
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def _with_programs(deployment: dict[str, Any], image: str) -> dict[str, Any]:
    pod = deployment["spec"]["template"]["spec"]
    pod.setdefault("volumes", []).append({"name": "services", "configMap": {"name": "services"}})
    (container,) = pod["containers"]
    container["image"] = image
    mount = {"name": "services", "mountPath": "/srv/services"}
    container.setdefault("volumeMounts", []).append(mount)
    return deployment
