"""Answers over HTTP: bounded, and let go of at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.stores.lines import LineTooLongError

if TYPE_CHECKING:
    import aiohttp


def abort(response: aiohttp.ClientResponse) -> None:
    """Drop a connection whose answer has no end, instead of waiting for the peer's farewell."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()


async def whole(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """Read an answer to its end.

    Raises:
        LineTooLongError: it is longer than ``bytes_max``.
    """
    pieces: list[bytes] = []
    held = 0
    async for piece in response.content.iter_any():
        held += len(piece)
        if held > bytes_max:
            message = f"an answer is longer than {bytes_max} bytes"
            raise LineTooLongError(message)
        pieces.append(piece)
    return b"".join(pieces)
