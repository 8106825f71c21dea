"""What is kept of a request, and which protocol it came by."""

from __future__ import annotations

import pytest

from globaltx.transaction.calls import Request


@pytest.mark.parametrize(
    ("name", "value", "grpc"),
    [
        ("content-type", "application/grpc", True),
        ("Content-Type", " Application/GRPC+proto", True),
        ("content-type", "application/grpc;x=1", True),
        ("content-type", "application/grpc-web+proto", False),
        ("content-type", "application/json", False),
        ("accept", "application/grpc", False),
    ],
)
def test_a_call_of_grpc_is_known_by_its_content_type(name: str, value: str, grpc: bool) -> None:  # noqa: FBT001
    assert Request(headers=(("x", "y"), (name, value))).grpc is grpc
