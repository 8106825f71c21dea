"""The application's answer on its way back to a client of HTTP/1.1."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

from globaltx_sidecar.http.asked import upgrade_of
from globaltx_sidecar.http.headers import XID_HEADER, end_to_end
from globaltx_sidecar.http1.heads import answer_head, by_name, last_chunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.abc import AbstractStreamWriter

    from globaltx_sidecar.http.upstream import Upstream
    from globaltx_sidecar.http1.answers import Head
    from globaltx_sidecar.http1.connection import Reply


class Answer(web.StreamResponse):
    """The application's answer, with its headers and no others.

    ``at_once``: all of it is there, so that head and body are written together.
    """

    def __init__(self, reply: Reply, *, at_once: bool = False) -> None:
        headers = end_to_end(reply.headers)
        if "Trailer" in reply.headers:
            headers["Trailer"] = ", ".join(reply.headers.getall("Trailer"))  # they are passed on
        super().__init__(status=reply.status, reason=reply.reason, headers=headers)
        self._send_headers_immediately = not at_once
        self._added = [name for name in ("Server", "Content-Type") if name not in self.headers]

    async def _prepare_headers(self) -> None:
        # aiohttp has no public way to leave its own headers out.
        await super()._prepare_headers()
        for name in self._added:
            self.headers.pop(name, None)


async def pass_back(
    upstream: Upstream, request: web.BaseRequest, reply: Reply, held: bytes = b"", xid: str = ""
) -> web.StreamResponse:
    """Give the client an answer, of whose body a part was read already.

    Raises:
        UpstreamError: its body broke off.
    """
    try:
        whole = reply.body.ended
        answer = Answer(reply, at_once=whole)
        if upgrade_of(request):
            answer.force_close()  # what follows on the connection is read as HTTP no more
        if xid:
            answer.headers[XID_HEADER] = xid
        writer = await answer.prepare(request)
        if whole and not reply.body.trailers:
            await answer.write_eof(held + reply.body.take())
        else:
            await _stream(upstream, answer, writer, reply, held)
    finally:
        reply.close()
    return answer


async def _stream(
    upstream: Upstream, answer: Answer, writer: AbstractStreamWriter | None, reply: Reply, held: bytes
) -> None:
    if held:
        await answer.write(held)
    async for chunk in upstream.chunks(reply):
        await answer.write(chunk)
    if writer is not None and reply.trailers:
        _end_with(writer, reply.trailers)
    await answer.write_eof()


def announcer(request: web.BaseRequest) -> Callable[[Head], None] | None:
    """What passes answers 1xx on (https://www.rfc-editor.org/rfc/rfc9110#section-15.2).

    Not 100, which is the answer to what was asked here, and none to clients that do not know them.
    """
    if request.version < HttpVersion11:
        return None

    def announce(head: Head) -> None:
        if head.status != HTTPStatus.CONTINUE and request.transport is not None:
            headers = end_to_end(by_name(head.headers))
            request.transport.write(answer_head(head.status, head.reason.decode(), headers))

    return announce


def _end_with(writer: AbstractStreamWriter, trailers: list[tuple[str, str]]) -> None:
    """End a body in chunks; aiohttp has no way to put trailers there."""
    if not getattr(writer, "chunked", False) or writer.transport is None:
        return
    writer.transport.write(last_chunk(trailers))
    writer.chunked = False  # type: ignore[attr-defined]  # it is told of no other end
