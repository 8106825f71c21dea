"""What etcd can answer, split by who must act.

The gateway tells the gRPC code and the server's own sentence, which is kept word for word.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

MESSAGE_LENGTH_MAX = 1024

_UNAUTHENTICATED = 16
_OUT_OF_RANGE = 11
_INVALID, _NOT_FOUND, _DENIED, _PRECONDITION, _UNIMPLEMENTED = 3, 5, 7, 9, 12
_FOR_GOOD = frozenset({_INVALID, _NOT_FOUND, _DENIED, _PRECONDITION, _UNIMPLEMENTED})
_NO_SPACE = "database space exceeded"
# The last one is what who had no need of a token yet is told once users are asked for.
_OLD_TOKEN = ("invalid auth token", "revision of auth store is old", "user name is empty")
_GATEWAY_MISSING = "is the gRPC gateway of this etcd enabled (--enable-grpc-gateway)?"


class EtcdError(Exception):
    """Base of what the client raises."""


class EtcdUnavailableError(EtcdError):
    """A passing fault: no answer, a timeout, no leader. The call may or may not have happened."""


class EtcdRefusedError(EtcdError):
    """etcd refuses for good: a right is missing, the request is invalid, its disk quota is used up."""


class TokenRefusedError(EtcdRefusedError):
    """The token is not accepted any more; a new one may be."""


class CompactedError(EtcdError):
    """What was asked for is older than the history that etcd keeps; list anew."""


def error_of(status: int, body: bytes, what: str) -> EtcdError:
    """The error for an answer that is not a success; ``what`` names the request."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict) or "code" not in told:
        text = body[:MESSAGE_LENGTH_MAX].decode("utf-8", "replace").strip()
        if status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            return EtcdRefusedError(f"{what}: {status} {text}; {_GATEWAY_MISSING}")
        if status == HTTPStatus.BAD_REQUEST:
            return EtcdRefusedError(f"{what}: {status} {text}")
        return EtcdUnavailableError(f"{what}: {status} {text}")
    return told_error(told, what)


def told_error(told: dict[str, Any], what: str) -> EtcdError:
    """The error that etcd tells as an object with ``code`` and ``message``, also within a stream."""
    code = int(told.get("code") or told.get("grpc_code") or 0)
    text = str(told.get("message") or told.get("error") or f"code {code}")[:MESSAGE_LENGTH_MAX]
    message = f"{what}: {text}"
    if code == _OUT_OF_RANGE:
        return CompactedError(message)
    if code == _UNAUTHENTICATED or any(sentence in text for sentence in _OLD_TOKEN):
        return TokenRefusedError(message)
    if code in _FOR_GOOD or _NO_SPACE in text:
        return EtcdRefusedError(message)
    return EtcdUnavailableError(message)
