from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from globaltx.transaction.xid import InvalidXidError, Xid
from globaltx_sidecar.http.headers import carry_xid, end_to_end, find_xid

XID = Xid("shop", "01jd5w3k7mabcdefghjk")
OTHER = Xid("shop", "01jd5w3k7mzzzzzzzzzz")

labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
xids = st.builds(Xid, labels, labels)


@pytest.mark.parametrize(
    "headers",
    [
        [("xid", str(XID))],
        [("XID", f"  {XID} ")],
        [("x-dbpack-xid", str(XID))],
        [("GlobalTx-Xid", str(XID))],
        [("baggage", f"globaltx-xid={XID}")],
        [("baggage", f"a=1 , globaltx-xid = {XID};ttl=3,b=2")],
        [("baggage", "a=1"), ("baggage", f"globaltx-xid={XID}")],
        [("xid", str(XID)), ("globaltx-xid", str(XID)), ("baggage", f"globaltx-xid={XID}")],
        [("xid", ""), ("globaltx-xid", str(XID))],
    ],
)
def test_the_xid_is_found_wherever_it_is_carried(headers: list[tuple[str, str]]) -> None:
    assert find_xid(CIMultiDict(headers)) == XID


@pytest.mark.parametrize(
    "headers",
    [[], [("xid", "  ")], [("baggage", "a=1,,globaltx-xidx=7")], [("baggage", "")], [("x-xid", "a.b")]],
)
def test_a_request_without_xid_has_none(headers: list[tuple[str, str]]) -> None:
    assert find_xid(CIMultiDict(headers)) is None


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ([("xid", "no")], "'no' is not an xid"),
        ([("xid", "x" * 5000)], "is not an xid"),
        ([("baggage", "globaltx-xid=%00")], "is not an xid"),
        ([("xid", str(XID)), ("globaltx-xid", str(OTHER))], "more than one xid"),
        ([("xid", str(XID)), ("xid", str(OTHER))], "more than one xid"),
    ],
)
def test_a_broken_or_contradictory_xid_is_refused(headers: list[tuple[str, str]], told: str) -> None:
    with pytest.raises(InvalidXidError, match=told):
        find_xid(CIMultiDict(headers))


@given(xids, xids)
def test_a_carried_xid_is_found_again_and_replaces_another(xid: Xid, other: Xid) -> None:
    headers = CIMultiDict([("baggage", "user=7;p=1"), ("baggage", "region=eu")])
    carry_xid(headers, other)
    carry_xid(headers, xid)
    assert find_xid(headers) == xid
    assert headers.getall("baggage") == [f"user=7;p=1,region=eu,globaltx-xid={xid}"]


def test_headers_of_one_hop_stay_behind_and_all_others_go_on_in_order() -> None:
    headers = CIMultiDict(
        [
            ("Host", "shop.example"),
            ("Connection", "close, X-Private"),
            ("connection", "Host"),
            ("X-Private", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Transfer-Encoding", "chunked"),
            ("TE", "trailers"),
            ("Trailer", "X-Sum"),
            ("Upgrade", "h2c"),
            ("Cookie", "a=1"),
            ("X-Same", "1"),
            ("x-same", "2"),
        ]
    )
    assert list(end_to_end(headers).items()) == [
        ("Host", "shop.example"),
        ("Cookie", "a=1"),
        ("X-Same", "1"),
        ("x-same", "2"),
    ]
