"""TransactionPolicy: custom resource -> `Policy`, and several policies that hold for one pod -> one.

The API server checks a policy when it is applied; the same checks are made here, because the
offline injection reads files that no API server has seen, and because only here several policies
meet.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from datetime import timedelta
from itertools import chain, combinations, product
from typing import TYPE_CHECKING, Any, TypeVar

from globaltx.coordinator.egress import forbidden_as_written, refusal
from globaltx.coordinator.expressions import PatternError
from globaltx.coordinator.matching import matches_paths, names, overlap, shown
from globaltx.coordinator.policy import (
    DEFAULT_LOCK_WAIT,
    DEFAULT_TTL,
    Datasource,
    Egress,
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
    Tries,
)
from globaltx.manifest.calls import read_egress
from globaltx.manifest.check import filled, problems
from globaltx.manifest.notify import read_notify
from globaltx.manifest.resources import API_VERSION, POLICIES
from globaltx.manifest.schemas import policies as schemas
from globaltx.modes.saga import reached
from globaltx.transaction.calls import Order, Reservation
from globaltx.transaction.model import Mode
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_T = TypeVar("_T")


class InvalidPolicyError(ValueError):
    """The resource is no valid TransactionPolicy; ``problems`` are sentences, each with its field."""

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        super().__init__(f"{POLICIES.kind} {name} is invalid: " + "; ".join(problems))
        self.name = name
        self.problems = tuple(problems)


class PolicyConflictError(ValueError):
    """Policies that select the same pod claim the same thing; ``problems`` are sentences."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Merged:
    """All policies that hold for one pod, as one; ``names`` are theirs, sorted."""

    names: tuple[str, ...] = ()
    http: HttpCapture | None = None
    datasources: tuple[Datasource, ...] = ()
    lock_wait: timedelta = DEFAULT_LOCK_WAIT
    ttl: timedelta = DEFAULT_TTL
    egress: tuple[Egress, ...] | None = None
    notifying: Notifying | None = None


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
    spec = filled(schemas.spec(), resource.get("spec"))
    found += problems(schemas.spec(), spec, "spec")
    if found:
        raise InvalidPolicyError(name or "?", found)
    policy = _policy(str(metadata.get("namespace") or ""), name, spec)
    found = [*_empty(policy), *_route_problems(spec, policy), *_datasource_problems(policy)]
    found += [*_egress_problems(policy), *_notify_problems(policy)]
    if found:
        raise InvalidPolicyError(name, found)
    return policy


def _kind_problems(resource: Mapping[str, Any], name: str) -> Iterator[str]:
    if (resource.get("apiVersion"), resource.get("kind")) != (API_VERSION, POLICIES.kind):
        yield f"apiVersion and kind: must be {API_VERSION} and {POLICIES.kind}"
    if not 0 < len(name) <= schemas.POLICY_NAME_LENGTH_MAX:
        yield f"metadata.name: must have 1 to {schemas.POLICY_NAME_LENGTH_MAX} characters, has {len(name)}"


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
            frozenset(raw["expiredStatuses"]),
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


def _empty(policy: Policy) -> Iterator[str]:
    others = (policy.egress, policy.notifying)
    if policy.http is None and not policy.datasources and all(each is None for each in others):
        yield f"spec: {schemas.NOTHING_SENTENCE}"


def _egress_problems(policy: Policy) -> Iterator[str]:
    notified = () if policy.notifying is None else policy.notifying.egress
    for where, egress in (("saga", policy.egress or ()), ("notify", notified)):
        for index, each in enumerate(egress):
            if forbidden_as_written(each.host):
                yield (
                    f"spec.{where}.egress[{index}].host: {each.host} is an address that is never called "
                    "(link-local, where clouds keep credentials, multicast, or none)"
                )


def _notify_problems(policy: Policy) -> Iterator[str]:
    for index, route in enumerate(_routes(policy)):
        where = f"spec.http.routes[{index}].begin.notify"
        for name in _twice(each.name for each in route.notify):
            yield f"{where}: each notification needs a name of its own; rename one of those named {name!r}"
        if route.notify and policy.notifying is None:
            yield f"{where}: it needs spec.notify, with the Secret of the key and where outcomes may be told"
            continue
        for each in route.notify:
            if policy.notifying and (told := refusal(each.url, policy.notifying.egress, "notify.egress")):
                yield f"{where}[{each.name}].url: {told}"


def _route_problems(spec: Mapping[str, Any], policy: Policy) -> Iterator[str]:
    for index, raw in enumerate(spec.get("http", {}).get("routes", ())):
        if sum(each in raw["match"] for each in schemas.MATCHES) != 1:
            yield f"spec.http.routes[{index}].match: {schemas.MATCH_SENTENCE}"
    routes = policy.http.routes if policy.http else ()
    misread = tuple(_misread(routes))
    if misread:
        yield from misread
        return
    for index, route in enumerate(routes):
        yield from (f"spec.http.routes[{index}]{sentence}" for sentence in _one_route_problems(route))
    for name in _twice(route.name for route in routes):
        yield f"spec.http.routes: each route needs a name of its own; rename one of those named {name!r}"
    yield from _dependency_problems(routes)
    for one, other in combinations(routes, 2):
        if overlap(one, other):
            yield (
                f"spec.http.routes: {one.name!r} ({shown(one)}) and {other.name!r} ({shown(other)}) "
                "match the same request; make their paths or methods differ"
            )


