"""Secrets that replicas share: read, and written by compare-and-set."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from globaltx.stores.kubernetes.errors import NotFoundError
from globaltx.stores.kubernetes.resource import SECRETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from globaltx.stores.kubernetes.client import KubernetesClient

Texts = dict[str, str]


class UnreadableError(ValueError):
    """A value is no text in base64."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a Secret holds, encoded, and its version."""

    data: Mapping[str, str]
    version: str

    def texts(self) -> Texts:
        """Decode the values.

        Raises:
            UnreadableError: one is no text.
        """
        try:
            return {name: base64.b64decode(text).decode() for name, text in self.data.items()}
        except (binascii.Error, UnicodeDecodeError) as error:
            raise UnreadableError(repr(error)) from error


async def read(client: KubernetesClient, name: str, namespace: str) -> Held | None:
    """Read a Secret; None where there is none.

    Raises:
        KubernetesError: the API server did not answer, or refused.
    """
    try:
        return held(await client.get(SECRETS, name, namespace))
    except NotFoundError:
        return None


def held(secret: Mapping[str, Any]) -> Held:
    """What an object of the API server's holds."""
    return Held(secret.get("data") or {}, str(secret["metadata"]["resourceVersion"]))


async def write(
    client: KubernetesClient, name: str, namespace: str, texts: Mapping[str, str], version: str | None
) -> None:
    """Write a Secret where it is still of the version that was read (None: where there is none).

    Raises:
        ConflictError: another replica was quicker (`AlreadyExistsError` is one).
        KubernetesError: the API server did not answer, or refused.
    """
    labels = {"app.kubernetes.io/managed-by": "globaltx-operator"}
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": labels}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    body: dict[str, Any] = {"metadata": metadata, "type": "Opaque", "data": data}
    if version is None:
        await client.create(SECRETS, body, namespace)
    else:
        metadata["resourceVersion"] = version
        await client.replace(SECRETS, body, namespace)
