"""The right of a pod's ServiceAccount to act as a sidecar in the pod's namespace.

It is given at admission, because only then it is known which ServiceAccounts need it. It grants
the ClusterRole ``globaltx-sidecar`` in that one namespace.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from globaltx.manifest.injection import SIDECAR_NAME
from globaltx.stores.kubernetes.errors import AlreadyExistsError, NotFoundError
from globaltx.stores.kubernetes.resource import ROLE_BINDINGS

if TYPE_CHECKING:
    from globaltx.stores.kubernetes.client import KubernetesClient

NAME_LENGTH_MAX = 253
RBAC_GROUP = "rbac.authorization.k8s.io"


async def bind_role(client: KubernetesClient, namespace: str, service_account: str) -> None:
    """Make sure that the binding is there; idempotent.

    Raises:
        KubernetesError: it could not be made.
    """
    try:
        await client.get(ROLE_BINDINGS, binding_name(service_account), namespace)
    except NotFoundError:
        pass
    else:
        return
    try:
        await client.create(ROLE_BINDINGS, role_binding(namespace, service_account), namespace)
    except AlreadyExistsError:
        return  # another replica was quicker


def role_binding(namespace: str, service_account: str) -> dict[str, Any]:
    """Write the binding."""
    return {
        "metadata": {
            "name": binding_name(service_account),
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "globaltx-operator"},
        },
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": SIDECAR_NAME},
        "subjects": [{"kind": "ServiceAccount", "name": service_account, "namespace": namespace}],
    }


def binding_name(service_account: str) -> str:
    """One binding an account, named after it; an account's name may be as long as a name can be."""
    name = f"{SIDECAR_NAME}-{service_account}"
    if len(name) <= NAME_LENGTH_MAX:
        return name
    digest = hashlib.sha256(service_account.encode()).hexdigest()[:10]
    return f"{name[: NAME_LENGTH_MAX - 11]}-{digest}"
