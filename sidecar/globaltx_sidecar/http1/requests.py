"""The requests of a client: bytes in, events out; pure.

llhttp refuses what can be read in two ways: both framings, two lengths, broken chunks, blanks before a colon,
folded lines, bare carriage returns and line feeds. What it lets through and a proxy must not is refused here.
Requests are read one at a time: what stands behind the end of one is not looked at before `proceed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from globaltx_sidecar.http1.answers import End
from globaltx_sidecar.http1.heads import (
    END,
    HEAD_BYTES_ALL,
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    by_name,
    decoded,
    encoded,
    is_too_long,
    values_of,
)
from globaltx_sidecar.http1.names import names_of

if TYPE_CHECKING:
    from multidict import CIMultiDict

    from globaltx_sidecar.http1.heads import Pairs
    from globaltx_sidecar.http1.names import Names

_BLANKS = b" \t"
_CHUNKED = [b"chunked"]
_VERSIONS = ("1.1", "1.0")
_BEGIN_CHUNKS = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
_BEGIN_LENGTH = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
BAD_REQUEST, URI_TOO_LONG, TOO_LARGE, NOT_IMPLEMENTED, NO_VERSION = 400, 414, 431, 501, 505


class RequestHead:
    """A request begins.

    ``has_body``: one follows, maybe an empty one; ``keeps``: another request may follow on the connection;
    ``upgrade``: it asks for another protocol, as ``CONNECT`` does.
    """

    __slots__ = ("_headers", "has_body", "keeps", "method", "names", "pairs", "target", "upgrade", "version")

    def __init__(  # noqa: PLR0913  it is what a head has
        self,
        method: str,
        target: str,
        version: str,
        pairs: Pairs,
        names: Names,
        *,
        has_body: bool,
        keeps: bool,
        upgrade: bool,
    ) -> None:
        self.method, self.target, self.version = method, target, version
        self.pairs, self.names = pairs, names
        self.has_body, self.keeps, self.upgrade = has_body, keeps, upgrade
        self._headers: CIMultiDict[str] | None = None

    @property
    def headers(self) -> CIMultiDict[str]:
        """The headers as they came, by name; made when somebody asks, since most requests only pass."""
        headers = self._headers
        if headers is None:
            headers = self._headers = by_name(self.pairs)
        return headers

    def only(self, name: str) -> str | None:
        """The value of a header that is there once, by its name in lower case."""
        place = self.names.places.get(name)
        return None if place is None else decoded(self.pairs[place][1])


def is_plain(head: RequestHead, raw: bytes) -> bool:
    """Whether a request that has come whole may go on with the bytes that it came in.

    So it is if nothing in its head is for this hop alone, and its first line is what a proxy would write.
    """
    names, method, target = head.names, head.method, head.target
    if names.stays or names.hosts != 1 or head.version != "1.1" or not head.keeps or method == "HEAD":
        return False
    if not target.startswith("/") or "#" in target:
        return False
    return raw.startswith(encoded(f"{method} {target} HTTP/1.1\r\n"))


class MalformedError(Exception):
    """What came is no request that can be passed on; ``status`` is what the client is told."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


Event: TypeAlias = RequestHead | bytes | End


