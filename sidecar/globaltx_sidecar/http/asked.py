"""A request on its way through the proxy: where it goes, with which headers, with which body."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from globaltx.transaction.calls import BODY_BYTES_MAX
from globaltx_sidecar.http.filter import origin_form
from globaltx_sidecar.http.headers import (
    BAGGAGE_HEADER,
    BRANCH_HEADERS,
    SEED_XID_HEADER,
    XID_HEADER,
    branch_headers,
    carry_branch,
    carry_xid,
    with_trailers,
    xid_headers,
)
from globaltx_sidecar.http.keeping import too_large
from globaltx_sidecar.http.upstream import BrokenRequestError
from globaltx_sidecar.http1.body import BrokenError
from globaltx_sidecar.http1.heads import with_more

if TYPE_CHECKING:
    from multidict import CIMultiDict

    from globaltx.modes.tcc import Operation
    from globaltx.transaction.model import BranchId
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.http1.exchange import Request

    Pairs: TypeAlias = tuple[tuple[str, str], ...]

_OF_XID = frozenset((XID_HEADER, SEED_XID_HEADER, BAGGAGE_HEADER))
_OF_BRANCH = frozenset(BRANCH_HEADERS)


class Asked:
    """A request, where it goes, and the headers that it goes on with.

    Where it may go on in the bytes that it came in, what is put into it stands behind its own headers, and
    those are not taken apart unless somebody wants them otherwise.
    """

    __slots__ = ("_added", "_headers", "request", "target", "upgrade")

    def __init__(self, request: Request, target: str, *, upgrade: bool = False) -> None:
        self.request, self.target, self.upgrade = request, target, upgrade
        self._headers: CIMultiDict[str] | None = None if request.raw else outbound(request)
        self._added: list[tuple[str, str]] = []

    @property
    def headers(self) -> CIMultiDict[str]:
        """The headers that it goes on with, to be changed; its head is written anew then."""
        headers = self._headers
        if headers is None:
            headers = self._headers = outbound(self.request)
            headers.extend(self._added)
        return headers

    def as_it_came(self) -> bytes | None:
        """All of it as it came, with what was put into it; None: its head must be written anew."""
        return with_more(self.request.raw, self._added) if self._headers is None else None

    def carry_xid(self, xid: Xid) -> None:
        """Put the xid into every header that applications look for."""
        if self._headers is not None or not self._add(xid_headers(xid), _OF_XID):
            carry_xid(self.headers, xid)

    def carry_branch(self, branch: BranchId, operation: Operation) -> None:
        """Say which branch it is, and what it asks for, for the first time."""
        if self._headers is not None or not self._add(branch_headers(branch, operation, 1), _OF_BRANCH):
            carry_branch(self.headers, branch, operation, 1)

    def _add(self, pairs: Pairs, names: frozenset[str]) -> bool:
        """Put these behind its own headers, but for those that it has; not if one of its own is another."""
        head = self.request.head
        mine = names & head.names.folded
        if mine:
            if any(name in mine and head.only(name) != value for name, value in pairs):
                return False
            pairs = tuple(pair for pair in pairs if pair[0] not in mine)
        self._added += pairs
        return True


async def whole_body(request: Request) -> bytes:
    """Read the body of a request that is kept.

    Raises:
        NotLetThroughError: it is too large.
        UpstreamError: it broke off.
    """
    if request.body.ended:
        return _checked(request.body.take())
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


def _checked(body: bytes) -> bytes:
    if len(body) > BODY_BYTES_MAX:
        raise too_large()
    return body


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
