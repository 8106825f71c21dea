"""Heads and chunks of HTTP/1.1 as bytes, https://www.rfc-editor.org/rfc/rfc9112; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from multidict import CIMultiDict, istr

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from multidict import MultiMapping

Pairs: TypeAlias = "list[tuple[bytes, bytes]]"
"""Headers or trailers as they came."""

CONTINUED_MAX = 16
"""How many answers of the kind 1xx may come before the one that counts."""
HEAD_BYTES_MAX = 32 * 1024
"""How long a line of a head may be."""
HEAD_BYTES_ALL = 256 * 1024
"""How long a whole head of the application may be; so may what stands between two pieces of a body."""
HEADERS_MAX = 256
"""How many headers a head may have, and how many trailers may follow a body."""
LAST_CHUNK = b"0\r\n\r\n"
END = b"\r\n\r\n"
"""Behind no other bytes a head ends, or a body in chunks."""
_NAMES_MAX, _NAME_BYTES_MAX = 256, 64
_names: dict[bytes, istr] = {}
"""The first names that came: decoded, and with the form that they are compared in, which costs more."""
NEVER_IN_TRAILERS = frozenset(
    (
        *(
            "transfer-encoding",
            "content-length",
            "host",
            "connection",
            "trailer",
            "te",
            "upgrade",
            "keep-alive",
        ),
        *("authorization", "proxy-authorization", "cookie", "set-cookie", "forwarded", "x-forwarded-for"),
        *("content-encoding", "content-type", "content-range", "range", "expect", "max-forwards"),
        *("cache-control", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"),
    )
)
"""What would change how a message is read, or whose it is: https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1."""


class NotSendableError(ValueError):
    """A head would be read as something else than it is: a line break in a value, a blank in the target."""


def request_head(method: str, target: str, headers: MultiMapping[str]) -> bytes:
    """The head of a request.

    Raises:
        NotSendableError: it would be read otherwise than it is meant.
    """
    if " " in target or " " in method:
        message = "a blank in the method or the target"
        raise NotSendableError(message)
    return _lines(f"{method} {target} HTTP/1.1", headers.items())


def answer_head(status: int, reason: str, headers: MultiMapping[str], version: str = "1.1") -> bytes:
    """The head of an answer.

    Raises:
        NotSendableError: it would be read otherwise than it is meant.
    """
    return _lines(f"HTTP/{version} {status} {reason}", headers.items())


def last_chunk(trailers: Collection[tuple[str, str]]) -> bytes:
    """The end of a body in chunks, with the trailers that may stand there.

    Raises:
        NotSendableError: it would be read otherwise than it is meant.
    """
    kept = [(name, value) for name, value in trailers if folded(name) not in NEVER_IN_TRAILERS]
    return _lines("0", kept) if kept else LAST_CHUNK


def chunk(data: bytes) -> bytes:
    """A chunk, which must not be empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def by_name(pairs: Iterable[tuple[bytes, bytes]]) -> CIMultiDict[str]:
    """Headers as they came, by name."""
    known = _names.get
    return CIMultiDict(
        [(known(name) or _name(name), value.decode("utf-8", "surrogateescape")) for name, value in pairs]
    )


def _name(raw: bytes) -> istr:
    name = istr(decoded(raw))
    if len(_names) < _NAMES_MAX and len(raw) <= _NAME_BYTES_MAX:
        _names[raw] = name
    return name


def with_more(raw: bytes, pairs: Collection[tuple[str, str]]) -> bytes:
    """A whole message with headers put behind its own."""
    if not pairs:
        return raw
    end = raw.index(END)
    return b"%b\r\n%b%b" % (raw[:end], "\r\n".join(map(": ".join, pairs)).encode(), raw[end:])


def folded(name: str) -> str:
    """The name of a header as many applications read it, which do not tell ``-`` from ``_``."""
    return name.lower().replace("_", "-")


def values_of(pairs: Pairs, name: bytes) -> list[bytes]:
    """The values of all headers of a name, which is in lower case."""
    return [value for each, value in pairs if each.lower() == name]


def is_too_long(pairs: Pairs, came: int) -> bool:
    """Whether there is a header that is longer than it may be, name and value, in so many bytes that came."""
    return came > HEAD_BYTES_MAX and any(len(name) + len(value) > HEAD_BYTES_MAX for name, value in pairs)


def decoded(raw: bytes) -> str:
    """A name or a value of a header as text; whatever bytes it has, `encoded` gives the same ones."""
    return raw.decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    """The bytes of a text of heads again."""
    return text.encode("utf-8", "surrogateescape")


def as_text(pairs: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Headers or trailers as they came, as text."""
    return [(decoded(name), decoded(value)) for name, value in pairs]


def _lines(first: str, pairs: Iterable[tuple[str, str]]) -> bytes:
    lines = [first]
    lines += [f"{name}: {value}" for name, value in pairs]
    text = "\0".join(lines)  # so that what stands in a line is told from what stands between two
    if "\r" in text or "\n" in text or text.count("\0") != len(lines) - 1:
        message = "a line break or a NUL in a header"
        raise NotSendableError(message)
    return encoded(text.replace("\0", "\r\n") + "\r\n\r\n")
