"""The pods' network on this machine: a bridge, a route to the services, address translation."""

from __future__ import annotations

import json
from contextlib import suppress
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from dev.cluster import configs
from dev.errors import ToolError
from dev.shell import run, succeeds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dev.cluster.state import Settings

_CANDIDATES = [ip_network(f"10.{second}.0.0/24") for second in range(244, 256)]
_BRIDGED_CALLS = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_PROXY_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))


def choose_pods(used: Iterable[IPv4Network]) -> IPv4Network:
    """The first of our candidate networks that this machine has no route to yet."""
    held = list(used)
    for candidate in _CANDIDATES:
        if isinstance(candidate, IPv4Network) and not any(candidate.overlaps(other) for other in held):
            return candidate
    message = f"this machine has routes into all of {_CANDIDATES[0]} to {_CANDIDATES[-1]}; remove one of them"
    raise ToolError(message)


def routed() -> list[IPv4Network]:
    """The networks that this machine has routes to, the default route left out."""
    destinations = [route["dst"] for route in json.loads(run("ip", "-json", "-4", "route", "show"))]
    return [IPv4Network(dst, strict=False) for dst in destinations if dst != "default"]


def prepare(settings: Settings) -> None:
    """Make the bridge and what belongs to it; what is there already is left as it is."""
    if not succeeds("ip", "link", "show", settings.bridge):
        run("ip", "link", "add", settings.bridge, "type", "bridge")
    bits = settings.pods.partition("/")[2]
    run("ip", "address", "replace", f"{settings.bridge_ip}/{bits}", "dev", settings.bridge)
    run("ip", "link", "set", settings.bridge, "up")
    # Programs on this machine find the services also where there is no default route.
    run("ip", "route", "replace", settings.services, "dev", settings.bridge)
    _FORWARDING.write_text("1")
    _see_bridged_packets()
    run("nft", "-f", "-", stdin=configs.translation(settings))
    _let_through(settings)


def remove(settings: Settings) -> None:
    """Take away all that `prepare`, the pods and kube-proxy have made in the network."""
    with suppress(ToolError):
        run("ip", "link", "delete", settings.bridge)
    for family, table in (*_PROXY_TABLES, ("ip", settings.bridge)):
        with suppress(ToolError):
            run("nft", "delete", "table", family, table)
    for way in ("-i", "-o"):
        with suppress(ToolError):
            run("iptables", "-D", "FORWARD", way, settings.bridge, "-j", "ACCEPT")


def is_there(settings: Settings) -> bool:
    """Whether the bridge stands and has its address."""
    try:
        return settings.bridge_ip in run("ip", "-4", "address", "show", settings.bridge)
    except ToolError:
        return False


def _see_bridged_packets() -> None:
    # A pod that calls a service whose pod is on the same bridge gets its answer
    # past the host; the translation back happens only if the kernel shows
    # bridged packets to it.
    if not _BRIDGED_CALLS.exists():
        with suppress(ToolError):
            run("modprobe", "br_netfilter")
    if not _BRIDGED_CALLS.exists():
        message = (
            "this kernel lacks br_netfilter, without which pods reach no service; use --mode control-plane"
        )
        raise ToolError(message)
    _BRIDGED_CALLS.write_text("1")


def _let_through(settings: Settings) -> None:
    # Container engines set the policy of forwarding to drop, which would cut our pods off.
    with suppress(ToolError):
        if "-P FORWARD DROP" not in run("iptables", "-S", "FORWARD"):
            return
        for way in ("-i", "-o"):
            rule = ("FORWARD", way, settings.bridge, "-j", "ACCEPT")
            if not succeeds("iptables", "-C", *rule):
                run("iptables", "-I", *rule)
