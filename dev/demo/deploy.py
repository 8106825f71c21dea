"""Putting globaltx and the order sample into a cluster; done again, it changes only what differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dev.demo import manifests
from dev.demo.rollout import replaced, rolled_out
from dev.errors import ToolError
from dev.progress import step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dev.demo.kubectl import Kubectl

SYSTEM = "globaltx-system"
RELEASE = "globaltx"
SYSTEM_LABEL = "app.kubernetes.io/part-of=globaltx-demo"
SHOP_LABEL = "app.kubernetes.io/part-of=globaltx-order-sample"
APPS = ("aggregation-svc", "order-svc", "product-svc")
CRDS = ("globaltransactions.globaltx.io", "branches.globaltx.io", "transactionpolicies.globaltx.io")
_READY_SECONDS = 120


@dataclass(frozen=True)
class Images:
    """What runs, by full reference."""

    operator: str
    sidecar: str
    sample: str
    contents: dict[str, str] = field(default_factory=dict)
    """What a reference stands for, where the same one can come to stand for something new."""


@dataclass(frozen=True)
class Store:
    """Where transactions are kept."""

    type: str
    values: tuple[str, ...] = ()
    """Of the chart, besides the type."""
    etcd: str | None = None
    """The StatefulSet of the chart's own etcd, if that is where."""


KUBERNETES = Store("kubernetes")
ETCD = "etcd"


def own_etcd(image: str | None = None, *more: str) -> Store:
    """Give the chart's own etcd, for a trial unless told otherwise."""
    bundled = "store.etcd.bundled"
    chosen = [f"{bundled}.enabled=true", *(more or (f"{bundled}.ephemeral=true",))]
    chosen += [f"{bundled}.image={image}"] if image else []
    return Store(ETCD, tuple(chosen), f"{RELEASE}-etcd")


def install(kubectl: Kubectl, images: Images, store: Store = KUBERNETES) -> None:
    """Install or upgrade the chart, and its definitions, which helm installs but never upgrades."""
    if is_installed(kubectl):
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(manifests.CHART / "crds"))
    with step("helm upgrade --install globaltx charts/globaltx"):
        kubectl.helm(
            "upgrade",
            "--install",
            RELEASE,
            str(manifests.CHART),
            "--namespace",
            SYSTEM,
            "--create-namespace",
            *_values(images),
            *(f"--set={each}" for each in (f"store.type={store.type}", *store.values)),
        )
        for crd in CRDS:
            kubectl("wait", "--for=condition=Established", f"crd/{crd}", f"--timeout={_READY_SECONDS}s")
    kubectl("label", "namespace", SYSTEM, SYSTEM_LABEL, "--overwrite")
    with step("the operator is ready"):
        rolled_out(kubectl, SYSTEM, f"{RELEASE}-operator")
        replaced(kubectl, SYSTEM, f"{RELEASE}-operator")
    if store.etcd:
        with step("the etcd is ready"):
            kubectl(
                *("-n", SYSTEM, "rollout", "status", f"statefulset/{store.etcd}"),
                f"--timeout={_READY_SECONDS}s",
                timeout=_READY_SECONDS + 10,
            )


def deploy(
    kubectl: Kubectl,
    images: Images,
    database: Sequence[dict[str, Any]],
    namespace: str,
    store: Store = KUBERNETES,
) -> None:
    """Deploy the sample with its database's names; the policies come before the pods."""
    sample = manifests.documents(
        manifests.moved(kubectl.kustomize(manifests.SAMPLE / "manifests"), namespace)
    )
    late = [each for each in sample if each["kind"] == "Deployment"]
    policies = [each for each in sample if each["kind"] == manifests.POLICY]
    if store.etcd:
        policies = list(manifests.with_projection(policies))
    early = [each for each in sample if each not in late and each not in policies]
    with step("apply the namespace, the Secrets, the Services and the database's names"):
        kubectl.apply(manifests.written([*early, *database]))
        _rolled_out(kubectl, namespace, [each for each in database if each["kind"] == "Deployment"])
    with step("apply the TransactionPolicies"):
        kubectl.apply(manifests.written(policies))
        kubectl(
            "-n",
            namespace,
            "wait",
            "--for=condition=Ready",
            *(f"transactionpolicy/{each['metadata']['name']}" for each in policies),
            f"--timeout={_READY_SECONDS}s",
            timeout=_READY_SECONDS + 10,
        )
    with step("deploy the order sample, injected"):
        # Pods keep to the store that they were made with: another one makes new pods, too.
        contents = f"{_contents(images, images.sample, images.sidecar)}-{store.type}"
        late = list(manifests.with_images(late, images.sample, contents))
        kubectl.apply(manifests.written(late))
        _rolled_out(kubectl, namespace, late)
        _injected(kubectl, namespace)


def _rolled_out(kubectl: Kubectl, namespace: str, deployments: Sequence[dict[str, Any]]) -> None:
    for deployment in deployments:
        rolled_out(kubectl, namespace, deployment["metadata"]["name"])


def _injected(kubectl: Kubectl, namespace: str) -> None:
    for pod in kubectl.json("-n", namespace, "pods")["items"]:
        asked = (pod["metadata"].get("annotations") or {}).get("globaltx.io/inject") == "true"
        names = [each["name"] for each in pod["spec"].get("initContainers") or ()]
        if asked and "globaltx-sidecar" not in names:
            message = f"pod {pod['metadata']['name']} asked for a sidecar and has none: is the webhook there?"
            raise ToolError(message)


def is_foreign(kubectl: Kubectl, namespace: str, label: str) -> bool:
    """Whether the namespace is there and not ours; ours bears the label (``name=value``)."""
    if namespace not in kubectl("get", "namespaces", "-o", "jsonpath={.items[*].metadata.name}").split():
        return False
    ours = kubectl("get", "namespaces", "-l", label, "-o", "jsonpath={.items[*].metadata.name}")
    return namespace not in ours.split()


def is_installed(kubectl: Kubectl) -> bool:
    """Whether the chart is there already."""
    return RELEASE in kubectl.helm("list", "--namespace", SYSTEM, "--short", "--all").split()


def remove(kubectl: Kubectl, namespace: str, *, everything: bool) -> None:
    """Take the sample and, with `everything`, globaltx away, in the order that leaves nothing behind.

    The operator goes last: it takes the finalizers off what the namespace still holds.
    """
    with step(f"delete the namespace {namespace}"):
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s", timeout=130)
    if everything:
        uninstall(kubectl)
        kubectl("delete", "namespace", SYSTEM, "--ignore-not-found", "--timeout=120s", timeout=130)


def uninstall(kubectl: Kubectl) -> None:
    """Take the chart away; the custom resources' definitions stay, as helm leaves them."""
    with step("helm uninstall globaltx"):
        kubectl.helm("uninstall", RELEASE, "--namespace", SYSTEM, "--ignore-not-found", "--wait")


def _contents(images: Images, *names: str) -> str:
    return "-".join(images.contents.get(name, name) for name in names)


def _values(images: Images) -> list[str]:
    return [
        f"--set-string=image.operator={images.operator}",
        f"--set-string=image.sidecar={images.sidecar}",
        # Another content under the same name must make new pods.
        f"--set-string=operator.podAnnotations.image-contents={_contents(images, images.operator)}",
    ]
