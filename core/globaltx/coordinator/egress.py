"""Where steps of declared sagas and notifications may go: nowhere but where a policy says.

Asked when a saga or a policy is applied and again before each call, with the URL as it will be called. A
name that is allowed may resolve to anything; which addresses are never called is asked too (`forbidden`).
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from globaltx.coordinator.matching import is_dots
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.coordinator.policy import Egress

URL = (
    r"^(?P<scheme>https?)://(?P<host>[a-z0-9]([-a-z0-9.]*[a-z0-9])?)(:(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#\s]*)?(\?(?P<query>[^#\s]*))?$"
)
"""What a URL looks like: no user, no fragment, and a host that is no template."""
_TEMPLATE = re.compile(r"\{\{[\w\s.-]*\}\}")
"""What may stand for a value; anything else in braces would hide where a URL leads."""
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORTS = {"http": 80, "https": 443}
_METADATA = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16"))
)
"""Where clouds keep credentials, besides the link-local ones: AWS, Google, Alibaba, Azure."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that end with one of IPv4, to which a gateway leads: https://www.rfc-editor.org/rfc/rfc6052."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL by its parts; the path as it is written."""

    host: str
    port: int
    path: str


def target(url: str) -> Target | None:
    """Read a URL; None: it is none that a step can call."""
    match = re.fullmatch(URL, _TEMPLATE.sub("x", url))
    if match is None:
        return None
    return Target(match["host"], int(match["port"] or _PORTS[match["scheme"]]), match["path"] or "/")


def refusal(url: str, allowed: Iterable[Egress], field: str) -> str:
    """Say why a URL must not be called, and that ``field`` of the policy is the list; empty: it may be."""
    found = target(url)
    if found is None:
        return f"{url[:200]!r} is no URL that can be called: write http(s)://host[:port]/path"
    if any(map(is_dots, unquote(found.path).replace("\\", "/").split("/"))):
        return f"the path {found.path[:200]!r} has segments . or .. in it"
    if any(_allows(each, found) for each in allowed):
        return ""
    return (
        f"no {field} of the policy allows {found.host}:{found.port} with the path {found.path[:200]!r}; "
        "add the host, its port and the first segments of the path there"
    )


def _allows(egress: Egress, found: Target) -> bool:
    if egress.host != found.host or found.port not in egress.ports:
        return False
    return not egress.paths or any(_below(found.path, prefix) for prefix in egress.paths)


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def forbidden(address: str, *, named: bool) -> bool:
    """Whether an address is never called: link-local ones (cloud metadata), and, by a name, the pod's own.

    ``named`` tells that a name has led there. A policy may allow a loopback address as it is written.
    """
    found = _led_to(ipaddress.ip_address(address))
    never = found.is_link_local or found.is_multicast or found.is_unspecified or found in _METADATA
    return never or (named and found.is_loopback)


def _led_to(address: _Address) -> _Address:
    """The address of IPv4 that one of IPv6 stands for, if it does."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def forbidden_as_written(host: str) -> bool:
    """Whether a host, as a policy or a URL has it, is an address that is never called."""
    try:
        return forbidden(host, named=False)
    except ValueError:
        return False  # a name: what it leads to is asked when it is called
