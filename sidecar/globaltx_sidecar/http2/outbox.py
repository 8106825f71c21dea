"""What is to be sent on one stream, in its order, as fast as the other side takes it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from globaltx_sidecar.http2.side import Side


@dataclass(slots=True)
class Head:
    """Headers or trailers; ``end`` when nothing follows."""

    pairs: Iterable[tuple[bytes, bytes]]
    end: bool = False


@dataclass(slots=True)
class Data:
    """A part of a body; ``end`` when nothing follows."""

    data: bytes
    end: bool = False


class Outbox:
    """One direction of a request; ``taken`` is told how many bytes of body have gone on."""

    def __init__(self, side: Side, stream: int, taken: Callable[[int], None]) -> None:
        self._side = side
        self._taken = taken
        self._items: deque[Head | Data] = deque()
        self.stream = stream
        self.open = False
        """Whether anything may be sent yet."""
        self.done = False
        """Whether the end was sent, or nothing is to be sent any more."""

    @property
    def waits(self) -> bool:
        """Whether something could not be sent so far."""
        return bool(self._items)

    def put(self, item: Head | Data) -> None:
        """Send this after all that waits."""
        if self.done:
            if isinstance(item, Data):
                self._taken(len(item.data))
            return
        self._items.append(item)
        if len(self._items) == 1:
            self.flush()

    def start(self, first: Iterable[Head | Data] = ()) -> None:
        """Begin to send, these before all that waits."""
        self._items.extendleft(reversed(tuple(first)))
        self.open = True
        self.flush()

    def flush(self) -> None:
        """Send what can be sent."""
        while self.open and self._items and not self._side.paused:
            item = self._items[0]
            if isinstance(item, Head):
                self._side.send_head(self.stream, item.pairs, end=item.end)
            elif not self._send_data(item):
                return
            self._items.popleft()
            if item.end:
                self.done = True
                self._items.clear()

    def drop(self) -> None:
        """Send nothing more."""
        waiting = sum(len(item.data) for item in self._items if isinstance(item, Data))
        self._items.clear()
        self.done = True
        if waiting:
            self._taken(waiting)

    def _send_data(self, item: Data) -> bool:
        """Send of a part what the other side has room for; whether that was all."""
        room = self._side.room(self.stream)
        while len(item.data) > room:
            if room <= 0 or self._side.paused:
                return False
            chunk, item.data = item.data[:room], item.data[room:]
            self._side.send_data(self.stream, chunk)
            self._taken(len(chunk))
            room = self._side.room(self.stream)
        self._side.send_data(self.stream, item.data, end=item.end)
        self._taken(len(item.data))
        return True
