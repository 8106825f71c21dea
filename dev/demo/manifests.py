"""The sample's manifests with this run's images, namespace and database addresses put in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "examples" / "01-order"
CHART = ROOT / "charts" / "globaltx"
NAMESPACE = "shop"
POLICY = "TransactionPolicy"
SAMPLE_IMAGE = "globaltx-order-sample"
CONTENTS_ANNOTATION = "demo.globaltx.io/image-contents"


def documents(text: str) -> list[dict[str, Any]]:
    """Read manifests."""
    return [each for each in yaml.safe_load_all(text) if each]


def written(manifests: Iterable[dict[str, Any]]) -> str:
    """Write manifests."""
    return yaml.safe_dump_all(manifests, sort_keys=False)


def moved(text: str, namespace: str) -> str:
    """Put another namespace for the sample's own, also in the databases' names."""
    out = text.replace(f"namespace: {NAMESPACE}\n", f"namespace: {namespace}\n")
    out = out.replace(f"name: {NAMESPACE}\n", f"name: {namespace}\n")
    return out.replace(f".{NAMESPACE}.svc", f".{namespace}.svc")


def with_images(manifests: Iterable[dict[str, Any]], sample: str, contents: str) -> Iterator[dict[str, Any]]:
    """Put the image that was built into the sample's deployments.

    What it and the sidecar's hold goes into an annotation of the pods: new contents make new pods.
    """
    for manifest in manifests:
        template = manifest["spec"]["template"]
        template["metadata"]["annotations"][CONTENTS_ANNOTATION] = contents
        for container in template["spec"]["containers"]:
            if SAMPLE_IMAGE in container["image"]:
                container["image"] = sample
        yield manifest


def with_projection(policies: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Let transactions in an etcd be shown until they are forgotten, as those in Kubernetes are."""
    for policy in policies:
        yield {**policy, "spec": {**policy["spec"], "projection": "All"}}


def with_database(manifests: Iterable[dict[str, Any]], host: str, port: int) -> Iterator[dict[str, Any]]:
    """Point the EndpointSlices of ``database/outside.yaml`` to a server."""
    for manifest in manifests:
        if manifest["kind"] == "EndpointSlice":
            manifest["endpoints"] = [{"addresses": [host]}]
            manifest["ports"] = [{**each, "port": port} for each in manifest["ports"]]
        yield manifest


def secret(manifests: Iterable[dict[str, Any]], name: str) -> tuple[str, str]:
    """Give the user and the password of one of the sample's Secrets."""
    found = next(each for each in manifests if each["kind"] == "Secret" and each["metadata"]["name"] == name)
    data = found["stringData"]
    return data["username"], data["password"]
