"""A request of a client, and the answer to it."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

from multidict import istr

from globaltx_sidecar.http1.framing import Framing, frame, tell_keeping
from globaltx_sidecar.http1.heads import answer_head, chunk, last_chunk

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Collection

    from multidict import CIMultiDict, MultiMapping

    from globaltx_sidecar.http1.body import Body
    from globaltx_sidecar.http1.inbound import Inbound
    from globaltx_sidecar.http1.requests import RequestHead

_EXPECT, _DATE, _LENGTH = map(istr, ("Expect", "Date", "Content-Length"))
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request:
    """A request: its head, its body as it comes in, and the way back to who asked.

    An answer is either given whole, by `answer` or as it came by `give_on`, or by `begin`, `write` and `end`.
    ``raw`` is all of the request where it has come whole and may go on in the bytes that it came in
    (`requests.is_plain`), and empty otherwise.
    """

    __slots__ = ("_connection", "_framing", "_invited", "_left", "answered", "body", "ended", "head", "raw")

    def __init__(self, head: RequestHead, body: Body, connection: Inbound) -> None:
        self.head, self.body = head, body
        self.raw = b""
        self._connection = connection
        self._framing = Framing.NOTHING
        self._left = 0
        self._invited = False
        self.answered = self.ended = False
        """Whether an answer's head was sent, and whether all of it was."""

    @property
    def method(self) -> str:
        """The method as it came."""
        return self.head.method

    @property
    def target(self) -> str:
        """The request target as it came."""
        return self.head.target

    @property
    def headers(self) -> CIMultiDict[str]:
        """The headers as they came."""
        return self.head.headers

    @property
    def has_body(self) -> bool:
        """Whether there is a body, maybe an empty one."""
        return self.head.has_body

    @property
    def _expects(self) -> bool:
        headers = self.head.headers
        return _EXPECT in headers and headers[_EXPECT].lower() == "100-continue"

    @property
    def cut_off(self) -> bool:
        """Whether nobody can tell where an answer that is not whole ends."""
        return self._framing is Framing.CLOSE

    @property
    def owes_body(self) -> bool:
        """Whether the client is to send more of the request."""
        return not self.body.ended and not (self._expects and not self._invited and not self.answered)

    @property
    def waits_for_room(self) -> bool:
        """Whether the client does not take what was sent."""
        return self._connection.full

    def invite(self) -> None:
        """Answer ``Expect: 100-continue``, https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1."""
        if (
            self.head.names.stays
            and self._expects
            and self.has_body
            and not self.body.ended
            and self.head.version == "1.1"
        ):
            self._invited = True
            if not self.body.begun:
                self._connection.write(_CONTINUE)

    def announce(self, status: int, reason: str, headers: MultiMapping[str]) -> None:
        """Give an answer 1xx, before the one that counts, to clients that know them."""
        if self.head.version == "1.1" and not self.answered and not self._connection.gone:
            self._connection.write(answer_head(status, reason, headers))

    def answer(
        self, status: int, reason: str, headers: CIMultiDict[str], body: bytes = b"", *, close: bool = False
    ) -> None:
        """Give an answer that is made here, as a whole.

        Raises:
            GoneError: there is no client.
        """
        head = self._begun(status, reason, headers, len(body), close=close)
        self.ended = True
        self._connection.write(head if self._framing is Framing.NOTHING else head + body)

    def begin(
        self, status: int, reason: str, headers: CIMultiDict[str], data: bytes = b"", *, close: bool = False
    ) -> None:
        """Begin to give an answer, of whose body this is the first part.

        Raises:
            GoneError: there is no client.
        """
        head = self._begun(status, reason, headers, None, close=close)
        self._connection.write(head + self._framed(data))

    @property
    def takes_raw(self) -> bool:
        """Whether an answer may be given on as it came, if it is plain (`AnswerReader.is_plain`)."""
        head = self.head
        plain = head.version == "1.1" and head.method != "HEAD" and not head.upgrade and self.body.ended
        return plain and self._connection.lasting

    def give_on(self, data: bytes) -> None:
        """Give an answer as it came.

        Raises:
            GoneError: there is no client.
        """
        self.answered = self.ended = True
        self._connection.write(data)

    def give_back(self, data: bytes) -> None:
        """The same for a request that no task has, if there is a client."""
        self.answered = self.ended = True
        self._connection.give_back(self, data)

    def go_on(self, handle: Callable[[Request], Awaitable[None]]) -> None:
        """Have it answered by a task after all."""
        self._connection.go_on(self, handle)

    async def write(self, data: bytes) -> None:
        """Give more of the body; returns when there is room for more.

        Raises:
            GoneError: there is no client.
        """
        self._connection.write(self._framed(data))
        await self._connection.room()

    def end(self, trailers: Collection[tuple[str, str]] = ()) -> None:
        """All of the body was given.

        Raises:
            GoneError: there is no client.
        """
        if self._framing is Framing.LENGTH and self._left:
            return  # it stays unended
        if self._framing is Framing.CHUNKS:
            self._connection.write(last_chunk(trailers))
        self.ended = True

    def switch(
        self, status: int, reason: str, headers: MultiMapping[str], begun: bytes
    ) -> tuple[asyncio.Transport, bytes]:
        """Answer by another protocol; give the transport, and what has come of it already.

        Raises:
            GoneError: there is no client.
        """
        self._connection.write(answer_head(status, reason, headers) + begun)
        self.answered = self.ended = True
        return self._connection.detach()

    def _begun(
        self, status: int, reason: str, headers: CIMultiDict[str], size: int | None, *, close: bool
    ) -> bytes:
        self._framing = framing = frame(self.head, status, headers, size)
        uninvited = not self.body.ended and self._expects and not self._invited
        if close or uninvited or framing is Framing.CLOSE:
            self._connection.keep_no_longer()
        tell_keeping(self.head, headers, keeps=self._connection.keeps)
        headers.setdefault(_DATE, _date(int(time.time())))
        if framing is Framing.LENGTH:
            self._left = int(headers[_LENGTH])
        self.answered = True
        return answer_head(status, reason, headers, self.head.version)

    def _framed(self, data: bytes) -> bytes:
        if not data or self._framing is Framing.NOTHING:
            return b""
        if self._framing is Framing.CHUNKS:
            return chunk(data)
        if self._framing is Framing.LENGTH:
            data = data[: self._left]  # more would be read as the next answer
            self._left -= len(data)
        return data


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
