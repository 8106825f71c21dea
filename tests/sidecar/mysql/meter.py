"""A proxy between a sidecar and its database that counts round trips."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE = 1 << 20


@dataclass
class Line:
    """One connection; a round trip begins when bytes go up after some came down."""

    trips: int = 0
    going_up: bool = False

    def went_up(self) -> None:
        self.trips += not self.going_up
        self.going_up = True

    def came_down(self) -> None:
        self.going_up = False


class TripMeter:
    """Forwards ``127.0.0.1:port`` to another port; ``lines`` are its connections in the order they came."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.lines: list[Line] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in [self._listener, *self._sockets]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                line = Line()
                self.lines.append(line)
                self._sockets += [near, far]
                for each in (near, far):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for source, sink, seen in ((near, far, line.went_up), (far, near, line.came_down)):
                    threading.Thread(target=_pump, args=(source, sink, seen), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, seen: Callable[[], None]) -> None:
    with suppress(OSError):  # closed
        while data := source.recv(PIECE):
            seen()
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
