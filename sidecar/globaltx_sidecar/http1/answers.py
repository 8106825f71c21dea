"""The answers of an application: bytes in, events out; pure.

llhttp refuses what can be read in two ways: both framings, two lengths, broken chunks, blanks before a colon,
folded lines, bare carriage returns. What it lets through and a proxy must not is refused here.
"""

from __future__ import annotations

from dataclasses import field
from typing import TypeAlias

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from globaltx.values import dataclass
from globaltx_sidecar.http1.heads import (
    CONTINUED_MAX,
    END,
    HEAD_BYTES_ALL,
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    Pairs,
    is_too_long,
    values_of,
)
from globaltx_sidecar.http1.names import NO_NAMES, Names, names_of

SWITCHING = 101
CLOSED = "it closed the connection"
_FINAL = 200
_WITHOUT_BODY = (204, 304)
_VERSIONS = ("1.0", "1.1")
_LINE = b"HTTP/1.1 %d %b\r\n"
_PIECES_MAX = 3
"""A head, a body, and the end."""


@dataclass(frozen=True, slots=True)
class Head:
    """An answer begins, or (1xx but for 101) one is announced."""

    status: int
    reason: bytes
    headers: Pairs
    names: Names = field(default=NO_NAMES, compare=False)

    @property
    def announces(self) -> bool:
        """Whether the answer itself is still to come."""
        return self.status < _FINAL and self.status != SWITCHING


@dataclass(frozen=True, slots=True)
class End:
    """An answer is whole."""

    trailers: Pairs


@dataclass(frozen=True, slots=True)
class Switched:
    """The protocol is another one from here on; ``begun`` is what came of it already."""

    begun: bytes


Event: TypeAlias = Head | bytes | End | Switched


class _RefusedError(Exception):
    """What came is no answer that can be passed on; the message says why."""


