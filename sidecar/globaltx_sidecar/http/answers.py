"""The answers that the sidecar gives itself, always JSON, always with the reason and the xid."""

from __future__ import annotations

import json
from dataclasses import field
from http import HTTPStatus
from typing import TYPE_CHECKING

from multidict import CIMultiDict

from globaltx.values import dataclass
from globaltx_sidecar.http.headers import XID_HEADER

if TYPE_CHECKING:
    from globaltx.transaction.states import Outcome
    from globaltx.transaction.xid import Xid


@dataclass(slots=True)
class Response:
    """An answer that is made here; ``close``: what follows on the connection may be no HTTP."""

    status: int
    reason: str
    body: bytes = b""
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    close: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the sidecar's own, in whatever protocol; ``outcome`` is None where it is not known."""

    status: int
    reason: str
    message: str
    xid: Xid | None = None
    outcome: Outcome | None = None

    def text(self) -> str:
        """The answer's body."""
        body: dict[str, str | None] = {
            "error": "globaltx",
            "reason": self.reason,
            "message": self.message,
        }
        if self.xid is not None:
            body |= {"xid": str(self.xid), "outcome": self.outcome and str(self.outcome)}
        return json.dumps(body) + "\n"

    def response(self) -> Response:
        """The same over HTTP/1.1."""
        headers = CIMultiDict({"Content-Type": "application/json; charset=utf-8"})
        if self.xid is not None:
            headers[XID_HEADER] = str(self.xid)
        return Response(self.status, HTTPStatus(self.status).phrase, self.text().encode(), headers)


def refusal(
    status: int, reason: str, message: str, *, xid: Xid | None = None, outcome: Outcome | None = None
) -> Response:
    """Make an answer that cannot be mistaken for the application's.

    ``outcome`` is what became of the transaction; null where it is not known.
    """
    return Refusal(status, reason, message, xid, outcome).response()
