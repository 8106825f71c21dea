"""Kubernetes Events, each told once.

The name of an Event is made from what it says. A second telling, by this replica after a crash or
by the next leader, meets the first under the same name and is dropped by the API server itself.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from globaltx.manifest.times import format_time
from globaltx.stores.kubernetes.errors import AlreadyExistsError, KubernetesError
from globaltx.stores.kubernetes.resource import EVENTS
from globaltx.transaction.model import shorten

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from globaltx.coordinator.observed import Notice
    from globaltx.stores.kubernetes.client import KubernetesClient

Json = dict[str, Any]

CONTROLLER = "globaltx.io/operator"
_NAME_LENGTH_MAX = 200

_log = logging.getLogger(__name__)


class Recorder:
    """Writes Events; one that cannot be written is logged, and holds nothing else up."""

    def __init__(self, client: KubernetesClient, identity: str, utc: Callable[[], datetime]) -> None:
        self._client = client
        self._identity = identity
        self._utc = utc

    async def record(self, notice: Notice, regarding: Json) -> None:
        """Tell a notice at an object."""
        body = event(notice, regarding, self._identity, self._utc())
        try:
            await self._client.create(EVENTS, body, regarding["metadata"]["namespace"])
        except AlreadyExistsError:
            pass  # told before
        except KubernetesError as error:
            _log.warning("the event %s was not written: %s", notice.reason, error)


def event(notice: Notice, regarding: Json, identity: str, now: datetime) -> Json:
    """Write an ``events.k8s.io/v1`` Event."""
    metadata = regarding["metadata"]
    said = f"{metadata['uid']}\0{notice.reason}\0{notice.message}"
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    return {
        "metadata": {
            "name": f"{metadata['name'][:_NAME_LENGTH_MAX]}.{digest}",
            "namespace": metadata["namespace"],
        },
        "eventTime": format_time(now),
        "type": str(notice.weight),
        "reason": str(notice.reason),
        "note": shorten(notice.message),
        "action": "Reconcile",
        "reportingController": CONTROLLER,
        "reportingInstance": identity[:128],
        "regarding": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
