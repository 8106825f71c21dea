"""Several policies that hold for one pod -> one, and what they may not claim twice."""

from __future__ import annotations

from itertools import chain, combinations, product
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.matching import overlap, shown
from globaltx.coordinator.policy import (
    DEFAULT_LOCK_WAIT,
    DEFAULT_TTL,
    Datasource,
    Egress,
    HttpCapture,
    Notifying,
    Policy,
)
from globaltx.manifest.policy.read import InvalidPolicyError, read_policy
from globaltx.manifest.policy.rules import alias_is_host, guarding, routes_of
from globaltx.manifest.schemas.datasources import GUARDS_SENTENCE
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta


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


def selects(policy: Policy, labels: Mapping[str, str]) -> bool:
    """Whether a policy is for a pod with these labels."""
    return _chooses(policy.selector, labels)


def _chooses(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


def read_for(labels: Mapping[str, str], resources: Iterable[Mapping[str, Any]]) -> list[Policy]:
    """Read the policies of a namespace for a pod with these labels.

    One that cannot be read is left out where it is not for the pod: a fault of one app's policy keeps
    no other app's pods from being made. It is told at the policy itself.

    Raises:
        InvalidPolicyError: one that is for the pod cannot be read.
    """
    found = []
    for resource in resources:
        try:
            found.append(read_policy(resource))
        except InvalidPolicyError:
            wanted = (resource["spec"].get("selector") or {}).get("matchLabels") or {}
            if _chooses(wanted, labels):
                raise
    return found


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
    guards = _told_apart(every, lambda policy: guarding(policy.datasources))
    if guards:
        yield f"policies give several datasources of a pod guardCalls: {guards}; {GUARDS_SENTENCE}"
    yield from _matched_twice(every)
    yield from _claimed_twice(every, "name a route", lambda policy: (each.name for each in routes_of(policy)))
    yield from _claimed_twice(
        every, "name a datasource", lambda policy: (each.name for each in policy.datasources)
    )
    yield from _claimed_twice(
        every, "claim the alias", lambda policy: chain(*(each.aliases for each in policy.datasources))
    )
    yield from alias_is_host(chain.from_iterable(policy.datasources for policy in every))


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
        for route, met in product(routes_of(one), routes_of(other)):
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
