"""A request on its way through the proxy: where it goes, with which headers, with which body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.transaction.calls import BODY_BYTES_MAX
from globaltx.values import dataclass
from globaltx_sidecar.http.headers import end_to_end
from globaltx_sidecar.http.keeping import too_large

if TYPE_CHECKING:
    from aiohttp import web
    from multidict import CIMultiDict


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, where it goes, and the headers that it goes on with."""

    request: web.BaseRequest
    target: str
    headers: CIMultiDict[str]
    upgrade: bool = False


async def whole_body(request: web.BaseRequest) -> bytes:
    """Read the body of a request that is kept.

    Raises:
        NotLetThroughError: it is too large.
    """
    body = bytearray()
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise too_large()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise too_large()
    return bytes(body)


def target_of(request: web.BaseRequest) -> str | None:
    """The request target in origin form; None where there is none (CONNECT, ``OPTIONS *``)."""
    raw = request.raw_path
    if raw.startswith("/"):
        return raw
    if "://" in raw and request.method != "CONNECT":
        return "/" + raw.partition("://")[2].partition("/")[2]
    return None


def upgrade_of(request: web.BaseRequest) -> str:
    """The protocol that the client needs; empty where none is, or HTTP/2 is only offered."""
    if "Upgrade" not in request.headers:
        return ""
    offered = [each.strip().lower() for each in request.headers.get("Upgrade", "").split(",") if each.strip()]
    asked = "upgrade" in request.headers.get("Connection", "").lower()
    return "" if not asked or "h2c" in offered else ",".join(offered)


def outbound(request: web.BaseRequest) -> CIMultiDict[str]:
    """The headers that a request goes on with."""
    headers = end_to_end(request.headers)
    headers.popall("Expect", None)  # answered here, by `invite_body`
    if "Transfer-Encoding" in request.headers:
        headers.popall("Content-Length", None)
    if "trailers" in request.headers.get("TE", "").lower():
        headers["TE"], headers["Connection"] = "trailers", "TE"  # of the answer they are passed on
    return headers


async def invite_body(request: web.BaseRequest) -> None:
    """Answer ``Expect: 100-continue``, https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1."""
    expected = request.headers.get("Expect", "").lower() == "100-continue"
    if expected and request.body_exists and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