class AnswerReader:
    """Reads the answers that come by one connection, one after the other, each after `expect`.

    ``failed`` says what is wrong with what came, behind the events that were still good. ``keeps`` says
    whether the connection can have another request, once an answer is whole.
    """

    def __init__(self) -> None:
        self._parser = self._new_parser()
        self._events: list[Event] = []
        self._fields: Pairs = []
        self._head_only = False
        self._may_switch = False
        self.failed = ""
        self.keeps = False
        self._silent = 0
        self._clear()
        self._whole = True

    def expect(self, method: str, *, upgrade: bool = False) -> None:
        """A request was sent; ``upgrade``: its answer may switch to another protocol."""
        self._head_only, self._may_switch = method == "HEAD", upgrade
        self._announced = self._silent = 0
        self._whole = self.keeps = False

    def is_plain(self, data: bytes, events: list[Event]) -> bool:
        """Whether these bytes, and what they brought, are one answer that may be given on as it came.

        Its length is told, its head ends its lines as it should, and nothing stands behind it (the parser
        skips empty lines), so that nobody can read it otherwise than it was read here. They must be the first
        that came of it.
        """
        if len(events) > _PIECES_MAX or not self.keeps or self.failed or not isinstance(events[-1], End):
            return False
        head = events[0]
        if not isinstance(head, Head) or head.status < _FINAL or head.status in _WITHOUT_BODY:
            return False
        names = head.names
        if names.stays or names.length_at < 0 or not names.dated:
            return False
        end, body = data.find(END) + len(END), events[1]
        if end + (len(body) if isinstance(body, bytes) else 0) != len(data):
            return False
        return data.startswith(_LINE % (head.status, head.reason)) and data.count(
            b"\n", 0, end
        ) == data.count(b"\r\n", 0, end)

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes bring."""
        events: list[Event] = []
        self._events = events
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as at:
            events.append(Switched(data[at.args[0] :]))
        except HttpParserError as error:
            self._fail(error)
        if self._silent > HEAD_BYTES_ALL:
            self._refuse(f"a head of more than {HEAD_BYTES_ALL} bytes")
        return events

    def end(self) -> list[Event]:
        """What the end of the connection brings."""
        self._events = []
        self.keeps = False
        if self._until_end and not self.failed:
            self.on_message_complete()
        elif not self._whole:
            self._refuse(CLOSED)
        return self._events

    def on_message_begin(self) -> None:
        """See httptools; as all that follows."""
        if self._whole:
            message = "more than was asked for"
            raise _RefusedError(message)
        self._clear()

    def on_status(self, status: bytes) -> None:
        """A part of the reason."""
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or behind the body a trailer."""
        fields = self._fields
        fields.append((name, value))
        if len(fields) > HEADERS_MAX:
            message = f"more than {HEADERS_MAX} headers"
            raise _RefusedError(message)

    def on_headers_complete(self) -> None:
        """A head is whole."""
        if self._whole:  # of HEAD, whose parser expects a body
            message = "more than was asked for"
            raise _RefusedError(message)
        self._check()
        status = self._checked_status()
        head = Head(status, self._reason, self._fields, names_of(self._fields))
        if head.announces:
            self._announced += 1
            if self._announced > CONTINUED_MAX:
                message = f"more than {CONTINUED_MAX} answers of the kind 1xx"
                raise _RefusedError(message)
        self._until_end = self._closes(head)
        self._events.append(head)
        self._fields = []
        self._silent = 0
        if self._head_only and status >= _FINAL:
            self.keeps = self._stays(head)
            self._finish()
            self._parser = self._new_parser()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self._whole:
            message = "a body where there is none"
            raise _RefusedError(message)
        self._silent = 0
        self._events.append(data)

    def on_message_complete(self) -> None:
        """An answer is whole, or one was announced."""
        if self._whole or (self._status < _FINAL and self._status != SWITCHING):
            return
        if self._fields:
            self._check()
        self.keeps = not self._until_end and self._parser.should_keep_alive()
        self._finish()

    def _new_parser(self) -> HttpResponseParser:
        parser = HttpResponseParser(self)
        # What they let through is written anew, and never given on as it came; some applications need them.
        parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        return parser

    def _clear(self) -> None:
        self._status = 0
        self._reason = b""
        self._fields = []
        self._until_end = False

    def _check(self) -> None:
        """Refuse headers and trailers that are too long, which are only there if much has come."""
        if is_too_long(self._fields, self._silent):
            message = f"a header of more than {HEAD_BYTES_MAX} bytes"
            raise _RefusedError(message)

    def _finish(self) -> None:
        self._whole = True
        self._until_end = False
        self._silent = 0
        if self._status != SWITCHING:
            self._events.append(End(self._fields))

    def _checked_status(self) -> int:
        self._status = status = self._parser.get_status_code()
        if self._parser.get_http_version() not in _VERSIONS:
            message = "another version of HTTP"
            raise _RefusedError(message)
        if not 100 <= status <= 999:  # noqa: PLR2004  three digits, as the protocol says
            message = f"the status {status}"
            raise _RefusedError(message)
        if status == SWITCHING and not (self._may_switch and self._parser.should_upgrade()):
            message = "another protocol that nobody asked for"
            raise _RefusedError(message)
        if not self._reason.isascii() or not self._reason.decode().isprintable():
            self._reason = bytes(each for each in self._reason if each >= 0x20 and each != 0x7F)  # noqa: PLR2004
        return status

    def _closes(self, head: Head) -> bool:
        """Whether the body ends with the connection."""
        names = head.names
        if names.coded and _codings(head) != [b"chunked"]:
            message = "a transfer coding that is not known"
            raise _RefusedError(message)
        if self._head_only or head.status < _FINAL or head.status in _WITHOUT_BODY or names.coded:
            return False
        return names.length_at < 0

    def _stays(self, head: Head) -> bool:
        """Whether the connection is kept after an answer to HEAD, of which the parser would await a body."""
        said = b",".join(values_of(head.headers, b"connection")).lower()
        return self._parser.get_http_version() == _VERSIONS[1] and b"close" not in said

    def _fail(self, error: HttpParserError) -> None:
        cause = error.__context__
        self._refuse(str(cause if isinstance(cause, _RefusedError) else error))

    def _refuse(self, message: str) -> None:
        self.keeps = False
        self.failed = self.failed or message


def _codings(head: Head) -> list[bytes]:
    return [each.strip().lower() for each in values_of(head.headers, b"transfer-encoding")]
