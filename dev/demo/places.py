"""Where the demo runs: in a cluster of its own on this machine, or in one that is given."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dev.cluster.cluster import Cluster, remove
from dev.cluster.state import Mode, clusters
from dev.databases import MariaDB
from dev.demo import deploy, manifests
from dev.demo.deploy import ETCD, KUBERNETES, Images, Store, own_etcd
from dev.demo.kubectl import Kubectl
from dev.demo.rows import PodDatabase, ServerDatabase
from dev.errors import ToolError
from dev.images import etcd
from dev.images.build import build
from dev.progress import step
from globaltx import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.demo.rows import Database

CONTEXT = "GLOBALTX_CONTEXT"
REGISTRY = "GLOBALTX_REGISTRY"
CLUSTER = "GLOBALTX_CLUSTER"
NAME = "demo"
"""Of the cluster and of the database server that are the demo's own."""
LOCAL = "localhost/globaltx"
ACCOUNT = "globaltx-database"
_LOADED = "demo.globaltx.io/loaded-"


@dataclass(frozen=True)
class Place:
    """A cluster that is ready for globaltx, with a database for the sample."""

    kubectl: Kubectl
    images: Images
    database: Database
    database_manifests: list[dict[str, Any]]
    clean_up: Callable[[], None]
    installs: bool = field(kw_only=True)
    """Whether globaltx is ours to install and to take away; otherwise it is used as it is."""
    enter: str
    """What a person types to look at it."""
    leave: str
    """What a person types to take it away."""
    store: Store
    own_etcd: Callable[..., Store]
    """Brings the chart's own etcd's image to where it is needed; takes values of the chart besides."""
    example: Callable[[Path], str]
    """Brings an example's image, of its folder, to where it is needed, and gives its reference."""


def local(namespace: str, name: str = NAME, *, store: str = KUBERNETES.type) -> Place:
    """Start what is missing on this machine: Kubernetes, MariaDB, the images.

    A cluster that is not the run's own is left running, and so is globaltx if it was in it.
    """
    cluster = Cluster.up(_name(name), Mode.FULL)
    server = MariaDB.up(name, bind=("127.0.0.1", cluster.bridge_ip), sql=_sql())
    images = _built(cluster)

    def with_etcd(*more: str) -> Store:
        _load(cluster, etcd.name(), etcd.ensure())
        return own_etcd(etcd.name(), *more)

    def example(folder: Path) -> str:
        image = f"{LOCAL}/{folder.name}:{NAME}"
        _load(cluster, image, build(folder / "Dockerfile", None, image))
        return image

    kubectl = Kubectl(
        cluster.programs / "kubectl",
        cluster.programs / "helm",
        {"KUBECONFIG": str(cluster.kubeconfig)},
        cluster.context,
    )
    user, password = _account()
    outside = (manifests.SAMPLE / "database" / "outside.yaml").read_text()
    slices = manifests.documents(manifests.moved(outside, namespace))
    return Place(
        kubectl=kubectl,
        images=images,
        database=ServerDatabase("127.0.0.1", server.port, user, password),
        database_manifests=list(manifests.with_database(slices, cluster.bridge_ip, server.port)),
        installs=True,
        clean_up=_clean_up(cluster, server, kubectl, namespace, own=cluster.name == name),
        enter=f'eval "$(.venv/bin/python -m dev.cluster env --name {cluster.name})"',
        leave=(
            f".venv/bin/python -m dev.cluster down --name {cluster.name}; "
            f".venv/bin/python -m dev.databases down --name {name}"
        ),
        store=with_etcd() if store == ETCD else KUBERNETES,
        own_etcd=with_etcd,
        example=example,
    )


