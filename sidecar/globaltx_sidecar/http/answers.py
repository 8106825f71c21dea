"""The answers that the sidecar gives itself, always JSON, always with the reason and the xid."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

from globaltx.values import dataclass
from globaltx_sidecar.http.headers import XID_HEADER

if TYPE_CHECKING:
    from globaltx.transaction.states import Outcome
    from globaltx.transaction.xid import Xid


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

    def response(self) -> web.Response:
        """The same over HTTP/1.1."""
        headers = {} if self.xid is None else {XID_HEADER: str(self.xid)}
        return web.Response(
            status=self.status, text=self.text(), content_type="application/json", headers=headers
        )


def refusal(
    status: int, reason: str, message: str, *, xid: Xid | None = None, outcome: Outcome | None = None
) -> web.Response:
    """Make an answer that cannot be mistaken for the application's.

    ``outcome`` is what became of the transaction; null where it is not known.
    """
    return Refusal(status, reason, message, xid, outcome).response()
