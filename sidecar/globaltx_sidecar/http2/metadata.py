"""A request's headers as they came, what of them is written anew, and messages of gRPC; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multidict import CIMultiDict

from globaltx.transaction.calls import is_grpc
from globaltx.values import dataclass
from globaltx_sidecar.http.headers import BAGGAGE_HEADER, BRANCH_HEADERS, XID_HEADER, XID_HEADERS
from globaltx_sidecar.http.upstream import NEVER_IN_TRAILERS
from globaltx_sidecar.http1.heads import decoded, encoded, folded
from globaltx_sidecar.traces import PARENT_HEADER, STATE_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.http1.heads import Pairs

_WRITTEN = (*XID_HEADERS, *BRANCH_HEADERS, BAGGAGE_HEADER, PARENT_HEADER, STATE_HEADER)
_OURS = frozenset(_WRITTEN)
"""Names, folded, that we may write anew, or take out; every other header goes on as it came."""
PREFIX_BYTES = 5
NOTHING = bytes(PREFIX_BYTES)
"""One message without any fields: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request; ``headers`` are those without ``:``, to be changed, ``pairs`` all of them as they came."""

    method: str
    target: str
    pairs: Pairs
    headers: CIMultiDict[str]
    ended: bool
    """Whether it has no body."""

    @property
    def grpc(self) -> bool:
        """Whether its answer's status stands in the trailers."""
        return is_grpc(self.headers.get("content-type", ""))

    @property
    def grpc_web(self) -> bool:
        """Whether its answer's status stands in the body, where nobody here looks."""
        return self.headers.get("content-type", "").lower().startswith("application/grpc-web")

    def onward(self) -> Pairs:
        """All headers, with what was changed."""
        kept = [pair for pair in self.pairs if folded(decoded(pair[0])) not in _OURS]
        ours = [(name.lower(), value) for name, value in self.headers.items() if folded(name) in _OURS]
        return kept + [(encoded(name), encoded(value)) for name, value in ours]


def read(pairs: Iterable[tuple[bytes, bytes]], *, ended: bool) -> Request:
    """Read the headers of a request."""
    kept = list(pairs)
    pseudo: dict[bytes, str] = {}
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in kept:
        if name.startswith(b":"):
            pseudo[name] = decoded(value)
        else:
            headers.add(decoded(name), decoded(value))
    return Request(pseudo.get(b":method", ""), pseudo.get(b":path", ""), kept, headers, ended)


def passed_on(trailers: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """A request's trailers as they go on, as over HTTP/1.1."""
    return [pair for pair in trailers if folded(decoded(pair[0])) not in NEVER_IN_TRAILERS]


def with_xid(pairs: Iterable[tuple[bytes, bytes]], xid: Xid) -> Pairs:
    """An answer's headers, with the transaction's xid."""
    name = XID_HEADER.encode()
    return [*(pair for pair in pairs if pair[0] != name), (name, str(xid).encode())]


def value_of(pairs: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The one value of a header; None where there is none, or more than one."""
    found = [value for key, value in pairs if key == name]
    return decoded(found[0]).strip() if len(found) == 1 else None


def is_one_message(body: bytes | bytearray) -> bool:
    """Whether a body is one message of gRPC with its prefix."""
    size = int.from_bytes(body[1:PREFIX_BYTES], "big")
    return len(body) >= PREFIX_BYTES and len(body) == PREFIX_BYTES + size
