from __future__ import annotations

import base64
import json
import tomllib
from ipaddress import IPv4Network

import pytest
import yaml

from dev.cluster import configs
from dev.cluster.network import choose_pods
from dev.cluster.state import PORTS, Mode, Settings
from dev.errors import ToolError

SETTINGS = Settings(
    "some",
    Mode.FULL,
    {name: 21000 + place for place, name in enumerate(PORTS)},
    pods="10.244.0.0/24",
    bridge_ip="10.244.0.1",
)
FOLDER = str(SETTINGS.folder)


def test_a_kubeconfig_stands_alone() -> None:
    held = yaml.safe_load(configs.kubeconfig(SETTINGS, "me", b"ca", b"certificate", b"key"))
    assert held["current-context"] == held["contexts"][0]["name"] == "globaltx-some"
    assert held["clusters"][0]["cluster"]["server"] == SETTINGS.server
    assert base64.b64decode(held["users"][0]["user"]["client-key-data"]) == b"key"


def test_containerd_keeps_all_it_has_in_the_state_folder() -> None:
    held = tomllib.loads(configs.containerd(SETTINGS))
    assert all(held[name].startswith(f"{FOLDER}/") for name in ("root", "state"))
    cri = held["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["containerd"]["runtimes"]["runc"]["options"]["Root"].startswith(f"{FOLDER}/")


def test_the_kubelet_keeps_its_pods_in_a_group_of_their_own() -> None:
    held = yaml.safe_load(configs.kubelet(SETTINGS))
    assert held["cgroupRoot"] == f"/{SETTINGS.bridge}"
    assert held["clusterDNS"] == ["10.244.0.1"]
    assert held["containerRuntimeEndpoint"].startswith(f"unix://{FOLDER}/")


def test_the_pods_network_leaves_no_rules_behind() -> None:
    (bridge,) = json.loads(configs.cni(SETTINGS))["plugins"]
    assert bridge["ipMasq"] is False
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/24", "gateway": "10.244.0.1"}]]


@pytest.mark.parametrize("resolvers", [True, False])
def test_names_go_on_only_where_somebody_resolves_them(*, resolvers: bool) -> None:
    text = configs.corefile(SETTINGS, resolvers=resolvers)
    assert ("forward ." in text) is resolvers
    assert text.count("{") == text.count("}")


def test_rules_can_be_laid_twice() -> None:
    first, second = configs.translation(SETTINGS).splitlines()[:2]
    assert (first, second) == (f"table ip {SETTINGS.bridge}", f"delete table ip {SETTINGS.bridge}")


def test_the_pods_network_is_one_that_the_machine_does_not_know() -> None:
    assert str(choose_pods([])) == "10.244.0.0/24"
    used = [IPv4Network("10.244.0.0/16"), IPv4Network("192.168.0.0/24")]
    assert str(choose_pods(used)) == "10.245.0.0/24"


def test_a_machine_that_routes_everything_is_told_so() -> None:
    with pytest.raises(ToolError, match="remove one of them"):
        choose_pods([IPv4Network("10.0.0.0/8")])


def test_the_hosts_address_is_the_first_of_the_network() -> None:
    assert configs.gateway(IPv4Network("10.244.0.0/24")) == "10.244.0.1"
