from __future__ import annotations

import json
from typing import Any

import pytest

from globaltx.stores.kubernetes.errors import (
    AlreadyExistsError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    LeavingError,
    NotFoundError,
    NotServedError,
    UnavailableError,
    error_of,
    told_error,
)


def status(reason: str, message: str = "so it is", **details: Any) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details}).encode()


@pytest.mark.parametrize(
    ("code", "body", "expected"),
    [
        (400, status("BadRequest"), InvalidError),
        (401, status("Unauthorized"), ForbiddenError),
        (403, status("Forbidden"), ForbiddenError),
        (403, status("Forbidden", causes=[{"reason": "NamespaceTerminating"}]), LeavingError),
        (403, status("Forbidden", causes=[{"reason": "Other"}, "x"]), ForbiddenError),
        (404, status("NotFound", name="x"), NotFoundError),
        (404, status("NotFound"), NotServedError),
        (404, b"404 page not found\n", NotServedError),
        (404, b"[]", NotServedError),
        (408, b"", UnavailableError),
        (409, status("Conflict", name="x"), ConflictError),
        (409, status("AlreadyExists", name="x"), AlreadyExistsError),
        (410, status("Expired"), ExpiredError),
        (413, b"", InvalidError),
        (422, status("Invalid"), InvalidError),
        (429, status("TooManyRequests"), UnavailableError),
        (301, b"", UnavailableError),
        (500, b"\xff\xfe", UnavailableError),
        (503, status("ServiceUnavailable"), UnavailableError),
        (504, status("Timeout"), UnavailableError),
    ],
)
def test_who_must_act(code: int, body: bytes, expected: type[Exception]) -> None:
    assert type(error_of(code, body, "GET /x")) is expected


def test_the_servers_sentence_is_kept() -> None:
    error = error_of(422, status("Invalid", "spec.outcome: the outcome Commit is taken"), "PATCH /x")
    assert str(error) == "PATCH /x: 422 spec.outcome: the outcome Commit is taken"


def test_a_text_is_bounded() -> None:
    assert len(str(error_of(500, b"x" * 10**6, "GET /x"))) < 3000
    assert len(str(error_of(500, status("Timeout", "x" * 10**6), "GET /x"))) < 3000


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("", None), ("soon", None), ("-1", None)])
def test_what_the_server_asks_for(header: str, seconds: float | None) -> None:
    error = error_of(429, b"", "GET /x", header)
    assert isinstance(error, UnavailableError)
    assert error.retry_after == seconds


def test_errors_among_events() -> None:
    assert type(told_error({"code": 410, "message": "too old"}, "WATCH x")) is ExpiredError
    assert type(told_error({"code": "?"}, "WATCH x")) is UnavailableError
    assert type(told_error({}, "WATCH x")) is UnavailableError
