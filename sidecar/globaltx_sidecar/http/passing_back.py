"""The application's answer on its way back to a client of HTTP/1.1."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from globaltx_sidecar.http.asked import upgrade_of
from globaltx_sidecar.http.headers import XID_HEADER, end_to_end, with_trailers
from globaltx_sidecar.http1.heads import by_name, decoded, with_more

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx_sidecar.http.upstream import Upstream
    from globaltx_sidecar.http1.answers import Head
    from globaltx_sidecar.http1.connection import Reply
    from globaltx_sidecar.http1.exchange import Request


async def pass_back(
    upstream: Upstream, request: Request, reply: Reply, held: bytes = b"", xid: str = ""
) -> None:
    """Give the client an answer, of whose body a part was read already; its headers and no others.

    Raises:
        UpstreamError: its body broke off.
        GoneError: there is no client.
    """
    if reply.raw and request.takes_raw and not (xid and XID_HEADER in reply.head.names.folded):
        request.give_on(with_more(reply.raw, [(XID_HEADER, xid)]) if xid else reply.raw)
        return
    try:
        headers = with_trailers(reply.headers)
        if xid:
            headers[XID_HEADER] = xid
        whole = reply.body.ended
        data = held + reply.body.take() if whole else held
        # What follows an upgrade that was not made is read as HTTP no more.
        request.begin(reply.status, reply.reason, headers, data, close=bool(upgrade_of(request)))
        if not whole:
            async for chunk in upstream.chunks(reply):
                await request.write(chunk)
        request.end(reply.trailers)
    finally:
        reply.close()


def announcer(request: Request) -> Callable[[Head], None]:
    """What passes answers 1xx on (https://www.rfc-editor.org/rfc/rfc9110#section-15.2).

    Not 100, which is the answer to what was asked here.
    """

    def announce(head: Head) -> None:
        if head.status != HTTPStatus.CONTINUE:
            request.announce(head.status, decoded(head.reason), end_to_end(by_name(head.headers)))

    return announce
