"""AdmissionReview in, AdmissionReview out.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

API_VERSION = "admission.k8s.io/v1"


class BadReviewError(ValueError):
    """The caller sent no AdmissionReview of version v1."""


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """What is asked: may ``object`` be written as it is? ``old`` is what it replaces, if anything."""

    uid: str
    namespace: str
    object: dict[str, Any]
    old: dict[str, Any] | None = None
    dry_run: bool = False


def read_review(body: bytes) -> AdmissionRequest:
    """Read a review.

    Raises:
        BadReviewError: it is none.
    """
    try:
        review = json.loads(body)
        version, request = review["apiVersion"], review["request"]
        if version != API_VERSION:
            message = f"the review is of version {version!r}, not {API_VERSION!r}"
            raise BadReviewError(message)
        return AdmissionRequest(
            uid=str(request["uid"]),
            namespace=str(request.get("namespace") or ""),
            object=dict(request["object"]),
            old=request.get("oldObject"),
            dry_run=request.get("dryRun") is True,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BadReviewError):
            raise
        message = f"the body is no AdmissionReview with a request for an object: {error!r}"
        raise BadReviewError(message) from error


def allowed(request: AdmissionRequest, patch: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Let the object through, changed by the JSON patch."""
    response: dict[str, Any] = {"uid": request.uid, "allowed": True}
    if patch:
        text = json.dumps(list(patch), separators=(",", ":")).encode()
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(text).decode()}
    return _review(response)


def denied(
    request: AdmissionRequest, message: str, status: HTTPStatus = HTTPStatus.FORBIDDEN
) -> dict[str, Any]:
    """Refuse the object; the person who wrote it reads ``message``."""
    told = {"code": int(status), "message": message}
    return _review({"uid": request.uid, "allowed": False, "status": told})


def _review(response: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}
