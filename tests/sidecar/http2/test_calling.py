"""What an answer to a call of our own means, whatever it lacks."""

from __future__ import annotations

import pytest

from globaltx_sidecar.http2.calling import status_of


@pytest.mark.parametrize(
    ("status", "grpc_status", "means"),
    [
        ("200", "0", 0),
        ("200", "16", 16),
        ("503", "5", 5),
        ("200", None, 2),
        ("200", "", 2),
        ("200", "-1", 2),
        ("200", "17", 2),
        ("200", "99999999999", 2),
        ("204", None, 2),
        ("404", None, 12),
        ("503", None, 14),
        ("", None, 2),
    ],
)
def test_an_answer_is_known_by_its_grpc_status_or_by_what_stands_for_it(
    status: str, grpc_status: str | None, means: int
) -> None:
    assert status_of(status, grpc_status) == means
