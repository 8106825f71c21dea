from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from globaltx.coordinator.matching import overlap
from globaltx.coordinator.policy import Propagation, Route, Tcc
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
from globaltx_sidecar.http.headers import find_xid

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
        ("POST", "//v1/order/create", CREATE),
        ("POST", "/v1//order/create", CREATE),
        ("POST", "/v1%2F/order/create", CREATE),
        ("POST", "/v1/./order/create?a=1", CREATE),
        ("POST", "/v1/%2e/order/create", CREATE),
        ("POST", "/v1/x/../order/create", CREATE),
        ("POST", "/../x/%2E./v1/order/create", CREATE),
        ("POST", "/v1/order;a=1/create;b", CREATE),
        ("POST", "/v1/order/create%3Bb", None),
        ("POST", "/v1/order/create/.", None),
        ("POST", "/v1/order/create/..", None),
        ("DELETE", "/x/../admin/a", ADMIN),
        ("DELETE", "/admin/../x", ADMIN),
        ("POST", "http://shop.example?/v1/order/create", None),
        ("POST", "http://shop.example?a=http://x/v1/order/create", None),
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
    assert ROUTES.judge("POST", target, partial(find_xid, CIMultiDict(headers))) == action


def propagating(propagation: Propagation, tcc: Tcc | None = None) -> Route:
    return Route("r", path="/r", propagation=propagation, tcc=tcc)


TCC = Tcc("/confirm", "/cancel")
PROPAGATIONS = {
    Propagation.REQUIRED: ("begin", "take part"),
    Propagation.REQUIRES_NEW: ("begin", "begin"),
    Propagation.SUPPORTS: ("pass", "take part"),
    Propagation.NOT_SUPPORTED: ("pass", "pass bare"),
    Propagation.MANDATORY: ("refuse XidRequired", "take part at the route"),
    Propagation.NEVER: ("pass", "refuse XidNotAllowed"),
}


def named(action: Action) -> str:
    match action:
        case Begin():
            return "begin"
        case TakePart():
            return "take part at the route" if action.route else "take part"
        case Pass():
            return "pass bare" if action.bare else "pass"
        case Refuse():
            return f"refuse {action.reason}"


@pytest.mark.parametrize("propagation", Propagation)
def test_what_a_route_makes_of_an_xid_and_of_none(propagation: Propagation) -> None:
    routes = Filter([propagating(propagation)])
    judged = [
        routes.judge("POST", "/r", partial(find_xid, CIMultiDict(given))) for given in ({}, {"xid": str(XID)})
    ]
    assert tuple(map(named, judged)) == PROPAGATIONS[propagation]


@pytest.mark.parametrize("propagation", [Propagation.REQUIRED, Propagation.SUPPORTS, Propagation.MANDATORY])
def test_a_try_takes_part_at_its_route(propagation: Propagation) -> None:
    route = propagating(propagation, TCC)
    assert Filter([route]).judge("POST", "/r", partial(find_xid, CIMultiDict({"xid": str(XID)}))) == TakePart(
        XID, route
    )


def test_at_the_edge_no_xid_is_believed() -> None:
    required, mandatory = (
        Route("a", path="/a"),
        Route("b", path="/b", propagation=Propagation.MANDATORY),
    )
    routes = Filter([required, mandatory], edge=True)
    outside = CIMultiDict({"globaltx-xid": str(XID)})
    assert routes.judge("POST", "/a", partial(find_xid, outside)) == Begin(required)
    assert named(routes.judge("POST", "/b", partial(find_xid, outside))) == "refuse XidRequired"
    assert routes.judge("POST", "/elsewhere", partial(find_xid, outside)) == Pass(bare=True)
    assert routes.judge("POST", "/a", partial(find_xid, CIMultiDict({"xid": "broken"}))) == Begin(required)


def test_a_broken_xid_is_refused_on_a_route() -> None:
    action = ROUTES.judge("POST", "/v1/order/create", partial(find_xid, CIMultiDict({"xid": "no"})))
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
        (Route("a", path_prefix="/"), Route("b", path_prefix="/x"), True),
        (Route("a", path_template="/a/{x}"), Route("b", path="/a/b"), True),
        (Route("a", path_template="/a/{x}"), Route("b", path="/a/"), False),
        (Route("a", path_template="/a/{x}"), Route("b", path="/a/b/c"), False),
        (Route("a", path_template="/a/{x}"), Route("b", path_template="/{y}/b"), True),
        (Route("a", path_template="/a/{x}/c"), Route("b", path_template="/{y}/b/d"), False),
        (Route("a", path_template="/a/{x}"), Route("b", path_prefix="/a"), True),
        (Route("a", path_template="/a/{x}"), Route("b", path_prefix="/a/b"), True),
        (Route("a", path_template="/a/{x}"), Route("b", path_prefix="/a/b/c"), False),
        (Route("a", path_regex="/a/[0-9]+"), Route("b", path="/a/17"), True),
        (Route("a", path_regex="/a/[0-9]+"), Route("b", path="/a/x"), False),
        (Route("a", path_regex="/a/[0-9]+"), Route("b", path="/a/17", method="PUT"), False),
        (Route("a", path_regex="/a/[0-9]+"), Route("b", path_prefix="/a/1"), True),
        (Route("a", path_regex="/a/[0-9]+"), Route("b", path_prefix="/a/x"), False),
        (Route("a", path_regex="/a/[0-9]+"), Route("b", path_prefix="/"), True),
        (Route("a", path_regex="/a/[0-9]+"), Route("b", path_template="/{x}/{y}"), True),
        (Route("a", path_regex="/a/[0-9]+"), Route("b", path_template="/{x}/{y}/z"), False),
        (Route("a", path_regex="/a/[0-9]+"), Route("b", path_regex="/[a-c]/.*7"), True),
        (Route("a", path_regex="/a/[0-9]+"), Route("b", path_regex="/a/[a-z]+"), False),
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
    lambda path, kind: Route("r", **{kind: path}),
    st.one_of(paths, paths.map(lambda path: path.replace("b", "{b}"))),
    st.sampled_from(["path", "path_prefix", "path_template"]),
) | st.one_of(paths, paths.map(lambda path: path.replace("b", "[^/]+"))).map(
    lambda path: Route("r", path_regex=path)
)


@given(routes, routes, paths)
def test_routes_that_do_not_overlap_never_both_match(one: Route, other: Route, path: str) -> None:
    both = Filter([one]).find("POST", path) is not None and Filter([other]).find("POST", path) is not None
    assert overlap(one, other) or not both
