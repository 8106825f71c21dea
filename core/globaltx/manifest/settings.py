"""What the injection tells a sidecar: one JSON text in the variable ``GLOBALTX_SETTINGS``.

It is made from the policies at admission, so that a sidecar starts, and passes plain traffic
on, while the API server and the operator are away.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from globaltx.coordinator.policy import (
    DEFAULT_ROWS,
    Datasource,
    Egress,
    Notifying,
    Propagation,
    Route,
    Saga,
    Tcc,
    Tcd,
    Tls,
    TlsMode,
)
from globaltx.manifest.calls import read_egress, read_reservation, write_reservation
from globaltx.manifest.notify import read_notify, write_notify
from globaltx.transaction.calls import Order
from globaltx.transaction.model import Mode
from globaltx.values import dataclass

SETTINGS_VARIABLE = "GLOBALTX_SETTINGS"
HTTP_PORT = 15000
"""Where the sidecar takes inbound HTTP over."""
CONTROL_PORT = 15021
"""``/healthz``, ``/readyz`` and ``/metrics``."""
LOCAL_PORT = 15001
"""The local API, on loopback."""
CREDENTIALS_FOLDER = "/etc/globaltx/credentials"
"""One folder a datasource with the files ``username`` and ``password``, and as far as its TLS asks for
them ``ca.crt``, ``tls.crt`` and ``tls.key``; only the sidecar mounts it."""
ETCD_FOLDER = "/etc/globaltx/etcd"
"""What enters the etcd of the store, if anything has to: ``ca.crt``, ``tls.crt``, ``tls.key``, ``username``,
``password``; only the sidecar mounts it."""
NOTIFY_FOLDER = "/etc/globaltx/notify"
"""The files ``key`` and, while it is being changed, ``previous-key``; only the sidecar mounts it."""
TOKEN_FOLDER = "/var/run/secrets/globaltx.io/serviceaccount"  # noqa: S105  a folder, not a secret
"""``token``, ``ca.crt`` and ``namespace``, projected; only the sidecar mounts it."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Inbound HTTP: listen on ``HTTP_PORT``, pass on to ``127.0.0.1:upstream_port``."""

    upstream_port: int
    routes: tuple[Route, ...]
    listen_port: int = HTTP_PORT
    listen_host: str = "0.0.0.0"  # noqa: S104  the pod's own address is not known beforehand
    edge: bool = False
    joins_by_trace: bool = False


