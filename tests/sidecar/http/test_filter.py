from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from globaltx.coordinator.policy import Route, overlap
from globaltx.coordinator.reasons import Reason
from globaltx.transaction.xid import Xid
from globaltx_sidecar.http.filter import (
    Action,
    AmbiguousRoutesError,
    Begin,
    Filter,
    Pass,
    Refuse,
    TakePart,
)

XID = Xid("shop", "01jd5w3k7mabcdefghjk")
CREATE = Route("create", path="/v1/order/create")
ADMIN = Route("admin", method="DELETE", path_prefix="/admin/")
ROUTES = Filter([CREATE, ADMIN])


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        ("POST", "/v1/order/create", CREATE),
        ("POST", "/v1/order/create?a=1#b", CREATE),
        ("POST", "/v1/order/%63reate", CREATE),
        ("POST", "http://shop.example/v1/order/create", CREATE),
        ("POST", "/v1/order/create/", None),
        ("POST", "/v1/order/create2", None),
        ("POST", "/V1/order/create", None),
        ("POST", "/x?/v1/order/create", None),
        ("GET", "/v1/order/create", None),
        ("DELETE", "/admin", ADMIN),
        ("DELETE", "/admin/", ADMIN),
        ("DELETE", "/admin/a/b", ADMIN),
        ("DELETE", "/administrator", None),
        ("DELETE", "/", None),
        ("OPTIONS", "*", None),
    ],
)
def test_a_route_is_found_by_method_and_decoded_path(method: str, target: str, route: Route | None) -> None:
    assert ROUTES.find(method, target) == route


@pytest.mark.parametrize(
    ("target", "headers", "action"),
    [
        ("/v1/order/create", {}, Begin(CREATE)),
        ("/v1/order/create", {"xid": str(XID)}, TakePart(XID)),
        ("/elsewhere", {"baggage": f"globaltx-xid={XID}"}, TakePart(XID)),
        ("/elsewhere", {}, Pass()),
        ("/elsewhere", {"xid": "mine, not yours"}, Pass()),
    ],
)
def test_what_a_request_means(target: str, headers: dict[str, str], action: Action) -> None:
    assert ROUTES.judge("POST", target, CIMultiDict(headers)) == action


def test_a_broken_xid_is_refused_on_a_route() -> None:
    action = ROUTES.judge("POST", "/v1/order/create", CIMultiDict({"xid": "no"}))
    assert isinstance(action, Refuse)
    assert action.reason == Reason.INVALID_XID
    assert "<namespace>.<name>" in action.message


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Route("a", path="/x"), Route("b", path="/x"), True),
        (Route("a", path="/x"), Route("b", path="/x", method="PUT"), False),
        (Route("a", path="/x"), Route("b", path="/y"), False),
        (Route("a", path="/x/y"), Route("b", path_prefix="/x"), True),
        (Route("a", path="/xy"), Route("b", path_prefix="/x"), False),
        (Route("a", path_prefix="/x/y"), Route("b", path_prefix="/x/"), True),
        (Route("a", path_prefix="/x"), Route("b", path_prefix="/xy"), False),
        (Route("a", path_prefix="/"), Route("b", path="/anything"), True),
    ],
)
def test_routes_that_claim_one_request_are_refused(one: Route, other: Route, expected: bool) -> None:  # noqa: FBT001  a table's column
    assert overlap(one, other) is overlap(other, one) is expected
    if expected:
        with pytest.raises(AmbiguousRoutesError, match="'a' and 'b' both claim"):
            Filter([one, other])
    else:
        Filter([one, other])


segments = st.sampled_from(["a", "b", "ab"])
paths = st.lists(segments, max_size=3).map(lambda parts: "/" + "/".join(parts))
routes = st.builds(
    lambda path, whole: Route("r", path=path) if whole else Route("r", path_prefix=path), paths, st.booleans()
)


@given(routes, routes, paths)
def test_routes_that_do_not_overlap_never_both_match(one: Route, other: Route, path: str) -> None:
    both = Filter([one]).find("POST", path) is not None and Filter([other]).find("POST", path) is not None
    assert overlap(one, other) or not both
