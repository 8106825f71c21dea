from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.check import problems
from globaltx.transaction.calls import BODY_BYTES_MAX, Order, Request, Step
from globaltx.transaction.model import Decision, Mode
from globaltx.transaction.notification import Notify
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from globaltx_sidecar.local import openapi
from tests.sidecar.local.scene import local_api

if TYPE_CHECKING:
    from tests.sidecar.local.scene import Scene

Json = dict[str, Any]
JOIN = {"name": "seat", "confirm": "/seat/confirm", "cancel": "/seat/cancel"}
TRANSACTIONS = "/v1/transactions"
ALLOWED = "http://billing.shop.svc:8080/outcomes"


async def ask(
    scene: Scene, method: str, path: str, body: Any = None, *, raw: bytes = b""
) -> tuple[int, Json]:
    data = raw or (None if body is None else json.dumps(body).encode())
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, scene.url + path, data=data) as response,
    ):
        return response.status, await response.json()


async def begun(scene: Scene) -> str:
    status, body = await ask(scene, "POST", TRANSACTIONS)
    assert status == 201
    xid: str = body["xid"]
    return f"{TRANSACTIONS}/{xid}"


async def test_a_transaction_begins_is_shown_and_commits() -> None:
    async with local_api() as scene:
        path = await begun(scene)
        _, before = await ask(scene, "GET", path)
        assert await ask(scene, "POST", f"{path}/commit", {"message": "all done"}) == (
            200,
            {"xid": before["xid"], "outcome": "Commit", "reason": "DecidedByApplication"},
        )
        _, after = await ask(scene, "GET", path)
        (transaction,) = scene.memory.transactions.values()
    assert (before["state"], before["outcome"], before["branches"]) == ("Active", None, [])
    assert (after["outcome"], after["reason"], after["message"]) == (
        "Commit",
        "DecidedByApplication",
        "all done",
    )
    assert (transaction.initiator, transaction.timeout.total_seconds()) == ("worker", 60)


async def test_who_is_told_the_outcome_is_said_at_the_beginning() -> None:
    """Defaults are those of a route; null is as left out."""
    wish = {"name": "billing", "url": ALLOWED}
    all_said = {"outcomes": ["Rollback"], "retryAfterSeconds": [1, 2], "timeoutSeconds": 3}
    async with local_api() as scene:
        asked = [wish | {"outcomes": None}, wish | {"name": "stock"} | all_said]
        assert (await ask(scene, "POST", TRANSACTIONS, {"notify": asked}))[0] == 201
        (transaction,) = scene.memory.transactions.values()
    pauses = tuple(timedelta(seconds=each) for each in (1, 2))
    assert transaction.notify == (
        Notify("billing", ALLOWED),
        Notify("stock", ALLOWED, frozenset({Outcome.ROLLBACK}), pauses, timedelta(seconds=3)),
    )


@pytest.mark.parametrize(
    ("notify", "status", "told"),
    [
        (
            [{"name": "a", "url": "http://other.shop.svc/"}],
            403,
            "notify[0].url: no notify.egress of the policy",
        ),
        ([{"name": "a", "url": f"{ALLOWED}/../x"}], 403, "has segments . or .. in it"),
        ([{"name": "a", "url": ALLOWED}] * 2, 400, "needs a name of its own"),
        ([{"name": "a", "url": "ftp://billing.shop.svc/"}], 400, "body.notify[0].url: must match"),
        ([{"name": "a"}], 400, "body.notify[0].url: is required"),
        ([{"name": "a", "url": ALLOWED, "outcomes": ["Commit"] * 2}], 400, "body.notify[0].outcomes"),
        ([{"name": "a", "url": ALLOWED, "retryAfterSeconds": [0]}], 400, "must be between 1"),
        ({"name": "a", "url": ALLOWED}, 400, "body.notify: must be of type array"),
        ([{"name": f"a{each}", "url": ALLOWED} for each in range(9)], 400, "must have 0 to 8 entries"),
    ],
)
async def test_who_cannot_be_told_is_refused_and_nothing_begins(notify: Any, status: int, told: str) -> None:
    async with local_api() as scene:
        found, body = await ask(scene, "POST", TRANSACTIONS, {"notify": notify})
        assert (found, scene.memory.transactions) == (status, {})
    assert told in body["message"]
    assert body["reason"] == ("DestinationNotAllowed" if status == 403 else "RequestNotSupported")


