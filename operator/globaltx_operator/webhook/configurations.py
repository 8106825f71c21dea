"""The ``caBundle`` of the webhook configurations: kept right by whichever replica notices.

The chart leaves it out, so that neither an upgrade nor a rollback takes trust away.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from globaltx.stores.kubernetes.client import PatchKind
from globaltx.stores.kubernetes.errors import NotFoundError
from globaltx.stores.kubernetes.resource import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS

if TYPE_CHECKING:
    from globaltx.stores.kubernetes.client import JsonPatch, KubernetesClient
    from globaltx.stores.kubernetes.resource import Resource

KINDS = (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)


async def carried(client: KubernetesClient, name: str) -> tuple[str, ...]:
    """The bundles that the configurations of that name carry, one a webhook.

    Raises:
        KubernetesError: they could not be read.
    """
    webhooks = [each for kind in KINDS for each in await _webhooks(client, kind, name)]
    return tuple(_bundle(each) for each in webhooks)


async def publish(client: KubernetesClient, name: str, bundle: str) -> None:
    """Let every webhook of the configurations trust the bundle; those that are not there are left out.

    Raises:
        KubernetesError: it could not be written; a `ConflictError` or `InvalidError` when the
            configuration was changed meanwhile.
    """
    for kind in KINDS:
        webhooks = await _webhooks(client, kind, name)
        patch = [
            operation
            for index, each in enumerate(webhooks)
            if _bundle(each) != bundle
            for operation in _carry(index, each["name"], bundle)
        ]
        if patch:
            await client.patch(kind, name, patch, kind=PatchKind.JSON)


def _carry(index: int, name: str, bundle: str) -> JsonPatch:
    text = base64.b64encode(bundle.encode()).decode()
    return [
        {"op": "test", "path": f"/webhooks/{index}/name", "value": name},
        {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": text},
    ]


async def _webhooks(client: KubernetesClient, kind: Resource, name: str) -> list[dict[str, Any]]:
    try:
        configuration = await client.get(kind, name)
    except NotFoundError:
        return []
    return list(configuration.get("webhooks") or ())


def _bundle(webhook: dict[str, Any]) -> str:
    try:
        return base64.b64decode(webhook["clientConfig"].get("caBundle") or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
