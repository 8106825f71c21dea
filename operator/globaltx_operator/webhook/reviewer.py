"""Answers reviews: reads what the decision needs, decides by the pure functions, binds the role.

Policies are listed from the API server at each review, not remembered: a policy and its first
pod are often applied in one breath, and whoever asks us is the API server, so it is there.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.injection import (
    Injected,
    InjectionOptions,
    Refused,
    has_sidecar,
    inject,
    metadata_of,
)
from globaltx.manifest.policy import InvalidPolicyError, read_for
from globaltx.stores.kubernetes.errors import KubernetesError, NotFoundError, UnavailableError
from globaltx.stores.kubernetes.resource import POLICIES, TRANSACTIONS
from globaltx_operator.webhook.admission import allowed, denied
from globaltx_operator.webhook.rolebinding import bind_role
from globaltx_operator.webhook.validate import matters, refusal, saga_refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from globaltx.coordinator.policy import Policy
    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx_operator.webhook.admission import AdmissionRequest

    Admit = Callable[[str], Awaitable[None]]
    """Lets the sidecars of a namespace into the store."""


class Reviewer:
    """Answers the two kinds of review; a fault of the API server is an answer too, to be retried."""

    def __init__(
        self, client: KubernetesClient, options: InjectionOptions, admit: Admit | None = None
    ) -> None:
        self._client = client
        self._options = options
        self._admit = admit

    async def inject(self, request: AdmissionRequest) -> dict[str, Any]:
        """Answer whether and how a pod is injected."""
        try:
            policies = read_for(
                metadata_of(request.object, "labels"), await self._policies(request.namespace)
            )
        except InvalidPolicyError as error:
            return denied(request, str(Refused(Reason.POLICY_INVALID, str(error))))
        except KubernetesError as error:
            return _failed(request, "the policies could not be read", error)
        return await self._inject(request, policies)

    async def validate(self, request: AdmissionRequest) -> dict[str, Any]:
        """Answer whether a policy, or a transaction that declares a saga, may be written."""
        if not matters(request.object, request.old):
            return allowed(request)
        if request.object.get("kind") == TRANSACTIONS.kind:
            return await self._declared(request)
        try:
            others = await self._policies(request.namespace)
        except KubernetesError as error:
            return _failed(request, "the other policies could not be read", error)
        refused = refusal(request.object, others)
        return allowed(request) if refused is None else denied(request, str(refused))

    async def _declared(self, request: AdmissionRequest) -> dict[str, Any]:
        spec = request.object.get("spec") or {}
        try:
            policy = await self._client.get(POLICIES, spec.get("policy") or "-", request.namespace)
        except NotFoundError:
            policy = None
        except KubernetesError as error:
            return _failed(request, "the policy of the saga could not be read", error)
        refused = saga_refusal(request.object, policy)
        return allowed(request) if refused is None else denied(request, str(refused))

    async def _inject(self, request: AdmissionRequest, policies: list[Policy]) -> dict[str, Any]:
        injection = inject(request.object, policies, self._options, namespace=request.namespace)
        if isinstance(injection, Refused):
            return denied(request, str(injection))
        patch = injection.patch if isinstance(injection, Injected) else ()
        if (patch or has_sidecar(request.object)) and not request.dry_run:
            # A pod may come with its sidecar, injected offline: it needs the role all the same.
            account = request.object["spec"].get("serviceAccountName") or "default"
            try:
                await bind_role(self._client, request.namespace, account)
                if self._admit is not None:
                    await self._admit(request.namespace)
            except KubernetesError as error:
                return _failed(request, f"the sidecar's rights could not be given to {account!r}", error)
        return allowed(request, patch)

    async def _policies(self, namespace: str) -> tuple[dict[str, Any], ...]:
        return (await self._client.list(POLICIES, namespace)).items


def _failed(request: AdmissionRequest, what: str, error: KubernetesError) -> dict[str, Any]:
    passing = isinstance(error, UnavailableError)
    status = HTTPStatus.SERVICE_UNAVAILABLE if passing else HTTPStatus.INTERNAL_SERVER_ERROR
    return denied(request, f"globaltx: {Reason.STORE_UNAVAILABLE}: {what}: {error}", status)