class RequestReader:
    """Reads the requests that come by one connection; ``failed`` says what is wrong with what came."""

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)
        self._events: list[Event] = []
        self._unread = b""
        self._tail = b""
        """The last of what was read of this request, in which its end may have begun."""
        self._url = b""
        self._fields: Pairs = []
        self._in_body = self._skips = False
        self._left = 0
        """How much of a body of known length is to come."""
        self._silent = 0
        self._raw = b""
        self.whole = False
        """Whether a request has come whole and no other one was let in."""
        self.failed: MalformedError | None = None

    @property
    def begun(self) -> bool:
        """Whether a part of a head has come."""
        return self._silent > 0 and not self._in_body

    @property
    def unread(self) -> bool:
        """Whether there is more behind the request that has come whole."""
        return bool(self._unread)

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes bring of the one request."""
        self._unread = self._unread + data if self._unread else data
        return self._read()

    def proceed(self) -> list[Event]:
        """Let the next request in; what there is of it already."""
        self.whole = False
        return self._read() if self._unread else []

    def as_it_came(self) -> bytes:
        """Take the bytes of the request that has come whole; empty if they did not come in one go."""
        raw, self._raw = self._raw, b""
        return raw

    def rest(self) -> bytes:
        """Take what was not read, where the protocol is another one from here on."""
        data, self._unread = self._unread, b""
        return data

    # What the parser tells.

    def on_url(self, url: bytes) -> None:
        """See httptools; as all that follows."""
        if self.whole:
            raise MalformedError(BAD_REQUEST, "a request where another one has not ended")
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or behind the body a trailer."""
        fields = self._fields
        fields.append((name, value.rstrip(_BLANKS)))
        if len(fields) > HEADERS_MAX:
            raise MalformedError(TOO_LARGE, f"more than {HEADERS_MAX} headers")

    def on_headers_complete(self) -> None:
        """A head is whole."""
        if self._skips:
            self._fields = []
            return
        self._check()
        head = self._head()
        self._in_body = head.has_body
        self._url, self._fields, self._silent = b"", [], 0
        self._events.append(head)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._silent = 0
        if self._left:
            self._left -= len(data)
        self._events.append(data)

    def on_message_complete(self) -> None:
        """A request is whole, unless the parser takes what follows for another protocol."""
        if self._in_body and self._parser.should_upgrade():
            return
        if self._fields:
            self._check()
        self._events.append(End(self._fields))
        self._fields, self._tail, self._silent = [], b"", 0
        self._in_body = self._skips = False
        self._left = 0
        self.whole = True

    def _read(self) -> list[Event]:
        events: list[Event] = []
        self._events = events
        data, at, fresh = self._unread, 0, not self._tail
        while at < len(data) and not self.whole and self.failed is None:
            end = self._end(at)
            self._parse(data if end - at == len(data) else memoryview(data)[at:end])
            at = end
        if not self.whole:
            self._tail = (self._tail + data[max(0, at - 3) : at])[-3:]
        self._raw = data[:at] if fresh and self.whole else b""
        self._unread = data[at:] if self.failed is None else b""
        return events

    def _end(self, at: int) -> int:
        """Up to where one request goes at most."""
        data = self._unread
        if self._left:
            return min(at + self._left, len(data))
        if at == 0 and self._tail:
            crossing = (self._tail + data[:3]).find(END)
            if crossing >= 0:
                return crossing + len(END) - len(self._tail)
        found = data.find(END, at)
        return len(data) if found < 0 else found + len(END)

    def _parse(self, piece: bytes | memoryview) -> None:
        self._silent += len(piece)
        try:
            self._parser.feed_data(piece)
        except HttpParserUpgrade:
            self._go_on()
        except HttpParserError as error:
            cause = error.__context__
            self.failed = (
                cause if isinstance(cause, MalformedError) else MalformedError(BAD_REQUEST, str(error))
            )
        if self._silent > HEAD_BYTES_ALL and self.failed is None:
            self.failed = MalformedError(TOO_LARGE, f"a head of more than {HEAD_BYTES_ALL} bytes")

    def _go_on(self) -> None:
        """Read on as HTTP; a request that asks for another protocol has no body for httptools."""
        self._parser = HttpRequestParser(self)
        if self._in_body:
            self._skips = True
            left = self._left
            self._parser.feed_data(_BEGIN_LENGTH % left if left else _BEGIN_CHUNKS)
            self._url = b""

    def _check(self) -> None:
        """Refuse headers and trailers that are too long, which are only there if much has come."""
        if is_too_long(self._fields, self._silent):
            raise MalformedError(TOO_LARGE, f"a header of more than {HEAD_BYTES_MAX} bytes")

    def _head(self) -> RequestHead:
        parser, fields = self._parser, self._fields
        names = names_of(fields)
        version = parser.get_http_version()
        if version not in _VERSIONS:
            raise MalformedError(NO_VERSION, f"HTTP/{version}")
        if len(self._url) > HEAD_BYTES_MAX:
            raise MalformedError(URI_TOO_LONG, f"a target of more than {HEAD_BYTES_MAX} bytes")
        if names.hosts > 1:
            raise MalformedError(BAD_REQUEST, "more than one header Host")
        chunked = names.coded and _chunked(fields, version)
        self._left = 0 if chunked or names.length_at < 0 else int(fields[names.length_at][1])
        method = parser.get_method().decode()
        return RequestHead(
            method,
            decoded(self._url),
            version,
            fields,
            names,
            has_body=chunked or self._left > 0,
            keeps=parser.should_keep_alive(),
            upgrade=parser.should_upgrade() and (version == "1.1" or method == "CONNECT"),
        )


def _chunked(pairs: Pairs, version: str) -> bool:
    if version != "1.1":
        raise MalformedError(BAD_REQUEST, f"a transfer coding in HTTP/{version}")
    lines = values_of(pairs, b"transfer-encoding")
    if [each.strip(_BLANKS).lower() for line in lines for each in line.split(b",")] != _CHUNKED:
        raise MalformedError(NOT_IMPLEMENTED, "a transfer coding other than chunked")
    return True
