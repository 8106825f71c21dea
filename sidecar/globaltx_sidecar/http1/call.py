"""A request as it is sent to the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx_sidecar.http1.heads import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from globaltx_sidecar.http1.answers import Head
    from globaltx_sidecar.http1.body import Body
    from globaltx_sidecar.http1.heads import Pairs

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
"""https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2"""


class Call:
    """A request as it is sent: its head, and its body as bytes or piece by piece.

    ``trailers`` makes of those that came behind a body those that go on.
    """

    __slots__ = ("announce", "body", "chunked", "head", "method", "streamed", "trailers", "upgrade")

    def __init__(  # noqa: PLR0913  it is what a request has
        self,
        method: str,
        head: bytes,
        body: bytes = b"",
        *,
        streamed: Body | None = None,
        chunked: bool = False,
        trailers: Callable[[Pairs], Sequence[tuple[str, str]]] = as_text,
        upgrade: bool = False,
        announce: Callable[[Head], None] | None = None,
    ) -> None:
        self.method, self.head, self.body = method, head, body
        self.streamed, self.chunked, self.trailers = streamed, chunked, trailers
        self.upgrade, self.announce = upgrade, announce

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent a second time, where nobody knows whether the first one was read."""
        return self.streamed is None and self.method in IDEMPOTENT
