"""Policies offline: read with defaults, refused with every problem named, merged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from globaltx.coordinator.policy import (
    Datasource,
    HttpCapture,
    Policy,
    Propagation,
    Route,
    Saga,
    Tcc,
    Tcd,
    Tls,
    TlsMode,
)
from globaltx.manifest.policy import (
    InvalidPolicyError,
    Merged,
    PolicyConflictError,
    may_meet,
    merge,
    read_policy,
    selects,
)
from globaltx.transaction.calls import Order, Reservation
from tests.manifest.cases import SAGA, TCC, TCD, WRONG, Wrong, datasource, http, regex, route, template

Json = dict[str, Any]


def resource(spec: Any, **metadata: Any) -> Json:
    named = {"name": "order", "namespace": "shop", **metadata}
    kind = {"apiVersion": "globaltx.io/v1alpha1", "kind": "TransactionPolicy"}
    return {**kind, "metadata": named, "spec": spec}


def test_what_is_left_out_has_its_default() -> None:
    spec = {**http(route()), "datasources": [datasource(aliases=["db"])]}
    assert read_policy(resource(spec)) == Policy(
        namespace="shop",
        name="order",
        http=HttpCapture("http", (Route("create", path="/order"),)),
        datasources=(Datasource("order", "order.db.local", "shop", "db", aliases=("db",)),),
    )


def test_what_is_given_is_read() -> None:
    begin = {"mode": "AT", "timeoutSeconds": 5, "commitStatuses": [200, 201]}
    spec = {
        "selector": {"matchLabels": {"app": "a"}},
        "http": {
            "port": "web",
            "routes": [{"name": "r", "match": {"method": "PUT", "pathPrefix": "/a"}, "begin": begin}],
        },
        "datasources": [
            datasource(
                port=1,
                manageUndoTable=False,
                maxRowsPerTransaction=7,
                guardLocalWrites=True,
                guardCalls=True,
                tls={"mode": "VerifyIdentity", "caSecretName": "ca", "serverSecretName": "shown"},
            ),
            datasource("clear", tls={"mode": "Disabled"}),
        ],
        "lockWaitMilliseconds": 1500,
        "ttlSecondsAfterFinished": 0,
    }
    policy = read_policy(resource(spec))
    assert policy.selector == {"app": "a"}
    assert policy.http is not None
    assert policy.http.routes[0] == Route(
        "r", "PUT", "", "/a", policy.http.routes[0].mode, timedelta(seconds=5), frozenset({200, 201})
    )
    assert policy.http.routes[0].mode == "AT"
    assert (policy.datasources[0].port, policy.datasources[0].manage_undo_table) == (1, False)
    assert [each.rows_max for each in policy.datasources] == [7, 100_000]
    assert [each.guards_local_writes for each in policy.datasources] == [True, False]
    assert [each.guards_calls for each in policy.datasources] == [True, False]
    assert policy.datasources[0].tls == Tls(TlsMode.VERIFY_IDENTITY, "ca", "shown")
    assert policy.datasources[1].tls == Tls(TlsMode.DISABLED)
    assert (policy.lock_wait, policy.ttl) == (timedelta(seconds=1.5), timedelta())


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.id)
def test_a_wrong_policy_is_refused_by_a_sentence(wrong: Wrong) -> None:
    with pytest.raises(InvalidPolicyError) as refusal:
        read_policy(resource(wrong.spec, **wrong.metadata))
    assert wrong.offline in str(refusal.value)


def test_a_try_is_read_with_its_calls() -> None:
    tcc = {"confirm": "/accounts/{id}/confirm", "cancel": "/accounts/{id}/cancel"}
    spec = http(
        template("/accounts/{id}/debit", tcc=tcc, propagation="Mandatory"), edge=True, joinByTrace=True
    )
    capture = read_policy(resource(spec)).http
    calls = Tcc("/accounts/{id}/confirm", "/accounts/{id}/cancel")
    assert capture == HttpCapture(
        "http",
        (
            Route(
                "debit",
                path_template="/accounts/{id}/debit",
                propagation=Propagation.MANDATORY,
                tcc=calls,
            ),
        ),
        edge=True,
        joins_by_trace=True,
    )
    given = {
        "timeoutSeconds": 3,
        "successStatuses": [200, 409],
        "conflictAfterRefusals": 4,
        "headers": ["Content-Type", "Accept-Language"],
        "guard": False,
    }
    capture = read_policy(resource(http({**route(), "tcc": {**TCC, **given}}))).http
    assert capture is not None
    assert capture.routes[0].tcc == Tcc(
        "/c",
        "/x",
        timedelta(seconds=3),
        frozenset({200, 409}),
        4,
        ("content-type", "accept-language"),
        guarded=False,
    )


def test_the_header_that_names_a_request_is_read_in_lower_case() -> None:
    begin = {"requestIdHeader": "Idempotency-Key"}
    capture = read_policy(resource(http(route("a", "/a"), {**route("b", "/b"), "begin": begin}))).http
    assert capture is not None
    assert [each.request_id_header for each in capture.routes] == ["", "idempotency-key"]


def test_a_try_of_a_reservation_is_read_with_its_times() -> None:
    capture = read_policy(resource(http({**route(), "tcd": TCD}))).http
    assert capture is not None
    tcd = capture.routes[0].tcd
    assert tcd == Tcd("/c", Reservation(timedelta(seconds=60), "/s"))
    assert tcd.reservation.decide_within == timedelta(seconds=50)
    assert tcd.reservation.expired_statuses == {404, 409, 410, 5, 9}
    given = {
        "compensationMarginSeconds": 20,
        "expiredStatuses": [410],
        "expiredGrpcStatuses": ["OUT_OF_RANGE"],
        "timeoutSeconds": 3,
        "successStatuses": [200],
        "conflictAfterRefusals": 4,
        "headers": [],
    }
    capture = read_policy(resource(http({**route(), "tcd": {**TCD, **given}}))).http
    assert capture is not None
    reservation = Reservation(timedelta(seconds=60), "/s", timedelta(seconds=20), frozenset({410, 11}))
    assert capture.routes[0].tries == Tcd(
        "/c", reservation, timedelta(seconds=3), frozenset({200}), 4, headers=()
    )


def test_a_step_of_a_saga_is_read_with_its_order() -> None:
    capture = read_policy(resource(http({**route(), "saga": SAGA}))).http
    assert capture is not None
    assert capture.routes[0].tries == Saga("/x")
    given = {
        "order": "Dependencies",
        "dependsOn": ["hold", "pay"],
        "timeoutSeconds": 3,
        "successStatuses": [200],
        "conflictAfterRefusals": 4,
        "headers": ["Accept-Language"],
        "guard": False,
    }
    capture = read_policy(resource(http({**route(), "saga": {**SAGA, **given}}))).http
    assert capture is not None
    assert capture.routes[0].saga == Saga(
        "/x",
        Order.DEPENDENCIES,
        ("hold", "pay"),
        timedelta(seconds=3),
        frozenset({200}),
        4,
        ("accept-language",),
        guarded=False,
    )


def step(name: str, *depends_on: str) -> Json:
    saga = {**SAGA, "order": "Dependencies", "dependsOn": list(depends_on)}
    return {**route(name, f"/{name}"), "saga": saga}


@pytest.mark.parametrize("routes", [[step("a", "a")], [step("a", "b"), step("b", "c"), step("c", "a")]])
def test_steps_that_depend_on_themselves_are_refused(routes: list[Json]) -> None:
    with pytest.raises(InvalidPolicyError, match="the step 'a' depends on itself"):
        read_policy(resource(http(*routes)))


def test_steps_may_depend_on_those_of_other_apps() -> None:
    read_policy(resource(http(step("a"), step("b", "a", "elsewhere"), step("c", "a", "b"))))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (http({**route(), "saga": {"compensate": "/{b}"}}), ".saga.compensate: {b} is no variable"),
        (http({**route(), "tcd": {**TCD, "state": "/{b}"}}), ".tcd.state: {b} is no variable"),
        (http(template("/a")), "it has no {variable}"),
        (http(template("/{a}/{a}")), "{a} is there twice"),
        (http(template("/{a}", tcc={"confirm": "/{b}", "cancel": "/"})), ".tcc.confirm: {b} is no variable"),
        (http({**route(), "tcc": {"confirm": "/", "cancel": "/{b}"}}), ".tcc.cancel: {b} is no variable"),
        (http(route("a", "/a/b"), template("/a/{x}")), "match the same request"),
        (
            http(route("a", "/a/b"), regex("/a/[a-c]")),
            "and 'regex' (POST /a/[a-c] (regex)) match the same",
        ),
        (http(template("/{x}/b"), regex("/a/.*")), "match the same request"),
        (http(regex("/a(")), "match.pathRegex: at character 4: a group is not closed"),
        (http(regex("a|b")), "match.pathRegex: it matches no path; the whole path is matched"),
        (http(regex("/(.)/", tcc={"confirm": "/{b}", "cancel": "/"})), ".tcc.confirm: {b} is no variable"),
        (http(template("/{x}/b", "one"), template("/a/{x}", "two")), "match the same request"),
    ],
)
def test_what_only_the_whole_policy_tells_is_refused(spec: Json, sentence: str) -> None:
    with pytest.raises(InvalidPolicyError) as refusal:
        read_policy(resource(spec))
    assert sentence in str(refusal.value)


def test_expressions_are_read_and_need_not_be_the_only_route() -> None:
    read = read_policy(resource(http(route("a", "/a/b"), regex("/a/[0-9]+"))))
    assert read.http is not None
    assert [each.path_regex for each in read.http.routes] == ["", "/a/[0-9]+"]


def test_every_problem_is_named_not_only_the_first() -> None:
    spec = {
        "lockWaitMilliseconds": -1,
        "http": {"port": 1, "routes": [{"name": "A", "match": {"method": "X"}}]},
    }
    with pytest.raises(InvalidPolicyError) as refusal:
        read_policy(resource(spec))
    fields = [problem.partition(":")[0] for problem in refusal.value.problems]
    assert fields == [
        "spec.lockWaitMilliseconds",
        "spec.http.port",
        "spec.http.routes[0].name",
        "spec.http.routes[0].match.method",
    ]


@pytest.mark.parametrize("broken", [{}, {"kind": "Pod"}, {"metadata": 7}, {"metadata": None, "spec": []}])
def test_what_is_no_policy_is_refused(broken: Json) -> None:
    with pytest.raises(InvalidPolicyError):
        read_policy(broken)


@pytest.mark.parametrize("spec", [None, [], 7, "x", {"http": None}, {"datasources": [None]}, {"selector": 1}])
def test_a_spec_of_any_shape_is_refused_not_stumbled_over(spec: Any) -> None:
    with pytest.raises(InvalidPolicyError):
        read_policy(resource(spec))


def policy(name: str, spec: Json, **selector: str) -> Policy:
    return read_policy(resource({**spec, "selector": {"matchLabels": selector}}, name=name))


def test_policies_of_one_pod_become_one() -> None:
    first = policy("a", {**http(route("one", "/1")), "ttlSecondsAfterFinished": 7})
    second = policy("b", {"datasources": [datasource()], "lockWaitMilliseconds": 9000})
    assert merge([second, first]) == Merged(
        names=("a", "b"),
        http=first.http,
        datasources=second.datasources,
        lock_wait=timedelta(seconds=9),
        ttl=timedelta(hours=1),
    )


def test_no_policies_become_nothing() -> None:
    assert merge([]) == Merged()


CONFLICTS = {
    "policies a and b both match the request 'POST /order'": (http(route("x")), http(route("y"))),
    "policies a and b both name a route 'x'": (http(route("x", "/1")), http(route("x", "/2"))),
    "policies take over different ports of the same pod: 'admin' (b), 'http' (a)": (
        http(route("x", "/1")),
        {"http": {"port": "admin"}},
    ),
    "policies give several datasources of a pod guardCalls: 'order' (a), 'stock' (b)": (
        {"datasources": [datasource(guardCalls=True)]},
        {"datasources": [datasource("stock", guardCalls=True)]},
    ),
    "policies a and b both name a datasource 'order'": (
        {"datasources": [datasource()]},
        {"datasources": [datasource(host="other")]},
    ),
    "policies a and b both claim the alias 'db'": (
        {"datasources": [datasource("one", aliases=["db"])]},
        {"datasources": [datasource("two", aliases=["db"])]},
    ),
    "the alias 'two.db.local' of 'one' is the host of 'two'": (
        {"datasources": [datasource("one", aliases=["two.db.local"])]},
        {"datasources": [datasource("two")]},
    ),
}


@pytest.mark.parametrize("sentence", CONFLICTS)
def test_policies_that_contradict_each_other_are_refused(sentence: str) -> None:
    first, second = CONFLICTS[sentence]
    with pytest.raises(PolicyConflictError) as refusal:
        merge([policy("a", first), policy("b", second)])
    assert len(refusal.value.problems) == 1
    assert sentence in refusal.value.problems[0]


def test_a_selector_selects_by_all_its_labels() -> None:
    chosen = policy("a", http(route()), app="shop", tier="web")
    assert selects(chosen, {"app": "shop", "tier": "web", "more": "x"})
    assert not selects(chosen, {"app": "shop"})
    assert selects(policy("a", http(route())), {})


def test_policies_meet_unless_a_label_keeps_them_apart() -> None:
    spec = http(route())
    assert may_meet(policy("a", spec, app="shop"), policy("b", spec, tier="web"))
    assert not may_meet(policy("a", spec, app="shop"), policy("b", spec, app="bank"))
