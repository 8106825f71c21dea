"""The command line of each program: a pure function of the cluster's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dev.cluster.state import Component, Mode

if TYPE_CHECKING:
    from pathlib import Path

    from dev.cluster.state import Settings

ISSUER = "https://kubernetes.default.svc.cluster.local"


def command(settings: Settings, component: Component, programs: Path) -> list[str]:
    """The program's path and arguments; each has the state folder in it, by which it is found again."""
    flags = _FLAGS[component](settings)
    # containerd comes from the system, all others from our own build.
    program = "/usr/bin/containerd" if component is Component.CONTAINERD else str(programs / component)
    return [program, *flags]


def _etcd(settings: Settings) -> list[str]:
    client = f"http://127.0.0.1:{settings.ports['etcd']}"
    peer = f"http://127.0.0.1:{settings.ports['etcd-peer']}"
    flags = [
        f"--data-dir={settings.folder}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
    ]
    # What was written survives the death of every program without fsync, and
    # only a power cut loses it; tests have no use for the wait.
    return flags if settings.durable else [*flags, "--unsafe-no-fsync"]


def _apiserver(settings: Settings) -> list[str]:
    pki = f"{settings.folder}/pki"
    return [
        f"--etcd-servers=http://127.0.0.1:{settings.ports['etcd']}",
        f"--secure-port={settings.ports['apiserver']}",
        *_addresses(settings),
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-to-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-to-kubelet.key",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        f"--service-cluster-ip-range={settings.services}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--profiling=false",
    ]


def _addresses(settings: Settings) -> list[str]:
    if settings.mode is Mode.FULL:
        return [
            "--bind-address=0.0.0.0",
            f"--advertise-address={settings.bridge_ip}",
            "--kubelet-preferred-address-types=InternalIP",
        ]
    # Without pods nobody asks for the endpoints of the service `kubernetes`,
    # and a loopback address would be refused as one.
    return [
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
    ]


def _controller_manager(settings: Settings) -> list[str]:
    pki = f"{settings.folder}/pki"
    return [
        f"--kubeconfig={settings.folder}/controller-manager.kubeconfig",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        "--use-service-account-credentials=true",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--bind-address=127.0.0.1",
        f"--secure-port={settings.ports['controller-manager']}",
        "--allocate-node-cidrs=false",
        "--leader-elect=false",
        # With the 20 requests a second of the default its start alone takes 5 seconds.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


def _scheduler(settings: Settings) -> list[str]:
    return [
        f"--kubeconfig={settings.folder}/scheduler.kubeconfig",
        "--bind-address=127.0.0.1",
        f"--secure-port={settings.ports['scheduler']}",
        "--leader-elect=false",
    ]


def _containerd(settings: Settings) -> list[str]:
    return [f"--config={settings.folder}/containerd.toml"]


def _kubelet(settings: Settings) -> list[str]:
    return [
        f"--config={settings.folder}/kubelet.yaml",
        f"--kubeconfig={settings.folder}/kubelet.kubeconfig",
        f"--root-dir={settings.folder}/kubelet",
        f"--cert-dir={settings.folder}/kubelet/pki",
        f"--hostname-override={settings.node}",
        f"--node-ip={settings.bridge_ip}",
    ]


def _proxy(settings: Settings) -> list[str]:
    return [
        f"--kubeconfig={settings.folder}/proxy.kubeconfig",
        "--proxy-mode=nftables",
        f"--hostname-override={settings.node}",
        f"--cluster-cidr={settings.pods}",
        f"--healthz-bind-address=127.0.0.1:{settings.ports['proxy-health']}",
        f"--metrics-bind-address=127.0.0.1:{settings.ports['proxy-metrics']}",
        # The machine's limits of connection tracking are not ours to change.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]


def _coredns(settings: Settings) -> list[str]:
    return [f"-conf={settings.folder}/Corefile"]


_FLAGS = {
    Component.ETCD: _etcd,
    Component.APISERVER: _apiserver,
    Component.CONTROLLER_MANAGER: _controller_manager,
    Component.SCHEDULER: _scheduler,
    Component.CONTAINERD: _containerd,
    Component.KUBELET: _kubelet,
    Component.PROXY: _proxy,
    Component.COREDNS: _coredns,
}
