"""TransactionPolicy: custom resource -> `Policy`.

The API server checks a policy when it is applied; the same checks are made here, because the
offline injection reads files that no API server has seen.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.policy import (
    Datasource,
    HttpCapture,
    Notifying,
    Policy,
    Projection,
    Propagation,
    Route,
    Saga,
    Tcc,
    Tcd,
    Tls,
    TlsMode,
)
from globaltx.manifest.calls import read_egress
from globaltx.manifest.check import filled, problems
from globaltx.manifest.notify import read_notify
from globaltx.manifest.policy.rules import problems_of
from globaltx.manifest.resources import API_VERSION, POLICIES
from globaltx.manifest.schemas import policies as schema
from globaltx.transaction.calls import GRPC_REFUSALS, Order, Reservation
from globaltx.transaction.model import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class InvalidPolicyError(ValueError):
    """The resource is no valid TransactionPolicy; ``problems`` are sentences, each with its field."""

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        super().__init__(f"{POLICIES.kind} {name} is invalid: " + "; ".join(problems))
        self.name = name
        self.problems = tuple(problems)


def read_policy(resource: Mapping[str, Any]) -> Policy:
    """Read a TransactionPolicy, as the API server stores it or as a person wrote it.

    A resource without a namespace gives a policy with an empty one.

    Raises:
        InvalidPolicyError: with everything that is wrong, not only the first.
    """
    metadata = resource.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = str(metadata.get("name") or "")
    found = list(_kind_problems(resource, name))
    spec = filled(schema.spec(), resource.get("spec"))
    found += problems(schema.spec(), spec, "spec")
    if found:
        raise InvalidPolicyError(name or "?", found)
    policy = _policy(str(metadata.get("namespace") or ""), name, spec)
    found = list(problems_of(policy, spec))
    if found:
        raise InvalidPolicyError(name, found)
    return policy


def _kind_problems(resource: Mapping[str, Any], name: str) -> Iterator[str]:
    if (resource.get("apiVersion"), resource.get("kind")) != (API_VERSION, POLICIES.kind):
        yield f"apiVersion and kind: must be {API_VERSION} and {POLICIES.kind}"
    if not 0 < len(name) <= schema.POLICY_NAME_LENGTH_MAX:
        yield f"metadata.name: must have 1 to {schema.POLICY_NAME_LENGTH_MAX} characters, has {len(name)}"


def _policy(namespace: str, name: str, spec: Mapping[str, Any]) -> Policy:
    http = spec.get("http")
    return Policy(
        namespace=namespace,
        name=name,
        selector=dict(spec.get("selector", {}).get("matchLabels", {})),
        http=http and _http(http),
        datasources=tuple(_datasource(each) for each in spec.get("datasources", ())),
        lock_wait=timedelta(milliseconds=spec["lockWaitMilliseconds"]),
        ttl=timedelta(seconds=spec["ttlSecondsAfterFinished"]),
        projection=Projection(spec["projection"]),
        egress=None if "saga" not in spec else read_egress(spec["saga"]["egress"]),
        notifying=_notifying(spec.get("notify")),
    )


def _notifying(raw: Mapping[str, Any] | None) -> Notifying | None:
    return None if raw is None else Notifying(raw["secretName"], read_egress(raw["egress"]))


def _http(raw: Mapping[str, Any]) -> HttpCapture:
    routes = tuple(_route(each) for each in raw.get("routes", ()))
    return HttpCapture(raw["port"], routes, raw["edge"], raw["joinByTrace"])


def _route(raw: Mapping[str, Any]) -> Route:
    match, begin = raw["match"], raw["begin"]
    return Route(
        name=raw["name"],
        method=match["method"],
        path=match.get("path", ""),
        path_prefix=match.get("pathPrefix", ""),
        mode=Mode(begin["mode"]),
        timeout=timedelta(seconds=begin["timeoutSeconds"]),
        commit_statuses=frozenset(begin["commitStatuses"]),
        path_template=match.get("pathTemplate", ""),
        propagation=Propagation(raw["propagation"]),
        tcc=_tcc(raw.get("tcc")),
        tcd=_tcd(raw.get("tcd")),
        saga=_saga(raw.get("saga")),
        path_regex=match.get("pathRegex", ""),
        request_id_header=begin.get("requestIdHeader", "").lower(),
        notify=read_notify(begin.get("notify", ())),
    )


def _tcc(raw: Mapping[str, Any] | None) -> Tcc | None:
    if raw is None:
        return None
    return Tcc(
        confirm=raw["confirm"],
        cancel=raw["cancel"],
        timeout=timedelta(seconds=raw["timeoutSeconds"]),
        success_statuses=frozenset(raw["successStatuses"]),
        refusals_max=raw["conflictAfterRefusals"],
        headers=tuple(each.lower() for each in raw["headers"]),
        guarded=raw["guard"],
    )


def _tcd(raw: Mapping[str, Any] | None) -> Tcd | None:
    if raw is None:
        return None
    return Tcd(
        confirm=raw["confirm"],
        reservation=Reservation(
            timedelta(seconds=raw["reservationSeconds"]),
            raw["state"],
            timedelta(seconds=raw["compensationMarginSeconds"]),
            frozenset(
                (*raw["expiredStatuses"], *(GRPC_REFUSALS[each] for each in raw["expiredGrpcStatuses"]))
            ),
        ),
        timeout=timedelta(seconds=raw["timeoutSeconds"]),
        success_statuses=frozenset(raw["successStatuses"]),
        refusals_max=raw["conflictAfterRefusals"],
        headers=tuple(each.lower() for each in raw["headers"]),
    )


def _saga(raw: Mapping[str, Any] | None) -> Saga | None:
    if raw is None:
        return None
    return Saga(
        compensate=raw["compensate"],
        order=Order(raw["order"]),
        depends_on=tuple(raw.get("dependsOn", ())),
        timeout=timedelta(seconds=raw["timeoutSeconds"]),
        success_statuses=frozenset(raw["successStatuses"]),
        refusals_max=raw["conflictAfterRefusals"],
        headers=tuple(each.lower() for each in raw["headers"]),
        guarded=raw["guard"],
    )


def _datasource(raw: Mapping[str, Any]) -> Datasource:
    return Datasource(
        name=raw["name"],
        host=raw["host"],
        schema=raw["schema"],
        secret=raw["secretName"],
        port=raw["port"],
        aliases=tuple(raw.get("aliases", ())),
        manage_undo_table=raw["manageUndoTable"],
        sensitive_columns=tuple(raw.get("sensitiveColumns", ())),
        tls=_tls(raw["tls"]),
        rows_max=raw["maxRowsPerTransaction"],
        guards_local_writes=raw["guardLocalWrites"],
        guards_calls=raw["guardCalls"],
    )


def _tls(raw: Mapping[str, Any]) -> Tls:
    return Tls(TlsMode(raw["mode"]), raw.get("caSecretName", ""), raw.get("serverSecretName", ""))


def secrets_of(datasource: Datasource) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name the Secrets that a datasource needs, each with its keys."""
    yield datasource.secret, ("username", "password")
    if datasource.tls.ca_secret:
        yield datasource.tls.ca_secret, ("ca.crt",)
    if datasource.tls.server_secret:
        yield datasource.tls.server_secret, ("tls.crt", "tls.key")
