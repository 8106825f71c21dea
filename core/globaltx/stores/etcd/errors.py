"""What etcd can answer, split by who must act; the server's own sentence is kept word for word."""

from __future__ import annotations

from globaltx.values import dataclass

MESSAGE_LENGTH_MAX = 1024

OK, UNAVAILABLE = 0, 14
_UNAUTHENTICATED = 16
_OUT_OF_RANGE = 11
_DENIED = 7
_INVALID, _NOT_FOUND, _PRECONDITION, _UNIMPLEMENTED = 3, 5, 9, 12
_FOR_GOOD = frozenset({_INVALID, _NOT_FOUND, _PRECONDITION, _UNIMPLEMENTED})
_NO_RIGHT = "permission denied"
_FULL_OR_TOO_LARGE = ("database space exceeded", "received message larger than max")
# The last one is what who had no need of a token yet is told once users are asked for.
_OLD_TOKEN = ("invalid auth token", "revision of auth store is old", "user name is empty")


@dataclass(frozen=True, slots=True)
class Status:
    """How a call of gRPC ended: a code of https://grpc.io/docs/guides/status-codes/, and a sentence."""

    code: int
    message: str


class EtcdError(Exception):
    """Base of what the client raises."""


class EtcdUnavailableError(EtcdError):
    """A passing fault: no answer, a timeout, no leader. The call may or may not have happened."""


class EtcdRefusedError(EtcdError):
    """etcd refuses for good: a right is missing, the request is invalid, its disk quota is used up."""


class TokenRefusedError(EtcdRefusedError):
    """The token is not accepted any more; a new one may be."""


class DeniedError(EtcdRefusedError):
    """A right is missing: also to who showed no token, and a certificate, once users are asked for."""


class CompactedError(EtcdError):
    """What was asked for is older than the history that etcd keeps; list anew."""


def error_of(status: Status, what: str) -> EtcdError:
    """The error for a call that has not succeeded; ``what`` names it."""
    text = status.message[:MESSAGE_LENGTH_MAX] or f"code {status.code}"
    message = f"{what}: {text}"
    if status.code == _OUT_OF_RANGE:
        return CompactedError(message)
    if status.code == _UNAUTHENTICATED or any(sentence in text for sentence in _OLD_TOKEN):
        return TokenRefusedError(message)
    if status.code == _DENIED or _NO_RIGHT in text:
        return DeniedError(message)
    if status.code in _FOR_GOOD or any(sentence in text for sentence in _FULL_OR_TOO_LARGE):
        return EtcdRefusedError(message)
    return EtcdUnavailableError(message)
