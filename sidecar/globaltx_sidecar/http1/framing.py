"""How a client is told where its answer ends, https://www.rfc-editor.org/rfc/rfc9112#section-6; pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from multidict import istr

if TYPE_CHECKING:
    from multidict import CIMultiDict

    from globaltx_sidecar.http1.requests import RequestHead

_LENGTH, _CODING, _CONNECTION = map(istr, ("Content-Length", "Transfer-Encoding", "Connection"))
_FINAL = 200
_WITHOUT_BODY = (204, 304)
_NOT_MODIFIED = 304


class Framing(Enum):
    """What ends a body."""

    NOTHING = auto()
    """There is none."""
    LENGTH = auto()
    CHUNKS = auto()
    CLOSE = auto()
    """The end of the connection."""


def frame(asked: RequestHead, status: int, headers: CIMultiDict[str], size: int | None) -> Framing:
    """Say in the headers how the answer's body ends.

    ``size`` is that of a body that is made here and there as a whole.
    """
    headers.popall(_CODING, None)
    if status < _FINAL or status in _WITHOUT_BODY:
        if status != _NOT_MODIFIED:
            headers.popall(_LENGTH, None)
        return Framing.NOTHING
    if size is not None:
        headers[_LENGTH] = str(size)
    if asked.method == "HEAD":
        return Framing.NOTHING
    if _LENGTH in headers:
        return Framing.LENGTH
    if asked.version == "1.0":
        return Framing.CLOSE
    headers[_CODING] = "chunked"
    return Framing.CHUNKS


def tell_keeping(asked: RequestHead, headers: CIMultiDict[str], *, keeps: bool) -> None:
    """Say in the headers whether another request may follow."""
    headers.popall(_CONNECTION, None)
    if not keeps:
        headers[_CONNECTION] = "close"
    elif asked.version == "1.0":
        headers[_CONNECTION] = "keep-alive"
