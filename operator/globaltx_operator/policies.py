"""Says at each TransactionPolicy whether pods can be injected by it: condition ``Ready``.

All policies of a namespace are looked at together, because they may contradict each other. That
is rare work: when one changes, and now and then for what no watch tells (the Secrets).
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.observed import Notice, Weight
from globaltx.coordinator.policy import Projection
from globaltx.coordinator.reasons import SENTENCES, Reason
from globaltx.manifest.policy import InvalidPolicyError, conflicts, may_meet, read_policy, secrets_of
from globaltx.manifest.resources import CONDITION_READY, condition
from globaltx.stores.kubernetes.errors import ForbiddenError, NotFoundError
from globaltx.stores.kubernetes.resource import POLICIES, SECRETS
from globaltx.transaction.model import shorten
from globaltx_operator.cache import bare, newer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from globaltx.coordinator.policy import Policy
    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx_operator.events import Recorder

Json = dict[str, Any]

LOOK_AGAIN = timedelta(minutes=5)
LOOK_AGAIN_UNREADY = timedelta(seconds=5)

_log = logging.getLogger(__name__)


class PolicyCache:
    """TransactionPolicies by namespace.

    ``changed`` is called with each namespace that changed, ``shows_otherwise`` with those where a policy
    asks for something else to be shown.
    """

    def __init__(self) -> None:
        self._policies: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        self.changed: Callable[[str], None] | None = None
        self.shows_otherwise: Callable[[str], None] | None = None

    def namespaces(self) -> list[str]:
        """Those that have policies."""
        return [namespace for namespace, policies in self._policies.items() if policies]

    def of(self, namespace: str) -> list[Json]:
        """The policies of a namespace, by name."""
        return [policy for _, policy in sorted(self._policies[namespace].items())]

    def projection(self, namespace: str, name: str) -> Projection:
        """What a policy says about showing transactions; the usual where it is not known."""
        spec = self._policies.get(namespace, {}).get(name, {}).get("spec") or {}
        return Projection(spec.get("projection", Projection.UNSETTLED))

    def put(self, resource: Json) -> None:
        """Remember a policy unless a newer version is known."""
        name, namespace = resource["metadata"]["name"], resource["metadata"]["namespace"]
        policies = self._policies[namespace]
        if newer(resource, policies.get(name)):
            before = self.projection(namespace, name)
            policies[name] = bare(resource)
            self._tell(namespace, shows_otherwise=self.projection(namespace, name) is not before)

    def drop(self, namespace: str, name: str) -> None:
        """Forget a policy that is gone."""
        before = self.projection(namespace, name)
        if self._policies[namespace].pop(name, None) is not None:
            self._tell(namespace, shows_otherwise=self.projection(namespace, name) is not before)

    def replace(self, namespace: str, resources: Sequence[Json]) -> None:
        """Put what a consistent list has told in place of what was known; ``changed`` is not called."""
        before = {name: self.projection(namespace, name) for name in self._policies[namespace]}
        self._policies[namespace] = {each["metadata"]["name"]: bare(each) for each in resources}
        otherwise = any(self.projection(namespace, name) is not each for name, each in before.items())
        if otherwise and self.shows_otherwise is not None:
            self.shows_otherwise(namespace)

    def _tell(self, namespace: str, *, shows_otherwise: bool) -> None:
        if self.changed is not None:
            self.changed(namespace)
        if shows_otherwise and self.shows_otherwise is not None:
            self.shows_otherwise(namespace)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a policy is ready, and if not, why."""

    reason: Reason
    message: str

    @property
    def ready(self) -> bool:
        """What the condition says."""
        return self.reason is Reason.READY


READY = Verdict(Reason.READY, SENTENCES[Reason.READY])


def judge(resources: Iterable[Json]) -> dict[str, Verdict]:
    """Judge the policies of one namespace, by name, from what they say alone and together."""
    verdicts: dict[str, Verdict] = {}
    policies: list[Policy] = []
    for resource in resources:
        name = resource["metadata"]["name"]
        try:
            policies.append(read_policy(resource))
        except InvalidPolicyError as error:
            verdicts[name] = Verdict(Reason.POLICY_INVALID, "; ".join(error.problems))
    for policy in policies:
        found = [
            problem
            for other in policies
            if other is not policy and may_meet(policy, other)
            for problem in conflicts(sorted((policy, other), key=lambda each: each.name))
        ]
        verdicts[policy.name] = Verdict(Reason.POLICY_CONFLICT, "; ".join(found)) if found else READY
    return verdicts


class PolicyReconciler:
    """What the policies' work queue calls with each namespace."""

    def __init__(
        self,
        client: KubernetesClient,
        cache: PolicyCache,
        recorder: Recorder,
        utc: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._cache = cache
        self._recorder = recorder
        self._utc = utc

    async def __call__(self, namespace: str) -> timedelta | None:
        """Judge all policies of a namespace; return when to look at their Secrets again.

        They are listed, because a watch that had to begin anew tells nothing of what was deleted meanwhile.
        """
        self._cache.replace(namespace, (await self._client.list(POLICIES, namespace)).items)
        resources = self._cache.of(namespace)
        if not resources:
            return None
        verdicts = judge(resources)
        for resource in resources:
            name = resource["metadata"]["name"]
            if verdicts[name].ready:
                verdicts[name] = await self._secrets(read_policy(resource))
            await self._write(resource, verdicts[name])
        ready = all(verdict.ready for verdict in verdicts.values())
        return LOOK_AGAIN if ready else LOOK_AGAIN_UNREADY

    async def _secrets(self, policy: Policy) -> Verdict:
        needed = dict.fromkeys(secret for each in policy.datasources for secret in secrets_of(each))
        verdicts = await asyncio.gather(*(self._secret(policy.namespace, *secret) for secret in needed))
        return next((verdict for verdict in verdicts if not verdict.ready), READY)

    async def _secret(self, namespace: str, name: str, keys: Sequence[str]) -> Verdict:
        """Look whether a Secret is there and has its keys; its values are not kept."""
        try:
            found = await self._client.get(SECRETS, name, namespace)
        except NotFoundError:
            message = f"Secret {name!r} does not exist; create it with {' and '.join(keys)}"
            return Verdict(Reason.SECRET_MISSING, message)
        except ForbiddenError:
            _log.debug("the operator may not look at Secret %s/%s", namespace, name)
            return READY
        missing = [key for key in keys if key not in (found.get("data") or {})]
        if missing:
            return Verdict(Reason.SECRET_INCOMPLETE, f"Secret {name!r} lacks {' and '.join(missing)}; add it")
        return READY

    async def _write(self, resource: Json, verdict: Verdict) -> None:
        """Write the condition if it says something else now."""
        metadata = resource["metadata"]
        message = shorten(verdict.message)
        made = condition(CONDITION_READY, verdict.ready, verdict.reason, message, self._utc())
        made["observedGeneration"] = metadata["generation"]
        for old in (resource.get("status") or {}).get("conditions", ()):
            if old["type"] == CONDITION_READY and old["status"] == made["status"]:
                made["lastTransitionTime"] = old["lastTransitionTime"]
            if old == made:
                return
        patch = {"status": {"observedGeneration": metadata["generation"], "conditions": [made]}}
        try:
            written = await self._client.patch(
                POLICIES, metadata["name"], patch, metadata["namespace"], subresource="status"
            )
        except NotFoundError:
            self._cache.drop(metadata["namespace"], metadata["name"])
            return
        self._cache.put(written)
        weight = Weight.NORMAL if verdict.ready else Weight.WARNING
        await self._recorder.record(Notice(weight, verdict.reason, message), resource)
