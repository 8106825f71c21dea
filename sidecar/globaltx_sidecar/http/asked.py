"""A request on its way through the proxy: where it goes, with which headers, with which body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.transaction.calls import BODY_BYTES_MAX
from globaltx.values import dataclass
from globaltx_sidecar.http.filter import origin_form
from globaltx_sidecar.http.headers import with_trailers
from globaltx_sidecar.http.keeping import too_large
from globaltx_sidecar.http.upstream import BrokenRequestError
from globaltx_sidecar.http1.body import BrokenError

if TYPE_CHECKING:
    from multidict import CIMultiDict

    from globaltx_sidecar.http1.exchange import Request


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, where it goes, and the headers that it goes on with."""

    request: Request
    target: str
    headers: CIMultiDict[str]
    upgrade: bool = False


async def whole_body(request: Request) -> bytes:
    """Read the body of a request that is kept.

    Raises:
        NotLetThroughError: it is too large.
        UpstreamError: it broke off.
    """
    body = bytearray()
    if int(request.headers.get("Content-Length", "0")) > BODY_BYTES_MAX:
        raise too_large()
    try:
        async for chunk in request.body.pieces():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise too_large()
    except BrokenError as error:
        raise BrokenRequestError(error) from error
    return bytes(body)


def target_of(request: Request) -> str | None:
    """The request target in origin form; None where there is none (CONNECT, ``OPTIONS *``)."""
    raw = request.target
    if raw.startswith("/"):
        return raw
    if "://" in raw and request.method != "CONNECT":
        return origin_form(raw)
    return None


def upgrade_of(request: Request) -> str:
    """The protocol that the client needs; empty where none is, or HTTP/2 is only offered."""
    if not request.head.upgrade:
        return ""
    offered = [each.strip().lower() for each in request.headers.get("Upgrade", "").split(",") if each.strip()]
    return "" if "h2c" in offered else ",".join(offered)


def outbound(request: Request) -> CIMultiDict[str]:
    """The headers that a request goes on with."""
    headers = with_trailers(request.headers)
    headers.popall("Expect", None)  # answered here
    if "trailers" in request.headers.get("TE", "").lower():
        headers["TE"], headers["Connection"] = "trailers", "TE"  # of the answer they are passed on
    return headers
