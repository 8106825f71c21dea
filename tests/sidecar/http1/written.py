"""A transport that only keeps what is written."""

from __future__ import annotations

import asyncio


class Written(asyncio.Transport):
    """Keeps what is written, and knows when it was closed, and whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.closed = self.paused = False
        self._protocol: asyncio.BaseProtocol = asyncio.Protocol()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another one."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The one that it has."""
        return self._protocol

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.data += data

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def close(self) -> None:
        """Be closed."""
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        """Be read from no more."""
        self.paused = True

    def resume_reading(self) -> None:
        """Be read from again."""
        self.paused = False
