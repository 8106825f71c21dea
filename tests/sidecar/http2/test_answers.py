from __future__ import annotations

import pytest

from globaltx.coordinator.policy import Route
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from globaltx_sidecar.http.answers import Refusal
from globaltx_sidecar.http2.answers import commits, refused
from globaltx_sidecar.http2.outbox import Data, Head

ROUTE = Route("create", path="/create", commit_statuses=frozenset({200, 201}))
XID = Xid("shop", "t1")


@pytest.mark.parametrize(
    ("status", "grpc_status", "grpc", "outcome"),
    [
        ("200", "0", True, True),
        ("200", "1", True, False),
        ("200", None, True, False),
        ("200", "", True, False),
        ("200", "00", True, False),
        ("201", "0", True, False),
        ("503", None, True, False),
        ("200", None, False, True),
        ("201", "13", False, True),
        ("204", None, False, False),
        ("", None, False, False),
    ],
)
def test_what_an_answer_means(status: str, grpc_status: str | None, *, grpc: bool, outcome: bool) -> None:
    assert commits(ROUTE, status, grpc_status, grpc=grpc) is outcome


@pytest.mark.parametrize(
    ("status", "xid", "outcome", "code"),
    [
        (400, None, None, b"3"),
        (501, None, None, b"12"),
        (502, XID, Outcome.ROLLBACK, b"14"),
        (503, None, None, b"14"),
        (503, XID, None, b"2"),
        (503, XID, Outcome.ROLLBACK, b"10"),
        (504, XID, Outcome.ROLLBACK, b"4"),
        (418, None, None, b"2"),
    ],
)
def test_a_refusal_for_grpc(status: int, xid: Xid | None, outcome: Outcome | None, code: bytes) -> None:
    (head,) = refused(Refusal(status, "Why", "50 % of\r\nit", xid, outcome), grpc=True)
    assert isinstance(head, Head)
    pairs = dict(head.pairs)
    assert head.end
    assert pairs[b"grpc-status"] == code
    assert pairs[b"grpc-message"] == b"globaltx: Why: 50 %25 of%0D%0Ait"
    assert pairs.get(b"globaltx-xid") == (xid and str(xid).encode())


def test_a_refusal_for_others() -> None:
    head, body = refused(Refusal(400, "Why", "so", XID), grpc=False)
    assert isinstance(head, Head)
    assert isinstance(body, Data)
    assert dict(head.pairs)[b":status"] == b"400"
    assert b'"reason": "Why"' in body.data
