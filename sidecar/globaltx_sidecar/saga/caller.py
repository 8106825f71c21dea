"""Calls the steps of declared sagas, wherever the policy allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from globaltx.coordinator.egress import forbidden_as_written
from globaltx.modes.declared import Answer
from globaltx.modes.guard_row import DONE
from globaltx.modes.templates import read_json
from globaltx.transaction.declared import RESULT_BYTES_MAX
from globaltx_sidecar.http.headers import FOUND_HEADER
from globaltx_sidecar.outbound import guarded_session, limits, told

if TYPE_CHECKING:
    from globaltx.transaction.declared import Exchange

CONNECTIONS = 64
"""How many calls may be under way at once; further ones wait."""
JSON_TYPE = "application/json"


class StepCaller:
    """An async context that owns the connections."""

    def __init__(self) -> None:
        self._session = guarded_session(CONNECTIONS)

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
        try:
            async with self._session.request(
                exchange.method,
                url,
                headers=sent,
                data=exchange.body.encode() or None,
                allow_redirects=False,
                timeout=limits(seconds),
            ) as answer:
                found = answer.headers.get(FOUND_HEADER) in DONE
                return Answer(answer.status, _kept(await _read(answer)), found=found)
        except TimeoutError:
            return Answer(problem=f"no answer within {seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(problem=f"no answer: {told(error)}")


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
    except ValueError:
        return ""
    return text
