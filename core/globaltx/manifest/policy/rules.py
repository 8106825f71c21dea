"""What is wrong with one policy that its schema does not say.

The rules of the API server are here in Python, with the same sentences, and those that it cannot check.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeVar

from globaltx.coordinator.egress import forbidden_as_written, refusal
from globaltx.coordinator.expressions import PatternError
from globaltx.coordinator.matching import matches_paths, names, overlap, shown
from globaltx.coordinator.policy import (
    Datasource,
    Policy,
    Propagation,
    Route,
    Tls,
    TlsMode,
    Tries,
)
from globaltx.manifest.schemas.calls import (
    DEPENDS_SENTENCE,
    EXPIRED_SENTENCE,
    HEADERS_SENTENCE,
    MARGIN_SENTENCE,
    may_repeat,
)
from globaltx.manifest.schemas.datasources import CA_SENTENCE, GUARDS_SENTENCE, SHOWN_SENTENCE
from globaltx.manifest.schemas.policies import NOTHING_SENTENCE
from globaltx.manifest.schemas.routes import MATCH_SENTENCE, MATCHES, ONE_MODE_SENTENCE, TCC_SENTENCE
from globaltx.modes.saga import reached
from globaltx.transaction.calls import Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_T = TypeVar("_T")


def problems_of(policy: Policy, spec: Mapping[str, Any]) -> Iterator[str]:
    """Tell what is wrong with a policy, read from a spec that its schema allows, each with its field."""
    yield from _empty(policy)
    yield from _route_problems(spec, policy)
    yield from _datasource_problems(policy)
    yield from _egress_problems(policy)
    yield from _notify_problems(policy)


def _empty(policy: Policy) -> Iterator[str]:
    others = (policy.egress, policy.notifying)
    if policy.http is None and not policy.datasources and all(each is None for each in others):
        yield f"spec: {NOTHING_SENTENCE}"


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
    for index, route in enumerate(routes_of(policy)):
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
        if sum(each in raw["match"] for each in MATCHES) != 1:
            yield f"spec.http.routes[{index}].match: {MATCH_SENTENCE}"
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
        yield f": {ONE_MODE_SENTENCE}"
    if route.tries is not None:
        yield from _try_problems(route, route.tries)


def _try_problems(route: Route, tries: Tries) -> Iterator[str]:
    mode, reservation = tries.mode.lower(), tries.reservation
    if route.propagation in {Propagation.NOT_SUPPORTED, Propagation.NEVER}:
        yield f".propagation: {TCC_SENTENCE}"
    if not all(map(may_repeat, tries.headers)):
        yield f".{mode}.headers: {HEADERS_SENTENCE}"
    if reservation is not None and reservation.decide_within <= timedelta():
        yield f".{mode}: {MARGIN_SENTENCE}"
    if reservation is not None and reservation.expired_statuses & tries.success_statuses:
        yield f".{mode}: {EXPIRED_SENTENCE}"
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
            yield f"spec.http.routes: the saga of {name!r}: {DEPENDS_SENTENCE}"
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
    yield from (f"spec.datasources: {sentence}" for sentence in alias_is_host(policy.datasources))
    guards = guarding(policy.datasources)
    if len(guards) > 1:
        named = " and ".join(map(repr, guards))
        yield f"spec.datasources: {named} have guardCalls; {GUARDS_SENTENCE}"


def guarding(datasources: Iterable[Datasource]) -> list[str]:
    """Name the datasources whose database remembers calls."""
    return [each.name for each in datasources if each.guards_calls]


def _tls_problems(tls: Tls) -> Iterator[str]:
    if (tls.mode is TlsMode.VERIFY_IDENTITY) != bool(tls.ca_secret):
        yield CA_SENTENCE
    if tls.mode is TlsMode.DISABLED and tls.server_secret:
        yield SHOWN_SENTENCE


def alias_is_host(datasources: Iterable[Datasource]) -> Iterator[str]:
    """Tell where a sidecar would take itself for the database."""
    every = tuple(datasources)
    hosts = {each.host.rstrip(".").lower(): each.name for each in every}  # as a hosts file is read
    for each in every:
        for alias in each.aliases:
            if owner := hosts.get(alias.rstrip(".").lower()):
                yield (
                    f"the alias {alias!r} of {each.name!r} is the host of {owner!r}, so the sidecar "
                    "would connect to itself; give host the fully qualified name or an IP address"
                )


def routes_of(policy: Policy) -> tuple[Route, ...]:
    """Give the routes of a policy, which may have none."""
    return policy.http.routes if policy.http else ()


def _twice(values: Iterable[_T]) -> list[_T]:
    return [value for value, count in Counter(values).items() if count > 1]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
