"""A connection of HTTP/2 by itself: what is said on it first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from globaltx.http2_frames import PREFACE
from globaltx_sidecar.http2.side import Side

if TYPE_CHECKING:
    from h2.events import Event

SETTINGS = bytes.fromhex("000000040000000000")


class Written(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0


class Answering:
    """A bridge that sends what there is to send."""

    def received(self, side: Side, event: Event) -> None:
        """Nothing is to be done."""

    def goes_away(self, side: Side, last_stream: int) -> None:
        """Nothing is to be done."""

    def flush(self, side: Side) -> None:
        """Nothing is to be done."""

    def lost(self, side: Side, why: str) -> None:
        """Nothing is to be done."""

    def write(self) -> None:
        self.side.write()

    side: Side


async def test_an_application_that_speaks_first_is_greeted_before_it_is_answered() -> None:
    """An event loop may tell what has come before whoever waits for the connection goes on."""
    bridge, transport = Answering(), Written()
    bridge.side = Side(bridge, towards_client=False)
    bridge.side.connection_made(transport)
    bridge.side.data_received(SETTINGS)
    assert transport.data.startswith(PREFACE)
