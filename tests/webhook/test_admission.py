"""Reviews in, reviews out; and what is none."""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from typing import Any

import pytest

from globaltx_operator.webhook.admission import (
    AdmissionRequest,
    BadReviewError,
    allowed,
    denied,
    read_review,
)

REQUEST = AdmissionRequest(uid="u", namespace="shop", object={"kind": "Pod"})


def review(**request: Any) -> bytes:
    body = {"uid": "u", "namespace": "shop", "object": {"kind": "Pod"}} | request
    return json.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": body}
    ).encode()


def test_review_is_read() -> None:
    assert read_review(review()) == REQUEST
    assert read_review(review(dryRun=True)).dry_run
    assert read_review(review(oldObject={"a": 1})).old == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"apiVersion": "admission.k8s.io/v1", "request": null}',
        b'{"apiVersion": "admission.k8s.io/v1", "request": {"uid": "u"}}',
        review(object=None),
        review(object=3),
        review(object="text"),
        review().replace(b"/v1", b"/v1beta1"),
    ],
)
def test_what_is_no_review_is_told(body: bytes) -> None:
    with pytest.raises(BadReviewError):
        read_review(body)


def test_patch_is_sent_as_base64_of_json() -> None:
    patch = [{"op": "remove", "path": "/a"}]
    response = allowed(REQUEST, patch)["response"]
    assert json.loads(base64.b64decode(response.pop("patch"))) == patch
    assert response == {"uid": "u", "allowed": True, "patchType": "JSONPatch"}


def test_nothing_to_patch_is_no_patch() -> None:
    assert allowed(REQUEST)["response"] == {"uid": "u", "allowed": True}


def test_refusal_says_why() -> None:
    answer = denied(REQUEST, "because", HTTPStatus.SERVICE_UNAVAILABLE)
    assert answer["apiVersion"] == "admission.k8s.io/v1"
    assert answer["response"] == {
        "uid": "u",
        "allowed": False,
        "status": {"code": 503, "message": "because"},
    }