def given(context: str, namespace: str, *, store: str = KUBERNETES.type) -> Place:
    """Use the cluster of a context of the kubeconfig; MariaDB runs in it, in the sample's namespace.

    Images come from ``$GLOBALTX_REGISTRY``, or were loaded into the nodes before.
    """
    registry = os.environ.get(REGISTRY, "").rstrip("/")
    operator, sidecar, sample = (f"{registry or LOCAL}/{name}:{__version__}" for name in _TARGETS)
    images = Images(operator, sidecar, sample)
    kubectl = Kubectl(_program("kubectl"), _program("helm"), {}, context)
    with step(f"the cluster of context {context} answers"):
        kubectl("version", timeout=20)
    if deploy.is_foreign(kubectl, namespace, deploy.SHOP_LABEL):
        message = f"the cluster has a namespace {namespace} that is not the demo's; it is left alone"
        raise ToolError(message)
    installs = not (
        deploy.is_installed(kubectl) and deploy.is_foreign(kubectl, deploy.SYSTEM, deploy.SYSTEM_LABEL)
    )
    user, password = _account()
    database = manifests.documents(
        manifests.moved(kubectl.kustomize(manifests.SAMPLE / "database"), namespace)
    )
    return Place(
        kubectl=kubectl,
        images=images,
        database=PodDatabase(kubectl, namespace, user, password),
        database_manifests=database,
        installs=installs,
        clean_up=lambda: deploy.remove(kubectl, namespace, everything=installs),
        enter=f"kubectl config use-context {context}",
        leave=(
            f"kubectl delete namespace {namespace}"
            + (f"; helm uninstall {deploy.RELEASE} -n {deploy.SYSTEM}" if installs else "")
        ),
        store=own_etcd() if store == ETCD else KUBERNETES,
        own_etcd=lambda *more: own_etcd(None, *more),
        example=lambda folder: f"{registry or LOCAL}/{folder.name}:{__version__}",
    )


def abandon(name: str = NAME) -> None:
    """Take away what an interrupted `local` may have started, however far it came."""
    if name in {each.name for each in clusters()}:
        with step("the cluster is down"):
            remove(name)
    MariaDB.of(name).down()


def images_hint(images: Images) -> str:
    """Say what a given cluster must be able to pull, and how it gets there."""
    return (
        "the nodes must have, or be able to pull, these images:\n"
        f"  {images.operator}   (docker build --target operator .)\n"
        f"  {images.sidecar}   (docker build --target sidecar .)\n"
        f"  {images.sample}   (docker build examples/01-order)\n"
        f"set {REGISTRY} to the registry that you pushed them to, or load them into the nodes "
        "under these names"
    )


_TARGETS = ("operator", "sidecar", "order-sample")


def _name(own: str) -> str:
    """The cluster to use: the one that is named, else a demo that was kept, else our own.

    Clusters of other names are somebody's who may take them down at any time.
    """
    held = {each.name for each in clusters() if each.mode is Mode.FULL}
    return os.environ.get(CLUSTER) or (NAME if NAME in held else own)


def _sql() -> str:
    files = ("order.sql", "product.sql", "banks.sql", "accounts.sql")
    return "\n".join((manifests.SAMPLE / "database" / "sql" / file).read_text() for file in files)


def _account() -> tuple[str, str]:
    secrets = manifests.documents((manifests.SAMPLE / "manifests" / "secrets.yaml").read_text())
    return manifests.secret(secrets, ACCOUNT)


def _built(cluster: Cluster) -> Images:
    operator, sidecar, sample = (f"{LOCAL}/{name}:{NAME}" for name in _TARGETS)
    dockerfile = manifests.ROOT / "Dockerfile"
    archives = {
        operator: build(dockerfile, "operator", operator),
        sidecar: build(dockerfile, "sidecar", sidecar),
        sample: build(manifests.SAMPLE / "Dockerfile", None, sample),
    }
    for image, archive in archives.items():
        _load(cluster, image, archive)
    return Images(operator, sidecar, sample, {image: _content(each) for image, each in archives.items()})


def _content(archive: Path) -> str:
    return archive.stem[:12]


def _load(cluster: Cluster, image: str, archive: Path) -> None:
    """Bring an image into the node unless it is there with this very content, as the node's mark says."""
    mark = _LOADED + image.removeprefix(f"{LOCAL}/").partition(":")[0]
    content = _content(archive)
    node = cluster.settings.node
    held = cluster.kubectl("get", "node", node, "-o", f"jsonpath={{.metadata.annotations['{mark}']}}")
    if held == content and image in cluster.images():
        return
    with step(f"load {image} into the node"):
        cluster.load_image(archive)
        cluster.kubectl("annotate", "node", node, f"{mark}={content}", "--overwrite")


def _clean_up(
    cluster: Cluster, server: MariaDB, kubectl: Kubectl, namespace: str, *, own: bool
) -> Callable[[], None]:
    """Prepare to take away what is ours, and nothing that was there before."""
    installed = not own and deploy.is_installed(kubectl)

    def clean_up() -> None:
        if own:
            with step("the cluster is down"):
                remove(cluster.name)
        else:
            deploy.remove(kubectl, namespace, everything=not installed)
        with step("MariaDB is down"):
            server.down()

    return clean_up


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not on the PATH; a cluster of your own needs it (without {CONTEXT} it is built)"
        raise ToolError(message)
    return Path(found)