async def test_a_pod_that_may_tell_nobody_says_so() -> None:
    async with local_api(tells=False) as scene:
        status, body = await ask(scene, "POST", TRANSACTIONS, {"notify": [{"name": "a", "url": ALLOWED}]})
        assert (await ask(scene, "POST", TRANSACTIONS, {"notify": []}))[0] == 201
    assert (status, body["reason"]) == (403, "DestinationNotAllowed")
    assert "TransactionPolicy with notify (secretName and egress)" in body["message"]


async def test_an_outcome_is_repeated_at_will_and_never_changed() -> None:
    async with local_api() as scene:
        path = await begun(scene)
        for _ in range(2):
            assert (await ask(scene, "POST", f"{path}/rollback"))[0] == 200
        status, body = await ask(scene, "POST", f"{path}/commit")
    assert (status, body["outcome"]) == (409, "Rollback")


async def test_a_commit_after_the_deadline_tells_why() -> None:
    async with local_api() as scene:
        path = await begun(scene)
        xid = Xid.parse(path.rpartition("/")[2])
        await scene.store.decide(xid, Decision(Outcome.ROLLBACK, Reason.DEADLINE_EXCEEDED, "too late"))
        status, body = await ask(scene, "POST", f"{path}/commit")
    assert (status, body["reason"], body["outcome"]) == (409, "DeadlineExceeded", "Rollback")


async def test_a_branch_is_durable_and_let_through_on_return() -> None:
    async with local_api() as scene:
        path = await begun(scene)
        request = {
            "method": "PUT",
            "query": "a=1",
            "body": "zwölf",
            "headers": [{"name": "X-A", "value": "1"}],
        }
        status, body = await ask(scene, "POST", f"{path}/branches", {**JOIN, "request": request})
        (branch,) = scene.memory.branches.values()
    assert (status, body["branch"], body["repeated"]) == (201, branch.id.name, False)
    assert branch.started
    assert branch.calls is not None
    assert (branch.calls.on_commit, branch.calls.on_rollback) == ("/seat/confirm", "/seat/cancel")
    assert branch.calls.request == Request("PUT", "a=1", (("x-a", "1"),), "zwölf".encode())
    assert branch.id.resource.startswith("seat.")


STEP = {"name": "seat", "compensate": "/seat/free"}


async def test_steps_of_a_saga_join_and_get_their_places_as_they_are_done() -> None:
    async with local_api() as scene:
        path = f"{await begun(scene)}/branches"
        names = [(await ask(scene, "POST", path, STEP | {"key": key}))[1]["branch"] for key in "ab"]
        for name in reversed(names):
            assert (await ask(scene, "POST", f"{path}/{name}/completed"))[0] == 200
        assert (await ask(scene, "POST", f"{path}/{names[1]}/completed"))[1]["place"] == 1
        found = {each.id.name: each for each in scene.memory.branches.values()}
    first, second = (found[name] for name in names)
    assert (first.completed, second.completed) == (2, 1)
    assert (first.mode, first.started) == (Mode.SAGA, True)
    assert first.calls is not None
    assert (first.calls.on_commit, first.calls.on_rollback) == ("", "/seat/free")
    assert first.calls.step == Step("seat", Order.REVERSE)


