"""The sidecar's own answers over HTTP/2, to gRPC in its way, and what an answer of the application means."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from globaltx_sidecar.http.headers import XID_HEADER
from globaltx_sidecar.http2.metadata import value_of
from globaltx_sidecar.http2.outbox import Data, Head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.coordinator.policy import Route
    from globaltx_sidecar.http.answers import Refusal

OK = "200"
GRPC_OK = "0"
_WITHOUT_BODY = frozenset({"204", "304"})
UNKNOWN = 2
_PLAIN = " !\"#$&'()*+,/:;<=>?@[]^`{|}"
_ABORTED = 10
_CODES = {
    400: 3,  # INVALID_ARGUMENT
    409: _ABORTED,
    413: 8,  # RESOURCE_EXHAUSTED
    499: 1,  # CANCELLED
    501: 12,  # UNIMPLEMENTED
    502: 14,  # UNAVAILABLE
    503: 14,
    504: 4,  # DEADLINE_EXCEEDED
}
"""https://grpc.io/docs/guides/status-codes/"""


def refused(refusal: Refusal, *, grpc: bool) -> list[Head | Data]:
    """A refusal as it is sent."""
    xid = [] if refusal.xid is None else [(XID_HEADER.encode(), str(refusal.xid).encode())]
    if grpc:
        said = f"globaltx: {refusal.reason}: {refusal.message}"
        pairs = [
            (b":status", OK.encode()),
            (b"content-type", b"application/grpc"),
            (b"grpc-status", str(_code(refusal)).encode()),
            (b"grpc-message", quote(said, safe=_PLAIN, errors="surrogateescape").encode()),
        ]
        return [Head([*pairs, *xid], end=True)]
    body = refusal.text().encode()
    pairs = [
        (b":status", str(refusal.status).encode()),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    return [Head([*pairs, *xid]), Data(body, end=True)]


def _code(refusal: Refusal) -> int:
    if refusal.xid is not None and refusal.status == 503:  # noqa: PLR2004  nothing that may be sent again as it is
        return UNKNOWN if refusal.outcome is None else _ABORTED
    return _CODES.get(refusal.status, UNKNOWN)


def is_cut_short(method: str, pairs: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an answer that ends with its head says that it has a body; `h2` sees that of no such answer."""
    if method == "HEAD" or value_of(pairs, b":status") in _WITHOUT_BODY:
        return False
    return (value_of(pairs, b"content-length") or "0").strip("0") != ""


def commits(route: Route, status: str, grpc_status: str | None, *, grpc: bool) -> bool:
    """Whether a whole answer means that the transaction commits."""
    if grpc:
        return status == OK and grpc_status == GRPC_OK
    return status.isdecimal() and int(status) in route.commit_statuses
