"""A TransactionPolicy as a value: which requests begin transactions, which databases take part."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from globaltx.transaction.model import Mode

DEFAULT_TIMEOUT = timedelta(seconds=60)
DEFAULT_TTL = timedelta(hours=1)
DEFAULT_LOCK_WAIT = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Route:
    """A request that begins a transaction.

    ``path`` is compared whole; ``path_prefix`` by path segments (exactly one of them is set).
    """

    name: str
    method: str = "POST"
    path: str = ""
    path_prefix: str = ""
    mode: Mode = Mode.AT
    timeout: timedelta = DEFAULT_TIMEOUT
    commit_statuses: frozenset[int] = frozenset({200})


@dataclass(frozen=True, slots=True)
class HttpCapture:
    """The named container port that the sidecar takes over, and its routes."""

    port: str
    routes: tuple[Route, ...] = ()


class TlsMode(StrEnum):
    """How the sidecar secures its connections to a database."""

    DISABLED = "Disabled"
    """In the clear."""
    PREFERRED = "Preferred"
    """TLS whenever the server offers it; who the server is, is not checked."""
    REQUIRED = "Required"
    """TLS or no connection; who the server is, is not checked."""
    VERIFY_IDENTITY = "VerifyIdentity"
    """TLS with a certificate of the given authority, made out to the datasource's host."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS of a datasource.

    ``ca_secret`` holds ``ca.crt`` (set with VerifyIdentity, and only then), ``server_secret`` the
    certificate that the sidecar shows to the application (``tls.crt``, ``tls.key``; empty: none).
    """

    mode: TlsMode = TlsMode.PREFERRED
    ca_secret: str = ""
    server_secret: str = ""


@dataclass(frozen=True, slots=True)
class Datasource:
    """A database schema whose statements take part; ``name`` is the branch's resource.

    The application reaches it by one of ``aliases``; the sidecar connects to ``host``, which
    must be none of them. ``secret`` holds ``username`` and ``password`` of the account that
    phase two uses.
    """

    name: str
    host: str
    schema: str
    secret: str
    port: int = 3306
    aliases: tuple[str, ...] = ()
    manage_undo_table: bool = True
    tls: Tls = Tls()


@dataclass(frozen=True, slots=True)
class Policy:
    """One TransactionPolicy; ``selector`` are the labels of the pods that it is for (empty: all)."""

    namespace: str
    name: str
    selector: dict[str, str] = field(default_factory=dict)
    http: HttpCapture | None = None
    datasources: tuple[Datasource, ...] = ()
    lock_wait: timedelta = DEFAULT_LOCK_WAIT
    ttl: timedelta = DEFAULT_TTL


def covers(route: Route, path: str) -> bool:
    """Whether a path is the route's, or lies below its prefix by whole segments."""
    if route.path:
        return path == route.path
    prefix = route.path_prefix.rstrip("/")
    return path == prefix or path.startswith(prefix + "/")


def overlap(one: Route, other: Route) -> bool:
    """Whether some request matches both routes."""
    if one.method != other.method:
        return False
    return covers(one, other.path or other.path_prefix) or covers(other, one.path or one.path_prefix)