async def test_what_is_no_step_of_ours_is_not_completed() -> None:
    async with local_api() as scene:
        path = f"{await begun(scene)}/branches"
        tried = (await ask(scene, "POST", path, JOIN))[1]["branch"]
        for name, expected in ((tried, 409), ("nothing", 404)):
            assert (await ask(scene, "POST", f"{path}/{name}/completed"))[0] == expected
        done = (await ask(scene, "POST", path, STEP))[1]["branch"]
        await ask(scene, "POST", f"{path.removesuffix('/branches')}/rollback")
        status, body = await ask(scene, "POST", f"{path}/{done}/completed")
    assert (status, body["reason"]) == (409, Reason.ALREADY_DECIDED)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "seat"},
        JOIN | {"compensate": "/x"},
        {"name": "seat", "confirm": "/x"},
        STEP | {"dependsOn": ["other"]},
    ],
)
async def test_a_branch_is_a_try_or_a_step(body: Json) -> None:
    async with local_api() as scene:
        assert (await ask(scene, "POST", f"{await begun(scene)}/branches", body))[0] == 400


async def test_the_same_key_is_the_same_branch() -> None:
    async with local_api() as scene:
        path = f"{await begun(scene)}/branches"
        answers = [await ask(scene, "POST", path, {**JOIN, "key": key}) for key in ("a", "a", "b", "", "")]
        assert [body["repeated"] for _, body in answers] == [False, True, False, False, False]
        assert len({body["branch"] for _, body in answers}) == len(scene.memory.branches) == 4
        status, body = await ask(scene, "POST", path, {**JOIN, "key": "a", "request": {"body": "other"}})
    assert (status, body["reason"]) == (409, Reason.TRY_REPEATED)


async def test_nothing_joins_what_is_decided() -> None:
    async with local_api() as scene:
        path = await begun(scene)
        await ask(scene, "POST", f"{path}/rollback")
        status, body = await ask(scene, "POST", f"{path}/branches", JOIN)
    assert (status, body["reason"]) == (409, Reason.ALREADY_DECIDED)


async def test_where_nobody_can_be_called_nothing_joins() -> None:
    async with local_api(callable_=False) as scene:
        status, body = await ask(scene, "POST", f"{await begun(scene)}/branches", JOIN)
    assert (status, body["reason"]) == (400, Reason.NO_POLICY)


