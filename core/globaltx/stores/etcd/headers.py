"""The headers of gRPC over HTTP/2: those of a call written, those of an answer read; pure, no IO.

Nothing here depends on what was sent before on a connection. We allow the peer no table of headers
(SETTINGS_HEADER_TABLE_SIZE is 0) and put nothing into its own, so that the same headers are always the same
bytes: those of a call are written once, those of an answer are read once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from hpack import Decoder
from hpack.exceptions import HPACKError

from globaltx.http2_frames import FRAME_BYTES_MAX, PeerError
from globaltx.stores.etcd.errors import MESSAGE_LENGTH_MAX, OK, Status
from globaltx.stores.etcd.protobuf import varint

if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK_BYTES_MAX = 64 * 1024
"""What the headers of an answer may hold, packed and unpacked."""
# Fields of the static table, https://www.rfc-editor.org/rfc/rfc7541#appendix-A
_POST, _HTTP, _HTTPS = b"\x83", b"\x86", b"\x87"
_UNKNOWN = 2
_OF_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
"""What an answer of HTTP means that is none of gRPC, as grpc/doc/http-grpc-status-mapping.md has it."""


@lru_cache(64)
def call(method: str, authority: str, token: str, *, tls: bool) -> bytes:
    """The headers of a call of one of etcd's methods, such as ``KV/Txn``.

    Raises:
        ValueError: one is no single line of printable ASCII, or they are longer than a frame.
    """
    told = {
        ":path": f"/etcdserverpb.{method}",
        ":authority": authority,
        "te": "trailers",
        "content-type": "application/grpc",
        # A member that has lost the others ends its calls instead of saying nothing.
        "hasleader": "true",
    }
    if token:
        told["token"] = token
    if not all(each.isascii() and each.isprintable() for each in told.values()):
        message = "a header of a call holds what no header can"
        raise ValueError(message)
    block = b"".join([_POST, _HTTPS if tls else _HTTP, *map(_literal, told, told.values())])
    if len(block) > FRAME_BYTES_MAX:
        message = f"the headers of a call are longer than {FRAME_BYTES_MAX} bytes"
        raise ValueError(message)
    return block


def _literal(name: str, value: str) -> bytes:
    """A header that no table keeps, https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2."""
    return b"\x00" + _string(name) + _string(value)


def _string(text: str) -> bytes:
    """https://www.rfc-editor.org/rfc/rfc7541#section-5.2, not packed."""
    size, raw = len(text), text.encode("ascii")
    if size < 0x7F:  # noqa: PLR2004  what seven bits hold
        return bytes((size,)) + raw
    return b"\x7f" + varint(size - 0x7F) + raw  # what is left is written as Protocol Buffers write it


@lru_cache(16)
def answer(block: bytes) -> Mapping[bytes, bytes]:
    """The headers of an answer, or its trailers.

    Raises:
        PeerError: they are none, or longer than allowed.
    """
    decoder = Decoder(BLOCK_BYTES_MAX)
    decoder.header_table_size = decoder.max_allowed_table_size = 0
    try:
        return {bytes(name): bytes(value) for name, value in decoder.decode(block, raw=True)}
    except HPACKError as error:
        message = f"the headers of an answer cannot be read: {error}"
        raise PeerError(message) from error


def is_informational(told: Mapping[bytes, bytes]) -> bool:
    """Whether the answer itself is still to come."""
    return told.get(b":status", b"").startswith(b"1")


def refusal(told: Mapping[bytes, bytes]) -> Status | None:
    """How it ended if what begins so is no answer of gRPC; None if it is one."""
    status = told.get(b":status", b"")
    if status == b"200" and told.get(b"content-type", b"").startswith(b"application/grpc"):
        return None
    code = _OF_HTTP.get(int(status) if status.isdigit() else 0, _UNKNOWN)
    return Status(
        code, f"no answer of gRPC: status {_shown(status)}, {_shown(told.get(b'content-type', b''))}"
    )


def status(told: Mapping[bytes, bytes]) -> Status:
    """How a call ended, by its trailers."""
    code = told.get(b"grpc-status", b"")
    if not code.isdigit() or len(code) > len("16"):
        return refusal(told) or Status(_UNKNOWN, "the answer does not say how the call ended")
    return Status(int(code), "" if int(code) == OK else _message(told.get(b"grpc-message", b"")))


def _message(raw: bytes) -> str:
    """Its percent encoding: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md."""
    return unquote(raw[: 3 * MESSAGE_LENGTH_MAX].decode("ascii", "replace"), errors="replace")[
        :MESSAGE_LENGTH_MAX
    ]


def _shown(raw: bytes) -> str:
    return raw[:64].decode("ascii", "replace")