def _misread(routes: Sequence[Route]) -> Iterator[str]:
    """What keeps routes from being compared at all."""
    for index, route in enumerate(routes):
        where = f"spec.http.routes[{index}].match.pathRegex"
        try:
            if route.path_regex and not matches_paths(route.path_regex):
                yield f"{where}: it matches no path; the whole path is matched, which begins with /"
        except PatternError as error:
            yield f"{where}: {error}"


def _one_route_problems(route: Route) -> Iterator[str]:
    found = names(route.path_template)
    for name in _twice(found):
        yield f".match.pathTemplate: {{{name}}} is there twice; give each variable a name of its own"
    if route.path_template and not found:
        yield ".match.pathTemplate: it has no {variable}; give path instead"
    if sum(each is not None for each in (route.tcc, route.tcd, route.saga)) > 1:
        yield f": {schemas.ONE_MODE_SENTENCE}"
    if route.tries is not None:
        yield from _try_problems(route, route.tries)


def _try_problems(route: Route, tries: Tries) -> Iterator[str]:
    mode, reservation = tries.mode.lower(), tries.reservation
    if route.propagation in {Propagation.NOT_SUPPORTED, Propagation.NEVER}:
        yield f".propagation: {schemas.TCC_SENTENCE}"
    if not all(map(schemas.may_repeat, tries.headers)):
        yield f".{mode}.headers: {schemas.HEADERS_SENTENCE}"
    if reservation is not None and reservation.decide_within <= timedelta():
        yield f".{mode}: {schemas.MARGIN_SENTENCE}"
    paths = {
        "confirm": tries.confirm,
        "compensate" if route.saga else "cancel": tries.cancel,
        "state": reservation.state if reservation else "",
    }
    for field, path in paths.items():
        for name in set(names(path)) - set(names(route.path_template)):
            yield f".{mode}.{field}: {{{name}}} is no variable of match.pathTemplate"


def _dependency_problems(routes: Sequence[Route]) -> Iterator[str]:
    steps = {route.name: route.saga for route in routes if route.saga is not None}
    for name, saga in steps.items():
        if saga.depends_on and saga.order is not Order.DEPENDENCIES:
            yield f"spec.http.routes: the saga of {name!r}: {schemas.DEPENDS_SENTENCE}"
    builds_on = {name: set(saga.depends_on) for name, saga in steps.items()}
    for name in steps:
        if name in reached(builds_on, name):
            yield (
                f"spec.http.routes: the step {name!r} depends on itself, by way of others or not; "
                "say in dependsOn only what is done before"
            )


def _datasource_problems(policy: Policy) -> Iterator[str]:
    for name in _twice(each.name for each in policy.datasources):
        yield f"spec.datasources: each needs a name of its own; rename one of those named {name!r}"
    for alias in _twice(alias for each in policy.datasources for alias in each.aliases):
        yield f"spec.datasources: two claim the alias {alias!r}; give each the aliases that are its own"
    for index, each in enumerate(policy.datasources):
        yield from (f"spec.datasources[{index}].tls: {sentence}" for sentence in _tls_problems(each.tls))
        for alias in each.aliases:
            if alias == "localhost" or _is_address(alias):
                yield (
                    f"spec.datasources[{index}].aliases: {alias!r} cannot be taken over; an alias is a host "
                    "name that the application looks up"
                )
    yield from (f"spec.datasources: {sentence}" for sentence in _alias_is_host(policy.datasources))
    guards = _guarding(policy.datasources)
    if len(guards) > 1:
        named = " and ".join(map(repr, guards))
        yield f"spec.datasources: {named} have guardCalls; {schemas.GUARDS_SENTENCE}"


def _guarding(datasources: Iterable[Datasource]) -> list[str]:
    return [each.name for each in datasources if each.guards_calls]


def _tls_problems(tls: Tls) -> Iterator[str]:
    if (tls.mode is TlsMode.VERIFY_IDENTITY) != bool(tls.ca_secret):
        yield schemas.CA_SENTENCE
    if tls.mode is TlsMode.DISABLED and tls.server_secret:
        yield schemas.SHOWN_SENTENCE


def _alias_is_host(datasources: Iterable[Datasource]) -> Iterator[str]:
    every = tuple(datasources)
    hosts = {each.host.rstrip(".").lower(): each.name for each in every}  # as a hosts file is read
    for each in every:
        for alias in each.aliases:
            if owner := hosts.get(alias.rstrip(".").lower()):
                yield (
                    f"the alias {alias!r} of {each.name!r} is the host of {owner!r}, so the sidecar "
                    "would connect to itself; give host the fully qualified name or an IP address"
                )


