"""The application behind the proxy: sends it requests, streams bodies both ways, names its failures."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import aiohttp
from yarl import URL

from globaltx.coordinator.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from aiohttp import web
    from multidict import CIMultiDict

CONNECT_SECONDS = 5.0
READ_SECONDS = 3600.0
"""How long an answer may be silent. Long: the client and the application have their own ideas."""
IDLE_SECONDS = 1.0
"""How long an idle connection is kept. Short, so that the application's own idle timeout (2 s and
more in the usual servers) never closes a connection under a request that cannot be repeated."""
HEAD_BYTES_MAX = 32 * 1024
HEADERS_MAX = 256


class UpstreamError(Exception):
    """The application gave no whole answer; ``status`` is what a client is told."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = Reason.APPLICATION_UNAVAILABLE


class Upstream:
    """The application's port on loopback; an async context that owns the connections to it."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.address = f"{host}:{port}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
            max_headers=HEADERS_MAX,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(
        self, request: web.BaseRequest, target: str, headers: CIMultiDict[str], body: bytes | None = None
    ) -> aiohttp.ClientResponse:
        """Pass a request on and return the answer's head; its body is still to be read.

        ``body`` is the request's body where it was read already.

        Raises:
            UpstreamError: there is no answer.
        """
        data: bytes | AsyncIterator[bytes] | None = body
        if body is None and request.body_exists:
            data = request.content.iter_any()
        return await self._send(request.method, target, headers, data)

    async def call(
        self, method: str, target: str, headers: CIMultiDict[str], body: bytes, seconds: float
    ) -> int:
        """Make a call of our own and return the status of its answer, whose body is of no interest.

        Raises:
            UpstreamError: there is no answer within the time.
        """
        try:
            async with asyncio.timeout(seconds):
                response = await self._send(method, target, headers, body or None)
        except TimeoutError as error:
            message = f"the application at {self.address} did not answer within {seconds:g} s"
            raise UpstreamError(504, message) from error
        response.release()
        return response.status

    async def _send(
        self,
        method: str,
        target: str,
        headers: CIMultiDict[str],
        data: bytes | AsyncIterator[bytes] | None,
    ) -> aiohttp.ClientResponse:
        try:
            return await self._session.request(
                method,
                URL(f"http://{self.address}{target}", encoded=True),
                headers=headers,
                data=data,
                allow_redirects=False,
            )
        except aiohttp.ServerTimeoutError as error:
            raise UpstreamError(504, f"the application at {self.address} did not answer in time") from error
        except aiohttp.ClientConnectorError as error:
            message = f"the application at {self.address} takes no connection: {error.os_error.strerror}"
            raise UpstreamError(502, message) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            message = f"the application at {self.address} gave no answer: {told(error)}"
            raise UpstreamError(502, message) from error

    async def chunks(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes in.

        Raises:
            UpstreamError: the body broke off.
        """
        try:
            async for chunk in response.content.iter_any():
                yield chunk
        except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
            message = f"the application at {self.address} broke off its answer: {told(error)}"
            raise UpstreamError(502, message) from error


def told(error: Exception) -> str:
    """What an error says, or its kind when it says nothing."""
    return str(error) or type(error).__name__
