"""HTTP/1.1 as far as it is spoken with an etcd: requests as bytes, answers read as they come; no IO.

A general client does much for each request that nobody needs here (cookies, redirects, encodings,
a stream and three tasks for each body), and did it for longer than etcd took to answer. This one
knows only what https://www.rfc-editor.org/rfc/rfc9112 asks of whoever reads an answer to a POST.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_BYTES_MAX = 32 * 1024
LINE_BYTES_MAX = 1024
"""What the line before a chunk may hold, and each that follows the last one."""
_SIZE_DIGITS_MAX = 15
_INFORMATIONAL = range(100, 200)
_WITHOUT_BODY = frozenset({204, 304})


class AnswerError(Exception):
    """The peer sent what is no answer of HTTP/1.1; nothing that it sends after that can be read."""


def request(path: str, host: str, headers: dict[str, str], body: bytes) -> bytes:
    """Write a POST of JSON.

    Raises:
        ValueError: a header is no single line of printable ASCII.
    """
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {headers[name]}" for name in headers)]
    if not all(line.isascii() and line.isprintable() for line in lines):
        message = "a header of a request holds what no header can"
        raise ValueError(message)
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("ascii") + body


class AnswerReader:
    """Reads one answer from the pieces that it is fed.

    ``status`` is 0 until the head was read. ``pieces`` holds what came of the body; who feeds it takes
    them out. ``ended`` tells that the answer is whole, ``keeps`` that another may follow on the connection.
    """

    def __init__(self) -> None:
        self.status = 0
        self.keeps = True
        self.ended = False
        self.pieces: list[bytes] = []
        self._buffer = bytearray()
        self._left = 0
        self._step: Callable[[], bool] = self._head

    def feed(self, piece: bytes) -> None:
        """Take in what came.

        Raises:
            AnswerError: it is no answer, or something follows it that nobody has asked for.
        """
        self._buffer += piece
        while not self.ended and self._step():
            pass
        if self.ended and self._buffer:
            message = "something followed the answer"
            raise AnswerError(message)

    def end(self) -> None:
        """Take in that the peer has closed.

        Raises:
            AnswerError: the answer is not whole.
        """
        if self._step == self._until_closed:
            self.ended = True
        elif not self.ended:
            message = "the connection was closed before the answer was whole"
            raise AnswerError(message)

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end > HEAD_BYTES_MAX or (end < 0 and len(self._buffer) > HEAD_BYTES_MAX):
            message = f"the head of an answer is longer than {HEAD_BYTES_MAX} bytes"
            raise AnswerError(message)
        if end < 0:
            return False
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        status, headers = _status(first), _headers(lines)
        if status not in _INFORMATIONAL:
            self.status = status
            self.keeps = b"close" not in headers.get(b"connection", b"").lower()
            self._step = self._body(headers)
        return True

    def _body(self, headers: dict[bytes, bytes]) -> Callable[[], bool]:
        """How the body is told from what follows it, https://www.rfc-editor.org/rfc/rfc9112#section-6.3."""
        encoding, length = headers.get(b"transfer-encoding"), headers.get(b"content-length")
        if self.status in _WITHOUT_BODY:
            return self._fixed
        if encoding is not None:
            if encoding.lower() != b"chunked" or length is not None:
                message = f"the body of an answer is encoded as {encoding!r}"
                raise AnswerError(message)
            return self._chunk_size
        if length is not None:
            self._left = _number(length, 10)
            return self._fixed
        self.keeps = False
        return self._until_closed

    def _fixed(self) -> bool:
        self._take()
        self.ended = not self._left
        return False

    def _until_closed(self) -> bool:
        self._left = len(self._buffer)
        self._take()
        return False

    def _chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        self._left = _number(line.partition(b";")[0].strip(), 16)
        self._step = self._chunk if self._left else self._trailer
        return True

    def _chunk(self) -> bool:
        self._take()
        if self._left or len(self._buffer) < len(b"\r\n"):
            return False
        if not self._buffer.startswith(b"\r\n"):
            message = "a chunk is longer than it was said to be"
            raise AnswerError(message)
        del self._buffer[:2]
        self._step = self._chunk_size
        return True

    def _trailer(self) -> bool:
        line = self._line()
        self.ended = line == b""
        return bool(line)

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end > LINE_BYTES_MAX or (end < 0 and len(self._buffer) > LINE_BYTES_MAX):
            message = f"a line between chunks is longer than {LINE_BYTES_MAX} bytes"
            raise AnswerError(message)
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _take(self) -> None:
        piece = bytes(self._buffer[: self._left])
        if piece:
            del self._buffer[: len(piece)]
            self._left -= len(piece)
            self.pieces.append(piece)


def _status(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    code = rest.partition(b" ")[0]
    if version != b"HTTP/1.1" or len(code) != len("200"):
        message = f"no answer of HTTP/1.1 begins with {line[:64]!r}"
        raise AnswerError(message)
    return _number(code, 10)


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not name or name != name.strip():
            message = f"{line[:64]!r} is no header"
            raise AnswerError(message)
        if found.setdefault(name, value.strip()) != value.strip() and name in _ONCE:
            message = f"an answer tells {name.decode('ascii', 'replace')} twice"
            raise AnswerError(message)
    return found


_ONCE = frozenset({b"content-length", b"transfer-encoding"})


def _number(digits: bytes, base: int) -> int:
    plain = digits.isdigit() if base == 10 else all(each in b"0123456789abcdefABCDEF" for each in digits)  # noqa: PLR2004
    if not digits or not plain or len(digits) > _SIZE_DIGITS_MAX:
        message = f"{digits[:32]!r} is no size"
        raise AnswerError(message)
    return int(digits, base)
