"""Calls that leave the pod: bounded, and never led elsewhere.

Redirects are not followed, no proxy is used, and names that lead to the pod itself or to a cloud's
metadata are not called, whatever DNS says at that moment.
"""

from __future__ import annotations

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from globaltx.coordinator.egress import forbidden

CONNECT_SECONDS = 5.0
HEAD_BYTES_MAX = 16 * 1024


class GuardedResolver(AbstractResolver):
    """DNS without the answers that are never called."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look a name up.

        Raises:
            OSError: it leads nowhere, or only where nothing may be called.
        """
        found = await self._resolver.resolve(host, port, family)
        allowed = [each for each in found if not forbidden(each["host"].partition("%")[0], named=True)]
        if not allowed:
            message = f"{host} leads to an address that is never called"
            raise OSError(message)
        return allowed

    async def close(self) -> None:
        """Nothing is held."""
        await self._resolver.close()


def guarded_session(connections: int) -> aiohttp.ClientSession:
    """Connections for such calls, at most so many at once (0: the caller bounds them)."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=connections, resolver=GuardedResolver(), use_dns_cache=False, force_close=True
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("Accept-Encoding", "Content-Type", "User-Agent"),
        max_line_size=HEAD_BYTES_MAX,
        max_field_size=HEAD_BYTES_MAX,
    )


def limits(seconds: float) -> aiohttp.ClientTimeout:
    """How long a call may take, and its connecting."""
    return aiohttp.ClientTimeout(total=seconds, sock_connect=min(CONNECT_SECONDS, seconds))


def told(error: Exception) -> str:
    """Say why a call had no answer."""
    cause = f" ({error.os_error})" if isinstance(error, aiohttp.ClientConnectorError) else ""
    return f"{str(error) or type(error).__name__}{cause}"
