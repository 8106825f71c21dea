"""What the API server can answer, split by who must act.

A `Status` object (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/)
comes with every refusal; its message is kept word for word, because it says what is wrong
with the object better than we could.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

MESSAGE_LENGTH_MAX = 2048
_NAMESPACE_LEAVES = "NamespaceTerminating"


class KubernetesError(Exception):
    """Base of what the client raises; ``status`` is the HTTP status, 0 when there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(KubernetesError):
    """404: no such object (or no such namespace)."""


class ConflictError(KubernetesError):
    """409: the object was changed since it was read, or a precondition does not hold."""


class AlreadyExistsError(ConflictError):
    """409 on create: the name is taken."""


class InvalidError(KubernetesError):
    """400, 422 and the like: the API server refuses the object; the message says why."""


class ForbiddenError(KubernetesError):
    """401 or 403: a right is missing, or the credentials are not accepted."""


class LeavingError(ForbiddenError):
    """403 on create: the namespace is being deleted, so that nothing more can be made in it."""


class ExpiredError(KubernetesError):
    """410: the resourceVersion or the continue token is too old; list anew."""


class UnavailableError(KubernetesError):
    """A passing fault: no answer, a timeout, 429 or 5xx. The call may or may not have happened.

    ``retry_after`` is what the server asked for, in seconds, or None.
    """

    def __init__(self, message: str, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, status)
        self.retry_after = retry_after


class NotServedError(UnavailableError):
    """404 without an object's name: the kind is not served (yet).

    It is a passing fault, never "no such object": a server that starts, or one whose custom
    resources are not installed yet, must not make anybody believe that a transaction is gone.
    """


_BY_STATUS: dict[int, type[KubernetesError]] = {
    HTTPStatus.UNAUTHORIZED: ForbiddenError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: ExpiredError,
}


def error_of(status: int, body: bytes, what: str, retry_after: str = "") -> KubernetesError:
    """The error for an answer that is not a success; ``what`` names the request, as "GET /api/..."."""
    told = _told(body)
    text = str(told.get("message") or body[:MESSAGE_LENGTH_MAX].decode("utf-8", "replace").strip())
    wait = float(retry_after) if retry_after.isdecimal() else None
    return _error(status, told, f"{what}: {status} {text[:MESSAGE_LENGTH_MAX]}", wait)


def told_error(told: dict[str, Any], what: str) -> KubernetesError:
    """The error that a watch tells as a `Status` object among its events."""
    code = told.get("code")
    status = code if isinstance(code, int) else HTTPStatus.INTERNAL_SERVER_ERROR
    return _error(status, told, f"{what}: {status} {str(told.get('message'))[:MESSAGE_LENGTH_MAX]}", None)


def _error(status: int, told: dict[str, Any], message: str, retry_after: float | None) -> KubernetesError:
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(message, status) if _names_an_object(told) else NotServedError(message, status)
    if status == HTTPStatus.FORBIDDEN and _NAMESPACE_LEAVES in _causes(told):
        return LeavingError(message, status)
    if status == HTTPStatus.CONFLICT and told.get("reason") == "AlreadyExists":
        return AlreadyExistsError(message, status)
    if status in _BY_STATUS:
        return _BY_STATUS[status](message, status)
    if _passing(status):
        return UnavailableError(message, status, retry_after)
    return InvalidError(message, status)


def _passing(status: int) -> bool:
    return (
        status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
        or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        or status < HTTPStatus.BAD_REQUEST
    )


def _told(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) and told.get("kind") == "Status" else {}


def _causes(told: dict[str, Any]) -> list[str]:
    details = told.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return [str(each.get("reason")) for each in causes or () if isinstance(each, dict)]


def _names_an_object(told: dict[str, Any]) -> bool:
    details = told.get("details")
    return isinstance(details, dict) and bool(details.get("name"))
