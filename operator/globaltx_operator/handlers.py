"""What kopf is used for: it watches the three kinds and feeds the caches, nothing else.

Raw events only. An index, a timer or a daemon an object makes the start of an operator with
thousands of objects take minutes; peering and managed webhooks make replicas work against each
other. What is to be done is decided elsewhere, by the leader.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import kopf

from globaltx.manifest.projected import is_projected
from globaltx.manifest.resources import BRANCHES, GROUP, POLICIES, TRANSACTIONS, VERSION
from globaltx_operator.cache import xid_of_branch, xid_of_transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx.stores.kubernetes.access import Access
    from globaltx_operator.cache import Cache
    from globaltx_operator.policies import PolicyCache

Json = dict[str, Any]

CONNECTIONS = 50
"""Without a bound kopf opens one connection an object at the start."""
WORKER_IDLE_SECONDS = 0.5
PAGE = 500
WATCH_SECONDS = 30
SILENT_SECONDS = 40.0
"""A watch ends by itself after the first; one that has not done so by the second is dead, and begun anew."""

_log = logging.getLogger(__name__)


class NoDifferences(kopf.DiffBaseStorage):
    """Keeps kopf from copying each object twice to find out what changed: that is for other handlers."""

    def build(self, **_: Any) -> Any:
        """Make nothing of an object."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Remember nothing."""
        return

    def store(self, **_: Any) -> None:
        """Store nothing."""


def settings() -> kopf.OperatorSettings:
    """How kopf behaves: alone, quiet, and as small as it can be."""
    made = kopf.OperatorSettings()
    made.peering.standalone = True
    made.posting.enabled = False
    made.scanning.disabled = True  # the kinds are waited for before; namespaces are named or all
    made.persistence.diffbase_storage = NoDifferences()
    made.queueing.idle_timeout = WORKER_IDLE_SECONDS
    made.watching.chunk_size = PAGE
    made.watching.connect_timeout = 5
    made.watching.server_timeout = WATCH_SECONDS
    made.watching.inactivity_timeout = SILENT_SECONDS
    made.networking.connect_timeout = 5
    made.networking.request_timeout = 30
    return made


def registry(
    access: Access, cache: Cache, policies: PolicyCache, shown: Cache | None = None
) -> kopf.OperatorRegistry:
    """Make the handlers; the same for every replica. What is projected goes to ``shown`` alone."""
    made = kopf.OperatorRegistry()
    kopf.on.login(registry=made)(_login(access))
    watched: tuple[tuple[str, Callable[[str | None, Json], None]], ...] = (
        (TRANSACTIONS.plural, lambda kind, found: _transaction(_cache(found, cache, shown), kind, found)),
        (BRANCHES.plural, lambda kind, found: _branch(_cache(found, cache, shown), kind, found)),
        (POLICIES.plural, lambda kind, found: _policy(policies, kind, found)),
    )
    for plural, feed in watched:
        kopf.on.event(GROUP, VERSION, plural, registry=made, id=f"feed-{plural}")(_feeding(feed))
    return made


def _feeding(feed: Callable[[str | None, Json], None]) -> Any:
    async def on_event(event: Any, **_: Any) -> None:
        found = event["object"]
        try:
            feed(event["type"], found)
        except (KeyError, TypeError, ValueError) as error:
            name = (found.get("metadata") or {}).get("name", "?")
            _log.warning("%s %s cannot be read and is left alone: %r", found.get("kind"), name, error)

    return on_event


def _cache(found: Json, cache: Cache, shown: Cache | None) -> Cache | None:
    return shown if is_projected(found) else cache


def _transaction(cache: Cache | None, kind: str | None, found: Json) -> None:
    if cache is None:
        return
    if kind == "DELETED":
        cache.drop_transaction(xid_of_transaction(found), found["metadata"]["uid"])
    else:
        cache.put_transaction(found)


def _branch(cache: Cache | None, kind: str | None, found: Json) -> None:
    if cache is None:
        return
    if kind == "DELETED":
        cache.drop_branch(xid_of_branch(found), found["metadata"]["name"])
    else:
        cache.put_branch(found)


def _policy(policies: PolicyCache, kind: str | None, found: Json) -> None:
    if kind == "DELETED":
        policies.drop(found["metadata"]["namespace"], found["metadata"]["name"])
    else:
        policies.put(found)


def _login(access: Access) -> Any:
    async def login(**_: Any) -> kopf.AiohttpSession:
        """Give kopf a bounded session whose token is read anew for each request."""
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=access.context() or True)
        session = aiohttp.ClientSession(connector=connector, middlewares=(_authorized(access),))
        return kopf.AiohttpSession(server=access.server, aiohttp_session=session)

    return login


def _authorized(access: Access) -> aiohttp.ClientMiddlewareType:
    async def authorize(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        token = access.token()
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return await handler(request)

    return authorize