@dataclass(frozen=True, slots=True)
class DatasourceSettings:
    """One database: listen on ``listen_host:listen_port``, pass on to the datasource."""

    datasource: Datasource
    listen_host: str
    listen_port: int


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """The etcd that transactions are kept in; ``secrets`` are named whose keys are mounted together."""

    endpoints: tuple[str, ...]
    prefix: str = "/globaltx/"
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SidecarSettings:
    """Everything that a sidecar needs to know at its start."""

    namespace: str
    app: str
    policies: tuple[str, ...] = ()
    http: HttpSettings | None = None
    datasources: tuple[DatasourceSettings, ...] = ()
    lock_wait: timedelta = timedelta(seconds=3)
    ttl: timedelta = timedelta(hours=1)
    control_port: int = CONTROL_PORT
    local_port: int | None = None
    """Where the local API listens on loopback; None: nowhere."""
    etcd: EtcdSettings | None = None
    """None: transactions are kept in Kubernetes."""
    egress: tuple[Egress, ...] | None = None
    """Where declared sagas may call; None: this sidecar conducts none."""
    notifying: Notifying | None = None
    """None: this sidecar tells nobody an outcome."""

    def to_json(self) -> str:
        """Write the settings; the same settings give the same text.

        There is no ``$`` in it: Kubernetes would expand ``$(NAME)`` and shorten ``$$`` in a variable.
        """
        text = json.dumps(_settings(self), separators=(",", ":"), sort_keys=True)
        return text.replace("$", "\\u0024")

    @classmethod
    def from_json(cls, text: str) -> SidecarSettings:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is not such settings.
        """
        try:
            return _read(json.loads(text))
        except (KeyError, TypeError, AttributeError) as error:
            message = f"{SETTINGS_VARIABLE} does not hold sidecar settings: {error!r}"
            raise ValueError(message) from error


def _settings(settings: SidecarSettings) -> dict[str, Any]:
    http = settings.http
    edge = {"edge": True} if http and http.edge else {}
    traces = {"joinByTrace": True} if http and http.joins_by_trace else {}
    return {
        "namespace": settings.namespace,
        "app": settings.app,
        "policies": list(settings.policies),
        "http": http
        and {
            "upstreamPort": http.upstream_port,
            "listenPort": http.listen_port,
            "listenHost": http.listen_host,
            **edge,
            **traces,
            "routes": [_route(route) for route in http.routes],
        },
        "datasources": [_datasource(each) for each in settings.datasources],
        "lockWaitSeconds": settings.lock_wait.total_seconds(),
        "ttlSeconds": settings.ttl.total_seconds(),
        "controlPort": settings.control_port,
        **({} if settings.local_port is None else {"localPort": settings.local_port}),
        **({} if settings.etcd is None else {"etcd": _etcd(settings.etcd)}),
        **({} if settings.egress is None else {"egress": [_egress(each) for each in settings.egress]}),
        **({} if settings.notifying is None else {"notify": _notifying(settings.notifying)}),
    }


def _notifying(notifying: Notifying) -> dict[str, Any]:
    return {"secret": notifying.secret, "egress": [_egress(each) for each in notifying.egress]}


def _read_notifying(raw: dict[str, Any] | None) -> Notifying | None:
    return None if raw is None else Notifying(raw["secret"], read_egress(raw["egress"]))


def _egress(egress: Egress) -> dict[str, Any]:
    return {"host": egress.host, "ports": list(egress.ports), "paths": list(egress.paths)}


def _etcd(etcd: EtcdSettings) -> dict[str, Any]:
    secrets = list(etcd.secrets)
    return {"endpoints": list(etcd.endpoints), "prefix": etcd.prefix, "secrets": secrets}


def _read_etcd(raw: dict[str, Any] | None) -> EtcdSettings | None:
    if raw is None:
        return None
    return EtcdSettings(tuple(raw["endpoints"]), raw["prefix"], tuple(raw["secrets"]))


def _route(route: Route) -> dict[str, Any]:
    """Write a route; what few routes have is left out of the others: the text stands in every pod."""
    more: dict[str, Any] = {"pathTemplate": route.path_template} if route.path_template else {}
    if route.path_regex:
        more["pathRegex"] = route.path_regex
    if route.propagation is not Propagation.REQUIRED:
        more["propagation"] = str(route.propagation)
    if route.tcc is not None:
        more["tcc"] = _tcc(route.tcc)
    if route.tcd is not None:
        more["tcd"] = _tcd(route.tcd)
    if route.saga is not None:
        more["saga"] = _saga(route.saga)
    if route.request_id_header:
        more["requestIdHeader"] = route.request_id_header
    if route.notify:
        more["notify"] = write_notify(route.notify)
    return more | {
        "name": route.name,
        "method": route.method,
        "path": route.path,
        "pathPrefix": route.path_prefix,
        "mode": str(route.mode),
        "timeoutSeconds": route.timeout.total_seconds(),
        "commitStatuses": sorted(route.commit_statuses),
    }


def _tcc(tcc: Tcc) -> dict[str, Any]:
    return {
        "confirm": tcc.confirm,
        "cancel": tcc.cancel,
        "timeoutSeconds": tcc.timeout.total_seconds(),
        "successStatuses": sorted(tcc.success_statuses),
        "refusalsMax": tcc.refusals_max,
        "headers": list(tcc.headers),
        "guarded": tcc.guarded,
    }


def _tcd(tcd: Tcd) -> dict[str, Any]:
    return {
        "confirm": tcd.confirm,
        "reservation": write_reservation(tcd.reservation),
        "timeoutSeconds": tcd.timeout.total_seconds(),
        "successStatuses": sorted(tcd.success_statuses),
        "refusalsMax": tcd.refusals_max,
        "headers": list(tcd.headers),
    }


def _saga(saga: Saga) -> dict[str, Any]:
    return {
        "compensate": saga.compensate,
        "order": str(saga.order),
        "dependsOn": list(saga.depends_on),
        "timeoutSeconds": saga.timeout.total_seconds(),
        "successStatuses": sorted(saga.success_statuses),
        "refusalsMax": saga.refusals_max,
        "headers": list(saga.headers),
        "guarded": saga.guarded,
    }


def _datasource(settings: DatasourceSettings) -> dict[str, Any]:
    datasource = settings.datasource
    more: dict[str, Any] = {"guardLocalWrites": True} if datasource.guards_local_writes else {}
    if datasource.guards_calls:
        more["guardCalls"] = True
    if datasource.rows_max != DEFAULT_ROWS:
        more["maxRowsPerTransaction"] = datasource.rows_max
    return more | {
        "name": datasource.name,
        "host": datasource.host,
        "port": datasource.port,
        "schema": datasource.schema,
        "secret": datasource.secret,
        "aliases": list(datasource.aliases),
        "manageUndoTable": datasource.manage_undo_table,
        "tls": {
            "mode": str(datasource.tls.mode),
            "caSecret": datasource.tls.ca_secret,
            "serverSecret": datasource.tls.server_secret,
        },
        "sensitiveColumns": list(datasource.sensitive_columns),
        "listenHost": settings.listen_host,
        "listenPort": settings.listen_port,
    }


def _read(raw: dict[str, Any]) -> SidecarSettings:
    http = raw["http"]
    return SidecarSettings(
        namespace=raw["namespace"],
        app=raw["app"],
        policies=tuple(raw["policies"]),
        http=http
        and HttpSettings(
            upstream_port=http["upstreamPort"],
            routes=tuple(_read_route(each) for each in http["routes"]),
            listen_port=http["listenPort"],
            listen_host=http["listenHost"],
            edge=http.get("edge", False),
            joins_by_trace=http.get("joinByTrace", False),
        ),
        datasources=tuple(_read_datasource(each) for each in raw["datasources"]),
        lock_wait=timedelta(seconds=raw["lockWaitSeconds"]),
        ttl=timedelta(seconds=raw["ttlSeconds"]),
        control_port=raw["controlPort"],
        local_port=raw.get("localPort"),
        etcd=_read_etcd(raw.get("etcd")),
        egress=None if "egress" not in raw else read_egress(raw["egress"]),
        notifying=_read_notifying(raw.get("notify")),
    )


def _read_route(raw: dict[str, Any]) -> Route:
    return Route(
        name=raw["name"],
        method=raw["method"],
        path=raw["path"],
        path_prefix=raw["pathPrefix"],
        mode=Mode(raw["mode"]),
        timeout=timedelta(seconds=raw["timeoutSeconds"]),
        commit_statuses=frozenset(raw["commitStatuses"]),
        path_template=raw.get("pathTemplate", ""),
        propagation=Propagation(raw.get("propagation", Propagation.REQUIRED)),
        tcc=_read_tcc(raw.get("tcc")),
        tcd=_read_tcd(raw.get("tcd")),
        saga=_read_saga(raw.get("saga")),
        path_regex=raw.get("pathRegex", ""),
        request_id_header=raw.get("requestIdHeader", ""),
        notify=read_notify(raw.get("notify", ())),
    )


def _read_tcc(raw: dict[str, Any] | None) -> Tcc | None:
    if raw is None:
        return None
    return Tcc(
        confirm=raw["confirm"],
        cancel=raw["cancel"],
        timeout=timedelta(seconds=raw["timeoutSeconds"]),
        success_statuses=frozenset(raw["successStatuses"]),
        refusals_max=raw["refusalsMax"],
        headers=tuple(raw["headers"]),
        guarded=raw["guarded"],
    )


def _read_tcd(raw: dict[str, Any] | None) -> Tcd | None:
    if raw is None:
        return None
    return Tcd(
        confirm=raw["confirm"],
        reservation=read_reservation(raw["reservation"]),
        timeout=timedelta(seconds=raw["timeoutSeconds"]),
        success_statuses=frozenset(raw["successStatuses"]),
        refusals_max=raw["refusalsMax"],
        headers=tuple(raw["headers"]),
    )


def _read_saga(raw: dict[str, Any] | None) -> Saga | None:
    if raw is None:
        return None
    return Saga(
        compensate=raw["compensate"],
        order=Order(raw["order"]),
        depends_on=tuple(raw["dependsOn"]),
        timeout=timedelta(seconds=raw["timeoutSeconds"]),
        success_statuses=frozenset(raw["successStatuses"]),
        refusals_max=raw["refusalsMax"],
        headers=tuple(raw["headers"]),
        guarded=raw["guarded"],
    )


def _read_datasource(raw: dict[str, Any]) -> DatasourceSettings:
    return DatasourceSettings(
        datasource=Datasource(
            name=raw["name"],
            host=raw["host"],
            port=raw["port"],
            schema=raw["schema"],
            secret=raw["secret"],
            aliases=tuple(raw["aliases"]),
            manage_undo_table=raw["manageUndoTable"],
            tls=Tls(TlsMode(raw["tls"]["mode"]), raw["tls"]["caSecret"], raw["tls"]["serverSecret"]),
            sensitive_columns=tuple(raw["sensitiveColumns"]),
            rows_max=raw.get("maxRowsPerTransaction", DEFAULT_ROWS),
            guards_local_writes=raw.get("guardLocalWrites", False),
            guards_calls=raw.get("guardCalls", False),
        ),
        listen_host=raw["listenHost"],
        listen_port=raw["listenPort"],
    )
