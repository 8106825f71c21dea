"""Calls the steps of declared sagas, wherever the policy allows: bounded, and never led elsewhere.

Redirects are not followed, no proxy is used, and names that lead to the pod itself or to a cloud's
metadata are not called, whatever DNS says at that moment.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from globaltx.coordinator.egress import forbidden, forbidden_as_written
from globaltx.modes.declared import Answer
from globaltx.modes.templates import read_json
from globaltx.transaction.declared import RESULT_BYTES_MAX

if TYPE_CHECKING:
    from globaltx.transaction.declared import Exchange

CONNECTIONS = 64
"""How many calls may be under way at once; further ones wait."""
CONNECT_SECONDS = 5.0
HEAD_BYTES_MAX = 16 * 1024
JSON_TYPE = "application/json"


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


class StepCaller:
    """An async context that owns the connections."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS, resolver=GuardedResolver(), use_dns_cache=False, force_close=True
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding", "Content-Type", "User-Agent"),
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(self, exchange: Exchange, headers: dict[str, str], seconds: float) -> Answer:
        """Make a call and say what came of it; ``headers`` go before those of the exchange."""
        url = URL(exchange.url, encoded=True)
        if forbidden_as_written(url.host or ""):
            return Answer(problem=f"{url.host} is an address that is never called")
        sent = CIMultiDict(exchange.headers)
        if exchange.body:
            sent.setdefault("Content-Type", JSON_TYPE)
        sent.update(headers)
        limits = aiohttp.ClientTimeout(total=seconds, sock_connect=min(CONNECT_SECONDS, seconds))
        try:
            async with self._session.request(
                exchange.method,
                url,
                headers=sent,
                data=exchange.body.encode() or None,
                allow_redirects=False,
                timeout=limits,
            ) as answer:
                return Answer(answer.status, _kept(await _read(answer)))
        except TimeoutError:
            return Answer(problem=f"no answer within {seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(problem=f"no answer: {_told(error)}")


def _told(error: Exception) -> str:
    cause = f" ({error.os_error})" if isinstance(error, aiohttp.ClientConnectorError) else ""
    return f"{str(error) or type(error).__name__}{cause}"


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body, or nothing if it is larger than what is kept."""
    read = bytearray()
    async for chunk in answer.content.iter_any():
        read += chunk
        if len(read) > RESULT_BYTES_MAX:
            answer.close()
            return b""
    return bytes(read)


def _kept(body: bytes) -> str:
    """The text of a body that is JSON; empty for all others."""
    try:
        text = body.decode()
        read_json(text)
    except (ValueError, RecursionError):
        return ""
    return text