@pytest.mark.parametrize("call", ["begin", "read", "decide", "join", "start"])
async def test_a_store_that_is_away_is_told(call: str) -> None:
    asked = {
        "begin": ("POST", ""),
        "read": ("GET", "/{xid}"),
        "decide": ("POST", "/{xid}/commit"),
        "join": ("POST", "/{xid}/branches"),
        "start": ("POST", "/{xid}/branches"),
    }
    async with local_api() as scene:
        xid = (await begun(scene)).rpartition("/")[2]
        scene.store.starts_apart = call == "start"
        scene.away.add(call)
        method, path = asked[call]
        body = JOIN if "branches" in path else None
        status, answer = await ask(scene, method, TRANSACTIONS + path.format(xid=xid), body)
    assert (status, answer["reason"]) == (503, Reason.STORE_UNAVAILABLE)


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "/v1/transactions/shop.none", 404, "UnknownTransaction"),
        ("POST", "/v1/transactions/shop.none/commit", 404, "UnknownTransaction"),
        ("GET", "/v1/transactions/none", 400, "InvalidXid"),
        ("GET", "/v2", 404, "see /openapi.json"),
        ("DELETE", "/v1/transactions", 405, "see /openapi.json"),
    ],
)
async def test_what_is_not_there_is_told(method: str, path: str, status: int, told: str) -> None:
    async with local_api() as scene:
        found, body = await ask(scene, method, path)
    assert found == status
    assert told in (body["reason"], body["message"]) or told in body["message"]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"{", "not JSON"),
        (b'{"timeoutSeconds": 0}', "body.timeoutSeconds: must be between 1"),
        (b'{"timeout": 3}', "unknown field; did you mean timeoutSeconds?"),
        (b'{"mode": "XA"}', "must be one of AT, TCC"),
        (b"[]", "must be of type object"),
        (b'{"mode": "\\ud800"}', "surrogates not allowed"),
        (b'{"timeoutSeconds": NaN}', "must be of type integer"),
        (b"[" * 100_000, "not JSON"),
    ],
)
async def test_a_wrong_body_is_told_by_its_field(raw: bytes, told: str) -> None:
    async with local_api() as scene:
        status, body = await ask(scene, "POST", TRANSACTIONS, raw=raw)
        assert (status, scene.memory.transactions) == (400, {})
    assert told in body["message"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"request": {"body": "ä" * (BODY_BYTES_MAX // 2 + 1)}}, 413),
        ({"request": {"headers": [{"name": "Authorization", "value": "x"}]}}, 400),
        ({"request": {"headers": [{"name": "Content-Type", "value": "application/grpc"}]}}, 400),
        ({"request": {"headers": [{"name": "a", "value": "x\r\nb: y"}]}}, 400),
        ({"request": {"query": "a b"}}, 400),
        ({"confirm": "no path"}, 400),
        ({"name": "A"}, 400),
    ],
)
async def test_a_branch_that_cannot_be_called_is_refused(change: Json, status: int) -> None:
    async with local_api() as scene:
        assert (await ask(scene, "POST", f"{await begun(scene)}/branches", JOIN | change))[0] == status
        assert scene.memory.branches == {}


async def test_a_body_without_end_is_cut_off() -> None:
    async with local_api() as scene:
        status, _ = await ask(scene, "POST", TRANSACTIONS, raw=b'{"x": "' + b"x" * 10**6)
    assert status == 413


async def test_the_commands_of_the_page_do_what_it_says() -> None:
    page = (Path(__file__).parents[3] / "docs" / "local-api.md").read_text()
    commands = page.partition("```sh\n")[2].partition("```")[0]
    async with local_api() as scene:
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-e", "-c", commands.replace("http://127.0.0.1:15001", scene.url)),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await shell.communicate()
        (branch,) = scene.memory.branches.values()
    assert shell.returncode == 0
    assert json.loads(said.splitlines()[-1])["outcome"] == "Commit"
    assert branch.outcome is Outcome.COMMIT


async def test_the_document_is_served() -> None:
    async with local_api() as scene:
        assert await ask(scene, "GET", "/openapi.json") == (200, openapi.document())


OPERATIONS = [
    (method, path, operation)
    for path, methods in openapi.document()["paths"].items()
    for method, operation in methods.items()
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
bodies = values | st.fixed_dictionaries(
    {},
    optional={
        "timeoutSeconds": st.integers(-1, 400) | values,
        "mode": st.sampled_from(["AT", "TCC", "XA"]),
        "notify": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from("ab")},
                optional={
                    "url": st.just(ALLOWED) | st.text(),
                    "outcomes": st.lists(st.sampled_from(Outcome)),
                },
            ),
            max_size=3,
        )
        | values,
        "message": st.text(),
        "name": st.sampled_from(["a", "b-c", "A", ""]),
        "confirm": st.sampled_from(["/c", "c", ""]),
        "cancel": st.just("/x"),
        "compensate": st.just("/y"),
        "order": st.sampled_from(Order) | values,
        "key": st.text(max_size=300),
        "successStatuses": st.lists(st.integers(0, 700), max_size=3),
        "request": st.fixed_dictionaries({}, optional={"body": st.text(), "query": st.text(max_size=3)})
        | values,
    },
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), bodies, st.booleans()), max_size=8))
async def test_every_answer_is_one_that_the_document_has(asked: list[tuple[Any, Any, bool]]) -> None:
    """Whatever is asked: the status is documented, and the body is what is documented for it."""
    async with local_api() as scene:
        xid = (await begun(scene)).rpartition("/")[2]
        for (method, path, operation), body, known in asked:
            at = path.format(xid=xid if known else "shop.none", branch="none")
            status, answer = await ask(scene, method.upper(), at, None if method == "get" else body)
            documented = operation["responses"][str(status)]["content"]["application/json"]["schema"]
            shown = {name: each for name, each in answer.items() if each is not None}
            assert list(problems(documented, _without_nulls(shown))) == []


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
