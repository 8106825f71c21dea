"""Writing a cluster's files: certificates, kubeconfigs, and the configuration of its programs."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from dev.cluster import certificates, configs
from dev.cluster.state import Mode

if TYPE_CHECKING:
    from dev.cluster.state import Settings

# Who each kubeconfig speaks for: the user, and its groups where rights come by group.
_IDENTITIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("globaltx-admin", ("system:masters",)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "proxy": ("system:kube-proxy", ()),
    "coredns": ("system:coredns", ()),
    "kubelet": ("system:node:{node}", ("system:nodes",)),
}
_RESOLVERS = Path("/etc/resolv.conf")


def write_files(settings: Settings) -> None:
    """Write all that the programs read; certificates only once, the rest after every change of settings."""
    if not (settings.folder / "pki" / "complete").exists():
        _write_certificates(settings)
    for name in _IDENTITIES:
        _write_kubeconfig(settings, name)
    if settings.mode is Mode.FULL:
        _write_node(settings)


def kubeconfig_file(settings: Settings) -> Path:
    """The kubeconfig of the administrator."""
    return settings.folder / "admin.kubeconfig"


def has_node(settings: Settings) -> bool:
    """Whether the cluster has ever been one that runs pods."""
    return (settings.folder / "kubelet.yaml").exists()


def _write_certificates(settings: Settings) -> None:
    pki = settings.folder / "pki"
    pki.mkdir(parents=True, exist_ok=True)
    ca = certificates.authority(f"globaltx-{settings.name}")
    ca.write(pki, "ca")
    for name, (user, groups) in _IDENTITIES.items():
        certificates.issue(ca, user.format(node=settings.node), groups=groups).write(pki, name)
    certificates.issue(ca, "kube-apiserver", hosts=_server_names(settings)).write(pki, "apiserver")
    kubelet_client = certificates.issue(ca, "kube-apiserver-to-kubelet", groups=("system:masters",))
    kubelet_client.write(pki, "apiserver-to-kubelet")
    certificates.write_signing_pair(pki, "service-accounts")
    (pki / "complete").touch()


def _server_names(settings: Settings) -> list[str]:
    service = "kubernetes.default.svc"
    names = ["localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local"]
    addresses = ["127.0.0.1", str(ip_network(settings.services)[1]), settings.bridge_ip]
    return [*names, *(address for address in addresses if address)]


def _write_kubeconfig(settings: Settings, name: str) -> None:
    pki = settings.folder / "pki"
    ca, certificate, key = ((pki / file).read_bytes() for file in ("ca.crt", f"{name}.crt", f"{name}.key"))
    user = _IDENTITIES[name][0].format(node=settings.node)
    _write_private(
        settings.folder / f"{name}.kubeconfig", configs.kubeconfig(settings, user, ca, certificate, key)
    )


def _write_node(settings: Settings) -> None:
    folder = settings.folder
    for sub in ("run", "cni", "kubelet"):
        (folder / sub).mkdir(exist_ok=True)
    (folder / "kubelet.yaml").write_text(configs.kubelet(settings))
    (folder / "containerd.toml").write_text(configs.containerd(settings))
    (folder / "cni" / "10-bridge.conflist").write_text(configs.cni(settings))
    resolvers = _RESOLVERS.exists() and "nameserver" in _RESOLVERS.read_text()
    (folder / "Corefile").write_text(configs.corefile(settings, resolvers=resolvers))


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
