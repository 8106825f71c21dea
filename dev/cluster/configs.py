"""The text of every file that the programs read: pure functions of the cluster's settings."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from dev.cluster.state import Settings

PAUSE_IMAGE = "localhost/globaltx/pause:1"
_CNI_PLUGINS = "/usr/lib/cni"


def kubeconfig(settings: Settings, user: str, ca: bytes, certificate: bytes, key: bytes) -> str:
    """How one user reaches the API server; everything is in the file, so that it can be copied."""
    context = context_name(settings)
    return _yaml(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": context,
                    "cluster": {"server": settings.server, "certificate-authority-data": _base64(ca)},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": _base64(certificate),
                        "client-key-data": _base64(key),
                    },
                }
            ],
            "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
            "current-context": context,
        }
    )


def context_name(settings: Settings) -> str:
    """The context of the cluster in its kubeconfig."""
    return f"globaltx-{settings.name}"


def kubelet(settings: Settings) -> str:
    """The kubelet's configuration."""
    folder = settings.folder
    return _yaml(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": settings.bridge_ip,
            "port": settings.ports["kubelet"],
            "healthzPort": settings.ports["kubelet-health"],
            "readOnlyPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{folder}/pki/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "clusterDNS": [settings.bridge_ip],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": f"unix://{folder}/run/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{settings.bridge}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            # A developer's disk is often nearly full, and images loaded by hand come from no registry.
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            # Rules of iptables would stay behind; nothing here uses them.
            "makeIPTablesUtilChains": False,
            "imageGCHighThresholdPercent": 100,
            "podLogsDir": f"{folder}/pod-logs",
            "volumePluginDir": f"{folder}/kubelet/volume-plugins",
        }
    )


def containerd(settings: Settings) -> str:
    """The configuration of containerd 1.6 and later, with every folder of its own."""
    folder = settings.folder
    return f"""\
version = 2
root = "{folder}/containerd"
state = "{folder}/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "{folder}/run/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Lowering the score needs CAP_SYS_RESOURCE, which root in a container lacks:
  # without this line no pod starts there.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_CNI_PLUGINS}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{folder}/run/runc"
      SystemdCgroup = false
"""


def cni(settings: Settings) -> str:
    """The pods' network: a bridge that the host has an address on.

    Addresses are translated by a table of ours (see `network`) and not by the
    plugin, whose rules would outlive a crash.
    """
    bridge = {
        "type": "bridge",
        "bridge": settings.bridge,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": f"{settings.folder}/ipam",
            "ranges": [[{"subnet": settings.pods, "gateway": settings.bridge_ip}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    network = {"cniVersion": "0.4.0", "name": settings.bridge, "plugins": [bridge]}
    return json.dumps(network, indent=2) + "\n"


def corefile(settings: Settings, *, resolvers: bool) -> str:
    """CoreDNS at the bridge's address; other names go on to the machine's own resolvers."""
    forward = "    forward . /etc/resolv.conf\n" if resolvers else ""
    return f"""\
.:53 {{
    bind {settings.bridge_ip}
    errors
    health 127.0.0.1:{settings.ports["coredns-health"]}
    ready 127.0.0.1:{settings.ports["coredns-ready"]}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {settings.folder}/coredns.kubeconfig
        pods insecure
        ttl 5
        fallthrough in-addr.arpa ip6.arpa
    }}
{forward}    cache 5
}}
"""


def rights() -> str:
    """What CoreDNS may read: the services and their endpoints."""
    reads = ["list", "watch"]
    return _yaml_all(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "system:coredns"},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": reads},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": reads},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:coredns",
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
        },
    )


def translation(settings: Settings) -> str:
    """Rules for nft: what leaves the pods' network does so under the machine's address."""
    return f"""\
table ip {settings.bridge}
delete table ip {settings.bridge}
table ip {settings.bridge} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        ip saddr {settings.pods} ip daddr != {settings.pods} masquerade
    }}
}}
"""


def gateway(pods: IPv4Network) -> str:
    """The bridge's address: the first of the pods' network."""
    return str(pods[1])


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def _yaml_all(*documents: dict[str, Any]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False)
