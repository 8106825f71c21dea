"""Global transactions for Python programs that no HTTP request starts: workers, schedules, scripts.

    from globaltx.client import Client

    with Client().transaction(timeout_seconds=30) as transaction:
        requests.post("http://stock/reserve", json=order, headers=transaction.headers)

Leaving the block commits; an exception rolls back. `AsyncClient` is the same for asyncio. Both speak to
the sidecar of their own pod (docs/local-api.md).
"""

from __future__ import annotations

from globaltx.client.asynchronous import AsyncClient
from globaltx.client.protocol import (
    Branch,
    GlobaltxError,
    Notify,
    OutcomeUnknownError,
    RefusedError,
    Status,
    Transaction,
)
from globaltx.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "Branch",
    "Client",
    "GlobaltxError",
    "Notify",
    "OutcomeUnknownError",
    "RefusedError",
    "Status",
    "Transaction",
]
