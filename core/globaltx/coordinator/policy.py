"""A TransactionPolicy as a value: which requests begin transactions, which databases take part."""

from __future__ import annotations

from dataclasses import field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from globaltx.transaction.calls import (
    DEFAULT_CALL_TIMEOUT,
    DEFAULT_REFUSALS,
    DEFAULT_SUCCESS_STATUSES,
    Order,
    Reservation,
)
from globaltx.transaction.model import Mode
from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.transaction.notification import Notify

DEFAULT_TIMEOUT = timedelta(seconds=60)
DEFAULT_TTL = timedelta(hours=1)
DEFAULT_LOCK_WAIT = timedelta(seconds=3)
DEFAULT_ROWS = 100_000
DEFAULT_HEADERS = ("content-type",)


class Propagation(StrEnum):
    """What a route makes of an xid that comes in, and of none."""

    REQUIRED = "Required"
    """Take part; without an xid begin."""
    REQUIRES_NEW = "RequiresNew"
    """Begin in any case; an xid that comes in goes no further."""
    SUPPORTS = "Supports"
    """Take part; without an xid pass on."""
    NOT_SUPPORTED = "NotSupported"
    """Pass on in any case, without the xid."""
    MANDATORY = "Mandatory"
    """Take part; without an xid, or with one that nobody knows, refuse."""
    NEVER = "Never"
    """Pass on; with an xid refuse."""


class Projection(StrEnum):
    """Which transactions that are kept in an etcd are shown as resources."""

    ALL = "All"
    """Until they are forgotten."""
    UNSETTLED = "Unsettled"
    """Until they have ended."""
    NONE = "None"
    """Not at all."""


@dataclass(frozen=True, slots=True)
class Tcc:
    """What makes a route's requests try calls.

    ``confirm`` and ``cancel`` are paths of the same application, in which ``{name}`` is what the
    route's template found. ``headers`` of the try are repeated to them, lower case.
    """

    confirm: str
    cancel: str
    timeout: timedelta = DEFAULT_CALL_TIMEOUT
    success_statuses: frozenset[int] = DEFAULT_SUCCESS_STATUSES
    refusals_max: int = DEFAULT_REFUSALS
    headers: tuple[str, ...] = DEFAULT_HEADERS
    guarded: bool = True
    mode: ClassVar[Mode] = Mode.TCC
    reservation: ClassVar[Reservation | None] = None


@dataclass(frozen=True, slots=True)
class Tcd:
    """What makes a route's requests tries of reservations that end by themselves.

    As in `Tcc`, but nothing is cancelled. The path of ``reservation.state`` may hold variables too.
    """

    confirm: str
    reservation: Reservation
    timeout: timedelta = DEFAULT_CALL_TIMEOUT
    success_statuses: frozenset[int] = DEFAULT_SUCCESS_STATUSES
    refusals_max: int = DEFAULT_REFUSALS
    headers: tuple[str, ...] = DEFAULT_HEADERS
    mode: ClassVar[Mode] = Mode.TCD
    cancel: ClassVar[str] = ""
    guarded: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Saga:
    """What makes a route's requests steps of a saga, whose name is the route's.

    As in `Tcc`, but the step's work stands from the beginning; ``compensate`` takes it back.
    """

    compensate: str
    order: Order = Order.REVERSE
    depends_on: tuple[str, ...] = ()
    timeout: timedelta = DEFAULT_CALL_TIMEOUT
    success_statuses: frozenset[int] = DEFAULT_SUCCESS_STATUSES
    refusals_max: int = DEFAULT_REFUSALS
    headers: tuple[str, ...] = DEFAULT_HEADERS
    guarded: bool = True
    mode: ClassVar[Mode] = Mode.SAGA
    confirm: ClassVar[str] = ""
    reservation: ClassVar[Reservation | None] = None

    @property
    def cancel(self) -> str:
        """What is called on Rollback."""
        return self.compensate


Tries: TypeAlias = "Tcc | Tcd | Saga"
"""What makes a route's requests branches."""


@dataclass(frozen=True, slots=True)
class Route:
    """A request that begins a transaction, or takes part in one in its own way.

    ``path`` is compared whole, ``path_prefix`` by path segments, ``path_template`` by segments of
    which some may be anything, ``path_regex`` is an expression for the whole (exactly one is set).
    """

    name: str
    method: str = "POST"
    path: str = ""
    path_prefix: str = ""
    mode: Mode = Mode.AT
    timeout: timedelta = DEFAULT_TIMEOUT
    commit_statuses: frozenset[int] = frozenset({200})
    path_template: str = ""
    propagation: Propagation = Propagation.REQUIRED
    tcc: Tcc | None = None
    tcd: Tcd | None = None
    saga: Saga | None = None
    path_regex: str = ""
    request_id_header: str = ""
    """The header, lower case, that names a request: with the same, it begins the same transaction."""
    notify: tuple[Notify, ...] = ()
    """Who is told the outcome of what it begins."""

    @property
    def tries(self) -> Tries | None:
        """What makes its requests branches; None where they are none."""
        return self.tcc or self.tcd or self.saga


@dataclass(frozen=True, slots=True)
class HttpCapture:
    """The named container port that the sidecar takes over, and its routes.

    At an ``edge`` requests come from outside, and no xid that they carry is believed. ``joins_by_trace``:
    statements take part by the trace that a comment of theirs names.
    """

    port: str
    routes: tuple[Route, ...] = ()
    edge: bool = False
    joins_by_trace: bool = False


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
    phase two uses. ``sensitive_columns`` (``table.column``, each a name or ``*``) are never shown.
    One local transaction with an xid changes at most ``rows_max`` rows. ``guards_local_writes``:
    changes without an xid wait for global transactions too. ``guards_calls``: it holds the guard rows of
    calls whose statements ask for one.
    """

    name: str
    host: str
    schema: str
    secret: str
    port: int = 3306
    aliases: tuple[str, ...] = ()
    manage_undo_table: bool = True
    tls: Tls = Tls()
    sensitive_columns: tuple[str, ...] = ()
    rows_max: int = DEFAULT_ROWS
    guards_local_writes: bool = False
    guards_calls: bool = False


@dataclass(frozen=True, slots=True)
class Egress:
    """Where calls may go that leave the pod: a host as it is written, its ports, paths by segments.

    Without ``paths`` all of them.
    """

    host: str
    ports: tuple[int, ...]
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notifying:
    """Where outcomes may be told; ``secret`` names the Secret with the key that they are signed with."""

    secret: str
    egress: tuple[Egress, ...]


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
    projection: Projection = Projection.UNSETTLED
    egress: tuple[Egress, ...] | None = None
    """Where declared sagas may call; None: the pods conduct none."""
    notifying: Notifying | None = None
    """None: the pods tell nobody an outcome."""
