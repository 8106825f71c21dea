"""What all sweepers share: they go again and again, and tell what keeps them from it."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.xid import InvalidXidError, Xid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from globaltx_sidecar.health import Health

SWEEP_SECONDS = 600.0
"""How long one sweep may take; the next begins anew."""


async def sweep_for_ever(
    sweep: Callable[[], Awaitable[None]], part: str, health: Health, pause_seconds: float
) -> None:
    """Sweep with about ``pause_seconds`` between, until it is cancelled; what fails is told as ``part``'s."""
    while True:
        await asyncio.sleep(pause_seconds * random.uniform(0.8, 1.2))  # noqa: S311  jitter
        try:
            async with asyncio.timeout(SWEEP_SECONDS):
                await sweep()
        except Exception as error:  # noqa: BLE001  a sweep that fails is repeated, and it is told
            health.waits(part, Reason.DATASOURCE_UNAVAILABLE, f"could not sweep: {error}")


def read_xid(text: bytes) -> Xid | None:
    """Read an xid as a table of ours holds it; None if it is none, which is nobody's to sweep."""
    try:
        return Xid.parse(text.decode("ascii"))
    except (InvalidXidError, UnicodeDecodeError):
        return None
