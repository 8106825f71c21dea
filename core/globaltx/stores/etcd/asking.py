"""A call over a connection that is there: no task of its own, and no future."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from globaltx.deadlines import line_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx.stores.etcd.calls import Call
    from globaltx.stores.etcd.connection import Connection


class Asking:
    """A call under way; ``over`` is told once: when it has ended, its connection was lost, or it is late.

    Who cancels it is told nothing.
    """

    __slots__ = ("_connection", "_line", "_over", "began", "call", "late")

    def __init__(
        self, connection: Connection, call: Call, within: float, over: Callable[[Asking], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        self.call = call
        self.late = False
        self.began = loop.time()
        self._connection = connection
        self._over = over
        self._line = line_of(loop, within)
        self._line.begin(self)
        connection.tell(call, self._ended)

    @property
    def failure(self) -> Exception | None:
        """Why the connection was lost before the call has ended; None if it was not."""
        return self._connection.failure if self.call.status is None else None

    def cancel(self) -> None:
        """Let it be; the member is told."""
        self._line.under_way.pop(self, None)
        self._connection.leave(self.call)

    def end(self) -> None:
        """It is late."""
        self.late = True
        self._ended()

    def _ended(self) -> None:
        self.cancel()
        self._over(self)
