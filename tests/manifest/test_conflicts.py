"""Rows in conflict and decisions about them: fields of a Branch, and what the API server lets into them."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.manifest.check import problems
from globaltx.manifest.conflicts import resolution_spec
from globaltx.manifest.resources import branch_from_resource, branch_to_resource, settlement_status
from globaltx.manifest.schemas import branches as schema
from globaltx.stores.kubernetes.errors import InvalidError
from globaltx.stores.kubernetes.resource import BRANCHES
from globaltx.transaction.conflict import (
    COLUMNS_SHOWN_MAX,
    KEY_LENGTH_MAX,
    NO_ROW,
    PROBLEM_LENGTH_MAX,
    RESOLUTIONS_MAX,
    RETRIES_MAX,
    ROWS_SHOWN_MAX,
    VALUE_LENGTH_MAX,
    WHY_LENGTH_MAX,
    CarriedOut,
    ColumnConflict,
    Remedy,
    Resolution,
    RowConflict,
)
from globaltx.transaction.model import Branch, BranchId, Settlement
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid

if TYPE_CHECKING:
    from globaltx.stores.kubernetes.client import KubernetesClient

Json = dict[str, Any]

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
KEEP = Resolution(1, Remedy.KEEP, "so", "kim", NOW)
LONG = "é" * VALUE_LENGTH_MAX
LARGEST = RowConflict(
    "0123456789",
    "t" * 64,
    "k" * KEY_LENGTH_MAX,
    "p" * PROBLEM_LENGTH_MAX,
    (ColumnConflict("c" * 64, LONG, LONG, LONG),) * COLUMNS_SHOWN_MAX,
)


def test_decisions_are_read_as_they_were_written() -> None:
    made = (KEEP, Resolution(2, Remedy.RESTORE, "so", "sam", NOW, table="stock", row="a1"))
    done = (CarriedOut(1, 0, NOW), CarriedOut(2, 5, NOW))
    resource = branch_to_resource(Branch(BranchId(Xid("shop", "x"), "a", "b"), outcome=Outcome.ROLLBACK))
    resource["spec"]["resolutions"] = [resolution_spec(each) for each in reversed(made)]
    settlement = Settlement(State.CONFLICT, "RowChanged", "m", (LARGEST,) * ROWS_SHOWN_MAX, 99, done)
    resource["status"] = settlement_status(settlement, NOW)
    assert list(problems(schema.spec(), resource["spec"])) == []
    assert list(problems(schema.status(), resource["status"])) == []
    found = branch_from_resource(resource)
    assert (found.resolutions, found.carried_out) == (made, done)


def test_an_end_tells_of_no_conflict() -> None:
    status = settlement_status(Settlement(State.ROLLED_BACK, "RolledBack"), NOW)
    assert not {"conflicts", "conflictRows", "resolutions"} & status.keys()


class Made:
    """A branch at the API server."""

    def __init__(self, client: KubernetesClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self.id = BranchId(Xid(namespace, f"x{secrets.token_hex(4)}"), "shop", "db")

    async def create(self, *resolutions: Resolution) -> None:
        body = branch_to_resource(Branch(self.id, outcome=Outcome.ROLLBACK))
        if resolutions:
            body["spec"]["resolutions"] = [resolution_spec(each) for each in resolutions]
        await self._client.create(BRANCHES, body, self._namespace)

    async def settle(self, settlement: Settlement) -> None:
        patch = {"status": settlement_status(settlement, NOW)}
        await self._client.patch(BRANCHES, self.id.name, patch, self._namespace, subresource="status")

    async def decide(self, *resolutions: Resolution | Json) -> None:
        entries = [resolution_spec(each) if isinstance(each, Resolution) else each for each in resolutions]
        patch = {"spec": {"resolutions": entries}}
        await self._client.patch(BRANCHES, self.id.name, patch, self._namespace)


@pytest.fixture
async def made(kubernetes: KubernetesClient, namespace: str) -> Made:
    """A branch in Conflict, that shows as much as there can be."""
    made = Made(kubernetes, namespace)
    await made.create()
    done = tuple(CarriedOut(number, 1, NOW) for number in range(1, RESOLUTIONS_MAX + 1))
    await made.settle(Settlement(State.CONFLICT, "RowChanged", "m", (LARGEST,) * ROWS_SHOWN_MAX, 99, done))
    return made


async def test_as_many_decisions_as_there_may_be(made: Made) -> None:
    why, by = "w" * WHY_LENGTH_MAX, "b" * 256
    retries = [Resolution(number, Remedy.RETRY, why, by, NOW) for number in range(1, RETRIES_MAX + 1)]
    await made.decide(*retries)
    with pytest.raises(InvalidError, match="may be Retry, so that there is room for others"):
        await made.decide(*retries, replace(retries[0], number=99))
    others = [
        Resolution(number, Remedy.KEEP, why, by, NOW, "t" * 64, "r" * 32)
        for number in range(RETRIES_MAX + 1, RESOLUTIONS_MAX + 1)
    ]
    await made.decide(*retries, *others)
    await made.settle(Settlement(State.ROLLED_BACK, "ResolvedByPerson"))


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        ([replace(KEEP, number=1)], "a decision is never removed"),
        ([KEEP, replace(KEEP, number=2)], "a decision is never removed"),
        ([replace(KEEP, number=5, by="sam")], "a decision is never changed"),
        ([replace(KEEP, number=5), replace(KEEP, number=4)], "above all earlier ones"),
        ([replace(KEEP, number=5), replace(KEEP, number=6, row="a")], "row goes with table"),
        ([replace(KEEP, number=5), replace(KEEP, number=6, why="")], "spec.resolutions[1].why"),
        ([replace(KEEP, number=5), replace(KEEP, number=6, by="")], "spec.resolutions[1].by"),
        ([replace(KEEP, number=5), replace(KEEP, number=6, at=None)], "spec.resolutions[1].at: Required"),
        (
            [replace(KEEP, number=5), {**resolution_spec(KEEP), "number": 6, "action": "Drop"}],
            "Unsupported value",
        ),
    ],
)
async def test_decisions_are_appended_and_whole(
    made: Made, after: list[Resolution | Json], sentence: str
) -> None:
    await made.decide(replace(KEEP, number=5))
    with pytest.raises(InvalidError) as refusal:
        await made.decide(*after)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    "at",
    [
        *("2026-01-02T03:04:05Z", "2026-01-02t03:04:05z", "2026-01-02T03:04:05.123456789z"),
        *("2026-01-02T23:59:59.9-23:59", "0000-01-02T03:04:05Z", "9999-12-31T23:59:59-14:00"),
        *("2026-01-02T03:04:05+99:99", "2026-01-02T23:59:60Z", "2026-01-02"),
    ],
)
async def test_a_time_that_is_taken_can_be_read(kubernetes: KubernetesClient, made: Made, at: str) -> None:
    """A decision is never removed: one that cannot be read would keep its branch from being read."""
    with contextlib.suppress(InvalidError):
        await made.decide({**resolution_spec(KEEP), "at": at})
    found = branch_from_resource(await kubernetes.get(BRANCHES, made.id.name, made.id.xid.namespace))
    for each in found.resolutions:
        assert resolution_spec(each)["at"].startswith("2026-01-0")


async def test_only_a_branch_in_conflict_takes_a_decision(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    with pytest.raises(InvalidError, match="this branch is Active, not in Conflict"):
        await Made(kubernetes, namespace).create(KEEP)
    made = Made(kubernetes, namespace)
    await made.create()
    with pytest.raises(InvalidError, match="this branch is Active, not in Conflict"):
        await made.decide(KEEP)
    await made.settle(Settlement(State.CONFLICT, "RowChanged"))
    await made.decide(KEEP)
    await made.settle(Settlement(State.ROLLED_BACK, "ResolvedByPerson"))
    with pytest.raises(InvalidError, match="this branch is RolledBack, not in Conflict"):
        await made.decide(KEEP, replace(KEEP, number=2))


def test_what_stands_for_no_row_is_no_value() -> None:
    assert NO_ROW[0] not in "'\"0123456789-N"
