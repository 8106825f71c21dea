"""The answers that the sidecar gives itself, always JSON, always with the reason and the xid."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

from globaltx_sidecar.http.headers import XID_HEADER

if TYPE_CHECKING:
    from globaltx.transaction.states import Outcome
    from globaltx.transaction.xid import Xid


def refusal(
    status: int, reason: str, message: str, *, xid: Xid | None = None, outcome: Outcome | None = None
) -> web.Response:
    """Make an answer that cannot be mistaken for the application's.

    ``outcome`` is what became of the transaction; null where it is not known.
    """
    body: dict[str, str | None] = {"error": "globaltx", "reason": reason, "message": message}
    headers = {}
    if xid is not None:
        body |= {"xid": str(xid), "outcome": outcome and str(outcome)}
        headers[XID_HEADER] = str(xid)
    text = json.dumps(body) + "\n"
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)