def secrets_of(datasource: Datasource) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name the Secrets that a datasource needs, each with its keys."""
    yield datasource.secret, ("username", "password")
    if datasource.tls.ca_secret:
        yield datasource.tls.ca_secret, ("ca.crt",)
    if datasource.tls.server_secret:
        yield datasource.tls.server_secret, ("tls.crt", "tls.key")


def selects(policy: Policy, labels: Mapping[str, str]) -> bool:
    """Whether a policy is for a pod with these labels."""
    return all(labels.get(name) == value for name, value in policy.selector.items())


def merge(policies: Iterable[Policy]) -> Merged:
    """Make one of all policies that select a pod; the longest lock wait and TTL hold.

    Raises:
        PolicyConflictError: two of them claim the same route, datasource or alias, or take over
            different ports.
    """
    every = sorted(policies, key=lambda policy: policy.name)
    found = list(conflicts(every))
    if found:
        raise PolicyConflictError(found)
    if not every:
        return Merged()
    captures = [policy.http for policy in every if policy.http]
    routes = tuple(chain.from_iterable(capture.routes for capture in captures))
    return Merged(
        names=tuple(policy.name for policy in every),
        http=HttpCapture(
            captures[0].port,
            routes,
            any(each.edge for each in captures),
            any(each.joins_by_trace for each in captures),
        )
        if captures
        else None,
        datasources=tuple(chain.from_iterable(policy.datasources for policy in every)),
        lock_wait=max(policy.lock_wait for policy in every),
        ttl=max(policy.ttl for policy in every),
        egress=_together([policy.egress for policy in every]),
        notifying=_merged([policy.notifying for policy in every if policy.notifying]),
    )


def _merged(every: Sequence[Notifying]) -> Notifying | None:
    """What policies say together of notifications; their Secret is one, `conflicts` has looked."""
    if not every:
        return None
    return Notifying(every[0].secret, tuple(chain.from_iterable(each.egress for each in every)))


def _together(every: Sequence[tuple[Egress, ...] | None]) -> tuple[Egress, ...] | None:
    """Where all policies together allow sagas to call; None if none of them speaks of sagas."""
    told = [each for each in every if each is not None]
    return tuple(chain.from_iterable(told)) if told else None


def conflicts(policies: Iterable[Policy]) -> Iterator[str]:
    """Tell what policies that hold for the same pod claim twice."""
    every = tuple(policies)
    ports = _told_apart(every, lambda policy: [policy.http.port] if policy.http else [])
    if ports:
        yield f"policies take over different ports of the same pod: {ports}; use one port name"
    secrets = _told_apart(every, lambda policy: [policy.notifying.secret] if policy.notifying else [])
    if secrets:
        yield f"policies sign notifications of the same pod with different Secrets: {secrets}; use one"
    guards = _told_apart(every, lambda policy: _guarding(policy.datasources))
    if guards:
        yield f"policies give several datasources of a pod guardCalls: {guards}; {schemas.GUARDS_SENTENCE}"
    yield from _matched_twice(every)
    yield from _claimed_twice(every, "name a route", lambda policy: (each.name for each in _routes(policy)))
    yield from _claimed_twice(
        every, "name a datasource", lambda policy: (each.name for each in policy.datasources)
    )
    yield from _claimed_twice(
        every, "claim the alias", lambda policy: chain(*(each.aliases for each in policy.datasources))
    )
    yield from _alias_is_host(chain.from_iterable(policy.datasources for policy in every))


def may_meet(one: Policy, other: Policy) -> bool:
    """Whether some pod can be selected by both (no label is asked for with two values)."""
    return all(other.selector.get(name, value) == value for name, value in one.selector.items())


def _claimed_twice(
    policies: Iterable[Policy], verb: str, of: Callable[[Policy], Iterable[str]]
) -> Iterator[str]:
    for claim, owners in _claims(policies, of).items():
        if len(owners) > 1:
            yield f"policies {' and '.join(owners)} both {verb} {claim!r}; keep it in one of them"


def _matched_twice(policies: Iterable[Policy]) -> Iterator[str]:
    for one, other in combinations(policies, 2):
        for route, met in product(_routes(one), _routes(other)):
            if overlap(route, met):
                yield (
                    f"policies {one.name} and {other.name} both match the request {shown(route)!r}; "
                    "keep it in one of them"
                )


def _told_apart(policies: Iterable[Policy], of: Callable[[Policy], Iterable[str]]) -> str:
    """Who claims what, of something that there can be one of; empty where they agree."""
    claims = _claims(policies, of)
    if len(claims) <= 1:
        return ""
    return ", ".join(f"{claim!r} ({owners[0]})" for claim, owners in sorted(claims.items()))


def _claims(policies: Iterable[Policy], of: Callable[[Policy], Iterable[str]]) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for policy in policies:
        for claim in of(policy):
            owners.setdefault(claim, []).append(policy.name)
    return owners


def _routes(policy: Policy) -> tuple[Route, ...]:
    return policy.http.routes if policy.http else ()


def _twice(values: Iterable[_T]) -> list[_T]:
    return [value for value, count in Counter(values).items() if count > 1]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
