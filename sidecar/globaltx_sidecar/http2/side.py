"""One end of two connections: towards the client, or towards the application.

What comes in is handed to the bridge as events of `h2`. Bodies are read only as fast as they go on: what was
received is acknowledged when it was sent, so that a peer has at most its window on the way here.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

import h2.settings
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RemoteSettingsChanged
from h2.exceptions import ProtocolError

from globaltx import http2_frames as frames
from globaltx_sidecar.http2.floods import FloodError, Floods

if TYPE_CHECKING:
    from collections.abc import Iterable

    from h2.events import Event


STREAMS_MAX = 100
"""How many requests a client may have under way on a connection."""
STREAM_WINDOW = 65_535
CONNECTION_WINDOW = 1024 * 1024
HEADERS_BYTES_MAX = 64 * 1024
TABLE_BYTES_MAX = 4096
"""How much of earlier headers is kept for a peer that would have us keep more."""
WRITE_BYTES = 64 * 1024
UNREAD_BYTES_MAX = 512 * 1024
"""How much of our answers to control frames a peer may leave unread."""


class Bridge(Protocol):
    """Who is told what happens at a side."""

    def received(self, side: Side, event: Event) -> None:
        """Something came in."""

    def goes_away(self, side: Side, last_stream: int) -> None:
        """The peer takes no requests above this stream any more."""

    def flush(self, side: Side) -> None:
        """There may be room again for what waits."""

    def write(self) -> None:
        """All that came in together was told."""

    def lost(self, side: Side, why: str) -> None:
        """The connection is gone; told once."""


class Side(asyncio.Protocol):
    """A connection of HTTP/2, over a transport that may come later."""

    def __init__(self, bridge: Bridge, *, towards_client: bool) -> None:
        self._bridge = bridge
        self._now = asyncio.get_running_loop().time
        self._frames = frames.FrameReader()
        self._floods = Floods()
        self._transport: asyncio.Transport | None = None
        self._unwritten = 0
        self._towards_client = towards_client
        self.paused = False
        self.gone = False
        self.speaks = False
        """Whether the peer has said anything that is HTTP/2."""
        self.h2 = H2Connection(
            H2Configuration(
                client_side=not towards_client,
                header_encoding=None,
                validate_outbound_headers=False,  # they were read, and judged, on the other side
                normalize_outbound_headers=False,
            )
        )
        self.h2.local_settings = _settings(towards_client=towards_client)

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`; an application may speak at once, and is greeted before it is answered."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._towards_client:
            self.start()

    def start(self) -> None:
        """Say the first words."""
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW - STREAM_WINDOW)
        if self._towards_client:
            self.h2.receive_data(frames.PREFACE)
        self.write()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.gone:
            return
        try:
            for frame in self._frames.feed(data):
                self._read(frame)
        except frames.PeerError as error:
            self.fail(ErrorCodes.FRAME_SIZE_ERROR, str(error))
        except FloodError as error:
            self.fail(ErrorCodes.ENHANCE_YOUR_CALM, str(error))
        except ProtocolError as error:
            self.fail(None, f"{type(error).__name__}: {error}")  # h2 has said so already
        self._bridge.write()

    def _read(self, frame: frames.Frame) -> None:
        if self.gone:
            return
        if not self.speaks and frame.kind != frames.SETTINGS:
            message = "the first frame must be SETTINGS"
            raise frames.PeerError(message)
        self.speaks = True
        self._floods.frame(frame, self._now())
        if frame.kind == frames.GOAWAY:
            self._bridge.goes_away(self, frames.last_stream_of(frame))
            return
        for event in self.h2.receive_data(frame.raw):
            if isinstance(event, RemoteSettingsChanged):
                self._bound_table()
            self._bridge.received(self, event)

    def _bound_table(self) -> None:
        self.h2.encoder.header_table_size = min(self.h2.encoder.header_table_size, TABLE_BYTES_MAX)

    def taken_back(self) -> None:
        """Count a request that the peer took back.

        Raises:
            FloodError: there were too many.
        """
        self._floods.reset(self._now())

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.paused = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.paused = False
        self._bridge.flush(self)
        self._bridge.write()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._lost(str(exc) if exc else "it was closed")

    # What the bridge asks for.

    def room(self, stream: int) -> int:
        """How many bytes of a body the peer takes now, in one frame."""
        return min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)

    def send_head(self, stream: int, pairs: Iterable[tuple[bytes, bytes]], *, end: bool = False) -> None:
        """Send headers or trailers."""
        pairs = list(pairs)
        self.h2.send_headers(stream, pairs, end_stream=end)
        self._wrote(sum(len(name) + len(value) for name, value in pairs))

    def send_data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send a part of a body that there is room for."""
        self.h2.send_data(stream, data, end_stream=end)
        self._wrote(len(data))

    def _wrote(self, size: int) -> None:
        self._unwritten += size
        if self._unwritten >= WRITE_BYTES:
            self.write()

    def acknowledge(self, stream: int, size: int) -> None:
        """Let the peer send so many bytes more."""
        if size and not self.gone:
            self.h2.acknowledge_received_data(size, stream)

    def reset(self, stream: int, code: int) -> None:
        """End a stream, unless it has ended."""
        with suppress(ProtocolError):  # it has ended on both sides, or never began
            self.h2.reset_stream(stream, code)
        # Of a stream that it still keeps `h2` takes a late answer before the answer (1xx) for a breach that
        # ends the connection; to count the open ones makes it forget the others.
        _ = self.h2.open_outbound_streams

    def go_away(self, last_stream: int = frames.NUMBER_MAX) -> None:
        """Ask for no more requests above this stream; those under way go on."""
        self.write()
        if self._transport is not None and not self.gone:
            self._transport.write(frames.goaway(last_stream))

    def write(self) -> None:
        """Hand all that was sent to the transport."""
        self._unwritten = 0
        data = self.h2.data_to_send()
        if not data or self._transport is None or self.gone:
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            self.abort("it does not read what it is told")

    def fail(self, code: int | None, why: str) -> None:
        """Close the connection, and tell the peer why, unless it was told."""
        if self._transport is not None and not self.gone:
            last = b"" if code is None else frames.goaway(0, code)
            self._transport.write(self.h2.data_to_send() + last)
        self.close(why)

    def close(self, why: str = "it was closed") -> None:
        """Close the connection when all that was written is gone."""
        if self._transport is not None:
            self._transport.close()
        self._lost(why)

    def abort(self, why: str) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        self._lost(why)

    def _lost(self, why: str) -> None:
        if not self.gone:
            self.gone = True
            self._bridge.lost(self, why)


def _settings(*, towards_client: bool) -> h2.settings.Settings:
    codes = h2.settings.SettingCodes
    asked = {
        codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        codes.MAX_HEADER_LIST_SIZE: HEADERS_BYTES_MAX,
        codes.MAX_FRAME_SIZE: frames.FRAME_BYTES_MAX,
    }
    if towards_client:
        asked[codes.MAX_CONCURRENT_STREAMS] = STREAMS_MAX
    else:
        asked[codes.ENABLE_PUSH] = 0
    return h2.settings.Settings(client=not towards_client, initial_values=asked)
