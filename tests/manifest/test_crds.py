"""The definitions: as files, as documentation, and as what the API server refuses by them."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from globaltx.manifest.calls import write_calls
from globaltx.manifest.crds import definitions, written
from globaltx.manifest.resources import BRANCHES, POLICIES, TRANSACTIONS
from globaltx.stores.kubernetes import resource as resources
from globaltx.stores.kubernetes.errors import InvalidError
from globaltx.transaction.calls import BODY_BYTES_MAX, Calls, Request
from tests.manifest.cases import WRONG, Wrong, datasource, http, route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster import Cluster
    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx.stores.kubernetes.resource import Resource

Json = dict[str, Any]

ROOT = Path(__file__).parent.parent.parent


def test_the_files_are_what_is_generated() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "crds").iterdir()}
    assert files == {name: written(definition) for name, definition in definitions().items()}


def nodes(schema: Json, path: str) -> Iterator[tuple[str, Json]]:
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


ALL_NODES = [
    pytest.param(node, id=path)
    for definition in definitions().values()
    for path, node in nodes(
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], definition["spec"]["names"]["kind"]
    )
    if path.count(".") and not path.endswith((".apiVersion", ".kind", ".metadata"))
]


@pytest.mark.parametrize("node", ALL_NODES)
def test_every_field_is_described_and_bounded(node: Json) -> None:
    assert node["description"].endswith(".")
    bound = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}.get(node["type"])
    assert bound is None or bound in node
    assert "additionalProperties" not in node or "maxProperties" in node


def test_what_stores_and_definitions_call_the_kinds_is_the_same() -> None:
    for ours, theirs in (
        (TRANSACTIONS, resources.TRANSACTIONS),
        (BRANCHES, resources.BRANCHES),
        (POLICIES, resources.POLICIES),
    ):
        assert (ours.kind, ours.plural) == (theirs.kind, theirs.plural)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.id)
async def test_a_wrong_policy_is_refused_by_a_sentence(
    kubernetes: KubernetesClient, namespace: str, wrong: Wrong
) -> None:
    body = {
        "apiVersion": "globaltx.io/v1alpha1",
        "kind": "TransactionPolicy",
        "metadata": {"name": "wrong", **wrong.metadata},
        "spec": wrong.spec,
    }
    path = resources.POLICIES.path(namespace)
    with pytest.raises(InvalidError) as refusal:
        await kubernetes.request(
            "POST", path, body=body, params={"fieldValidation": "Strict", "dryRun": "All"}
        )
    assert wrong.server in str(refusal.value)


async def test_the_largest_policy_is_taken(kubernetes: KubernetesClient, namespace: str) -> None:
    routes = [route(f"r{number}", f"/{number}/" + "x" * 500) for number in range(64)]
    sources = [
        datasource(
            f"d{number}",
            aliases=[f"a{number}-{other}" + "x" * 40 for other in range(8)],
            sensitiveColumns=[f"{'t' * 60}{other}.{'c' * 64}" for other in range(64)],
        )
        for number in range(16)
    ]
    body = {"metadata": {"name": "largest"}, "spec": {**http(*routes), "datasources": sources}}
    await kubernetes.create(resources.POLICIES, body, namespace)


def transaction(**spec: Any) -> Json:
    return {"metadata": {"name": f"t{secrets.token_hex(4)}"}, "spec": {"initiator": "shop", **spec}}


def branch(**spec: Any) -> Json:
    whole = {"transaction": "t1", "app": "shop", "resource": "db", **spec}
    return {"metadata": {"name": f"b{secrets.token_hex(4)}"}, "spec": whole}


COMMIT = {"outcome": "Commit", "outcomeReason": "RequestSucceeded"}


class Change:
    """An object, and a change of it that is refused."""

    def __init__(self, what: str, kind: Resource, before: Json, after: Json, sentence: str) -> None:
        self.what, self.kind, self.before, self.after, self.sentence = what, kind, before, after, sentence


CALLS = write_calls(Calls("/confirm", "/cancel", Request(body=b"x" * BODY_BYTES_MAX)))

REFUSED = [
    Change(
        "the opposite outcome",
        resources.TRANSACTIONS,
        transaction(**COMMIT),
        {"outcome": "Rollback"},
        "the outcome Commit is taken and is never changed; to do the opposite, begin a new transaction",
    ),
    Change(
        "no outcome any more",
        resources.TRANSACTIONS,
        transaction(**COMMIT),
        {"outcome": None, "outcomeReason": None},
        "the outcome Commit is taken and is never changed",
    ),
    Change(
        "an outcome without a reason",
        resources.TRANSACTIONS,
        transaction(),
        {"outcome": "Commit"},
        "set outcome and outcomeReason together; a person sets outcomeReason to DecidedByPerson",
    ),
    Change(
        "another reason",
        resources.TRANSACTIONS,
        transaction(**COMMIT),
        {"outcomeReason": "DecidedByPerson"},
        "outcomeReason was set with the outcome and never changes",
    ),
    Change(
        "a message without an outcome",
        resources.TRANSACTIONS,
        transaction(),
        {"outcomeMessage": "so"},
        "outcomeMessage and decidedBy go with an outcome",
    ),
    *(
        Change(
            f"another {name}",
            resources.TRANSACTIONS,
            transaction(policy="order"),
            {name: value},
            f"{name} is fixed when the transaction begins; only outcome may be set, once",
        )
        for name, value in {
            "mode": "TCC",
            "policy": "other",
            "initiator": "other",
            "timeoutSeconds": 7,
            "ttlSecondsAfterFinished": 7,
        }.items()
    ),
    Change(
        "no policy any more",
        resources.TRANSACTIONS,
        transaction(policy="order"),
        {"policy": None},
        "policy is fixed",
    ),
    Change(
        "the opposite outcome of a branch",
        resources.BRANCHES,
        branch(outcome="Rollback"),
        {"outcome": "Commit"},
        "the outcome Rollback of this branch is taken and is never changed; it is the outcome of "
        "GlobalTransaction t1",
    ),
    *(
        Change(
            f"another {name} of a branch",
            resources.BRANCHES,
            branch(),
            {name: value},
            f"{name} is fixed when the branch is registered; only outcome may be set, once",
        )
        for name, value in {"transaction": "t2", "app": "other", "resource": "other", "mode": "TCC"}.items()
    ),
    *(
        Change(
            f"{what} of a branch",
            resources.BRANCHES,
            branch(**before),
            {"calls": after},
            "calls is fixed when the branch is registered; only outcome may be set, once",
        )
        for what, before, after in (
            ("calls", {}, CALLS),
            ("other calls", {"calls": CALLS}, {"onCommit": "/other"}),
            ("no calls any more", {"calls": CALLS}, None),
        )
    ),
]


URL = "http://flight:3000/bookings"
SAGA = {"steps": [{"name": "flight", "request": {"url": URL}}]}
DECLARED = {"mode": "Saga", "policy": "trip", "saga": SAGA}


def step(name: str, **more: Any) -> Json:
    return {"name": name, "request": {"url": URL}, **more}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (DECLARED | {"mode": "TCC"}, "a declared saga needs mode Saga"),
        ({"mode": "Saga", "saga": SAGA}, "and policy"),
        (DECLARED | {"saga": {"steps": []}}, "spec.saga.steps"),
        (DECLARED | {"saga": {"steps": [step("a"), step("a")]}}, "each step needs a name of its own"),
        (DECLARED | {"saga": {"steps": [step("a", dependsOn=["b"])]}}, "one that is named is not there"),
        (DECLARED | {"saga": {"steps": [step("a", pivot=True), step("b", pivot=True)]}}, "one pivot at most"),
        (DECLARED | {"saga": {"steps": [{"name": "a", "request": {"url": "ftp://x/"}}]}}, "url"),
        (DECLARED | {"saga": {"steps": [{"name": "a", "request": {"url": "http://u@x/"}}]}}, "url"),
    ],
)
async def test_a_wrong_saga_is_refused_by_a_sentence(
    kubernetes: KubernetesClient, namespace: str, spec: Json, sentence: str
) -> None:
    with pytest.raises(InvalidError) as refusal:
        await kubernetes.create(resources.TRANSACTIONS, transaction(**spec), namespace)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"saga": {"recovery": "Forward"}}, "saga is fixed"),
        ({"saga": {"steps": [step("flight", request={"url": URL + "/other"})]}}, "saga is fixed"),
        ({"saga": None}, "saga is fixed"),
        (
            {"pivotAt": "2025-01-01T00:00:00Z", "outcome": "Rollback", "outcomeReason": "StepFailed"},
            "the outcome is taken; the pivot must not be called any more",
        ),
    ],
)
async def test_a_saga_is_fixed(
    kubernetes: KubernetesClient, namespace: str, change: Json, sentence: str
) -> None:
    made = await kubernetes.create(resources.TRANSACTIONS, transaction(**DECLARED), namespace)
    with pytest.raises(InvalidError) as refusal:
        await kubernetes.patch(resources.TRANSACTIONS, made["metadata"]["name"], {"spec": change}, namespace)
    assert sentence in str(refusal.value)


async def test_no_deadline_rolls_back_once_the_pivot_is_called(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    made = await kubernetes.create(resources.TRANSACTIONS, transaction(**DECLARED), namespace)
    name, kind = made["metadata"]["name"], resources.TRANSACTIONS
    await kubernetes.patch(kind, name, {"spec": {"pivotAt": "2025-01-01T00:00:00Z"}}, namespace)
    late = {"outcome": "Rollback", "outcomeReason": "DeadlineExceeded"}
    with pytest.raises(InvalidError, match="only its answer or a person decides now"):
        await kubernetes.patch(kind, name, {"spec": late}, namespace)
    with pytest.raises(InvalidError, match="pivotAt is set once"):
        await kubernetes.patch(kind, name, {"spec": {"pivotAt": None}}, namespace)
    person = {"outcome": "Rollback", "outcomeReason": "DecidedByPerson"}
    await kubernetes.patch(kind, name, {"spec": person}, namespace)


async def test_the_largest_saga_is_taken(kubernetes: KubernetesClient, namespace: str) -> None:
    exchange = {
        "url": URL + "/" + "x" * 2000,
        "headers": [{"name": f"h{number}", "value": "x" * 1024} for number in range(16)],
        "body": '"' + "x" * (8 * 1024) + '"',
    }
    names = [f"s{number}-" + "x" * 55 for number in range(32)]
    steps = [
        {"name": name, "request": exchange, "dependsOn": names[:index]} for index, name in enumerate(names)
    ]
    spec = DECLARED | {"saga": {"steps": steps}}
    made = await kubernetes.create(resources.TRANSACTIONS, transaction(**spec), namespace)
    outcome = {"outcome": "Rollback", "outcomeReason": "DecidedByPerson"}
    await kubernetes.patch(resources.TRANSACTIONS, made["metadata"]["name"], {"spec": outcome}, namespace)


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.what)
async def test_what_is_fixed_stays(kubernetes: KubernetesClient, namespace: str, change: Change) -> None:
    made = await kubernetes.create(change.kind, change.before, namespace)
    name = made["metadata"]["name"]
    with pytest.raises(InvalidError) as refusal:
        await kubernetes.patch(change.kind, name, {"spec": change.after}, namespace)
    assert change.sentence in str(refusal.value)
    assert (await kubernetes.get(change.kind, name, namespace))["spec"] == made["spec"]


@pytest.mark.parametrize("kind", [resources.TRANSACTIONS, resources.BRANCHES], ids=lambda kind: kind.kind)
async def test_an_end_needs_its_outcome_and_is_never_left(
    kubernetes: KubernetesClient, namespace: str, kind: Resource
) -> None:
    body = transaction() if kind is resources.TRANSACTIONS else branch()
    outcome = {"outcome": "Rollback"}
    if kind is resources.TRANSACTIONS:
        outcome["outcomeReason"] = "RequestFailed"
    name = (await kubernetes.create(kind, body, namespace))["metadata"]["name"]

    async def move(state: str) -> None:
        patch = {"status": {"state": state}}
        await kubernetes.patch(kind, name, patch, namespace, subresource="status")

    with pytest.raises(InvalidError, match=r"state is RolledBack only if spec\.outcome is Rollback"):
        await move("RolledBack")
    await kubernetes.patch(kind, name, {"spec": outcome}, namespace)
    await move("RollingBack")
    with pytest.raises(InvalidError, match=r"state is Committed only if spec\.outcome is Commit"):
        await move("Committed")
    await move("Conflict")
    await move("RolledBack")
    for state in ("Active", "Conflict", "RollingBack"):
        with pytest.raises(InvalidError, match="state is RolledBack, which is an end and is never left"):
            await move(state)


async def test_a_name_that_cannot_be_half_of_an_xid_is_refused(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    for name in ("a.b", "a" * 64):
        body = {**transaction(), "metadata": {"name": name}}
        with pytest.raises(InvalidError, match="it is the second half of the xid"):
            await kubernetes.create(resources.TRANSACTIONS, body, namespace)


async def test_a_new_transaction_is_active_before_anybody_wrote_so(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    name = (await kubernetes.create(resources.TRANSACTIONS, transaction(), namespace))["metadata"]["name"]
    status = (await kubernetes.get(resources.TRANSACTIONS, name, namespace))["status"]
    assert status["state"] == "Active"
    assert [(each["type"], each["status"]) for each in status["conditions"]] == [("Succeeded", "Unknown")]


async def test_kubectl_explains_every_field(control_plane: Cluster) -> None:
    for definition in definitions().values():
        names = definition["spec"]["names"]
        text = await asyncio.to_thread(control_plane.kubectl, "explain", names["plural"], "--recursive")
        shown = await asyncio.to_thread(control_plane.kubectl, "explain", f"{names['plural']}.spec")
        assert names["kind"] in text
        spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        unwrapped = " ".join(shown.split())
        for name, field in spec["properties"].items():
            assert name in text
            assert field["description"] in unwrapped


def test_definitions_are_plain_yaml() -> None:
    for path in (ROOT / "crds").iterdir():
        assert yaml.safe_load(path.read_text())["kind"] == "CustomResourceDefinition"
