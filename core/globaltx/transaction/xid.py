"""The name of a global transaction, ``<namespace>.<name>``.

A namespace cannot hold a dot, so the first dot separates. The name is sortable
by the time of its birth and never used again: ten characters of milliseconds
since 1970 and ten of randomness, both in Crockford's base 32 (lower case, no
``i l o u``), as in https://github.com/ulid/spec with the randomness cut to 50 bits.
"""

from __future__ import annotations

import hashlib
import re

from globaltx.values import dataclass

NAMESPACE_LENGTH_MAX = 63
NAME_LENGTH_MAX = 63
XID_LENGTH_MAX = NAMESPACE_LENGTH_MAX + 1 + NAME_LENGTH_MAX

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGEST_LENGTH = 40
RANDOM_BITS = 50

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_XID = re.compile(rf"(?P<namespace>{_LABEL})\.(?P<name>{_LABEL})")
XID_PATTERN = rf"^{_LABEL}\.{_LABEL}$"
"""The same, for those who read schemas."""


class InvalidXidError(ValueError):
    """The text is not an xid; the message says what one looks like."""


@dataclass(frozen=True, slots=True, order=True)
class Xid:
    """The name of a global transaction and of its GlobalTransaction resource."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}.{self.name}"

    @classmethod
    def parse(cls, text: str) -> Xid:
        """Read ``<namespace>.<name>``.

        Raises:
            InvalidXidError: the text has another shape.
        """
        match = _XID.fullmatch(text)
        if match is None:
            shown = text if len(text) <= XID_LENGTH_MAX else text[:XID_LENGTH_MAX] + "..."
            message = (
                f"{shown!r} is not an xid: an xid is <namespace>.<name>, "
                "both of lower-case letters, digits and '-', at most 63 long each"
            )
            raise InvalidXidError(message)
        return cls(match["namespace"], match["name"])


def xid_of_request(namespace: str, app: str, route: str, caller: str, request_id: str) -> Xid:
    """Make the xid of a request that has an id of its own: the same each time, for each caller another.

    It is not sortable by time. ``caller`` is whatever tells callers apart, and cannot be read from it.
    """
    parts = "\0".join((app, route, hashlib.sha256(caller.encode()).hexdigest(), request_id))
    return Xid(namespace, f"r-{hashlib.sha256(parts.encode()).hexdigest()[:_DIGEST_LENGTH]}")


_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)


def _digits(value: int) -> str:
    """Ten digits of five bits each."""
    return (
        _PAIRS[value >> 40 & 1023]
        + _PAIRS[value >> 30 & 1023]
        + _PAIRS[value >> 20 & 1023]
        + _PAIRS[value >> 10 & 1023]
        + _PAIRS[value & 1023]
    )


def new_xid(namespace: str, now_ms: int, randomness: int) -> Xid:
    """Make an xid from the time in milliseconds and ``RANDOM_BITS`` of randomness."""
    return Xid(namespace, _digits(now_ms) + _digits(randomness))
