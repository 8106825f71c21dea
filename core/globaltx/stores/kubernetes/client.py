"""A small client for the Kubernetes API, generic over kinds, with typed errors.

It exists because the client libraries cost a sidecar more memory than all the rest of it.
Objects are JSON as the API server gives it (``dict``). Nothing is repeated in here: an
`UnavailableError` says that a call may or may not have happened, and only the caller knows
whether it may be repeated.
"""

from __future__ import annotations

from contextlib import aclosing
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from globaltx.stores.kubernetes.errors import ExpiredError, UnavailableError, told_error
from globaltx.stores.kubernetes.transport import Json, Transport
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from globaltx.stores.kubernetes.access import Access
    from globaltx.stores.kubernetes.resource import Resource

JsonPatch = list[Json]

REQUEST_TIMEOUT = 10.0
CONNECTIONS = 16
PAGE = 500
WATCH_SECONDS = 240
_SILENCE_GRACE = 15.0
_LIST_ATTEMPTS = 3


class PatchKind(StrEnum):
    """How a patch is meant; the content type of the request."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


class EventType(StrEnum):
    """What a watch tells about an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch; the object of a bookmark holds nothing but its resourceVersion."""

    type: EventType
    object: Json

    @property
    def resource_version(self) -> str:
        """From where a watch goes on after this event."""
        return str(self.object["metadata"]["resourceVersion"])


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a consistent list; a watch from ``resource_version`` misses nothing."""

    items: tuple[Json, ...]
    resource_version: str


class KubernetesClient:
    """Requests to one API server; use it as an async context manager, or `close` it.

    Every call raises the errors of ``globaltx.stores.kubernetes.errors``.
    """

    def __init__(
        self,
        access: Access,
        *,
        timeout: float = REQUEST_TIMEOUT,
        connections: int = CONNECTIONS,
        field_manager: str = "globaltx",
    ) -> None:
        self._transport = Transport(access, timeout, connections)
        self._field_manager = field_manager

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        await self._transport.close()

    def utc(self) -> datetime:
        """What time it is, by the API server's clock as far as its answers have told it."""
        return self._transport.clock.now()

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Json:
        """Read one object consistently: nothing that was durable before the call is missed."""
        return await self.request("GET", resource.path(namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
    ) -> Listing:
        """Read all objects consistently, page by page, as of one moment.

        ``labels`` and ``fields`` are selectors such as ``app=shop``; without a namespace all
        namespaces are read.
        """
        for _ in range(_LIST_ATTEMPTS):
            try:
                return await self._list(
                    resource, namespace, {"labelSelector": labels, "fieldSelector": fields}
                )
            except ExpiredError:
                continue  # the moment that the pages belong to was compacted away: from the start
        message = f"the list of {resource.plural} outlived {_LIST_ATTEMPTS} compactions"
        raise UnavailableError(message)

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Json:
        """Create an object, durable on return.

        Raises:
            AlreadyExistsError: the name is taken.
        """
        return await self.request(
            "POST",
            resource.path(namespace),
            body=_of_kind(resource, body),
            params={"fieldManager": self._field_manager, "dryRun": "All" if dry_run else ""},
        )

    async def replace(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        subresource: str | None = None,
    ) -> Json:
        """Write an object as a whole; with ``metadata.resourceVersion`` in it, only over that version.

        Raises:
            ConflictError: it was changed since that version.
        """
        return await self.request(
            "PUT",
            resource.path(namespace, body["metadata"]["name"], subresource),
            body=_of_kind(resource, body),
            params={"fieldManager": self._field_manager},
        )

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Json | JsonPatch,
        namespace: str | None = None,
        *,
        kind: PatchKind = PatchKind.MERGE,
        subresource: str | None = None,
    ) -> Json:
        """Change parts of an object; durable on return.

        ``APPLY`` is server-side apply in this client's field manager, forced: it creates the
        object when there is none, and takes fields over from other managers.
        """
        applied = kind is PatchKind.APPLY
        return await self.request(
            "PATCH",
            resource.path(namespace, name, subresource),
            body=_of_kind(resource, patch) if applied and isinstance(patch, dict) else patch,
            params={"fieldManager": self._field_manager, "force": "true" if applied else ""},
            content_type=kind,
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
        propagation: str | None = None,
    ) -> Json:
        """Delete an object, or only mark it while it has finalizers.

        With ``uid`` or ``resource_version`` only that very object or version.

        Raises:
            ConflictError: another object or version is there.
        """
        guards = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in guards.items() if value is not None}
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1"}
        options |= {"preconditions": preconditions} if preconditions else {}
        options |= {} if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}
        options |= {} if propagation is None else {"propagationPolicy": propagation}
        return await self.request("DELETE", resource.path(namespace, name), body=options)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        labels: str = "",
        fields: str = "",
        seconds: int = WATCH_SECONDS,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield what happens after ``resource_version``; ends by itself after about ``seconds``.

        ``opened`` is called once the server has accepted. Bookmarks are asked for and yielded.
        Close the generator (``aclosing``) when you leave it early.
        `globaltx.stores.kubernetes.watcher` resumes and lists anew.

        Raises:
            ExpiredError: the version is too old; list anew.
        """
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
            "labelSelector": labels,
            "fieldSelector": fields,
        }
        lines = self._transport.lines(resource.path(namespace), params, seconds + _SILENCE_GRACE, opened)
        async with aclosing(lines):
            async for line in lines:
                yield _event(line, f"WATCH {resource.plural}")

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """Any other request whose answer is a JSON object; empty params are left out."""
        return await self._transport.request(
            method, path, body=body, params=params, content_type=content_type
        )

    async def _list(self, resource: Resource, namespace: str | None, params: dict[str, str]) -> Listing:
        items: list[Json] = []
        token = ""
        while True:
            page = await self.request(
                "GET", resource.path(namespace), params=params | {"limit": str(PAGE), "continue": token}
            )
            metadata = page.get("metadata") or {}
            items.extend(_of_kind(resource, item) for item in page.get("items") or ())
            token = metadata.get("continue", "")
            if not token:
                return Listing(tuple(items), str(metadata.get("resourceVersion", "")))


def _of_kind(resource: Resource, body: Mapping[str, Any]) -> Json:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


def _event(line: Json, what: str) -> WatchEvent:
    told = line.get("object") or {}
    if line.get("type") == "ERROR":
        raise told_error(told, what)
    try:
        event = WatchEvent(EventType(line["type"]), told)
        event.resource_version  # noqa: B018  an event without one is of unknown shape too
    except (KeyError, TypeError, ValueError) as error:
        message = f"{what}: an event of unknown shape: {error!r}"
        raise UnavailableError(message) from error
    return event
