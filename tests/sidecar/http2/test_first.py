"""Unary calls of gRPC that begin a transaction and are a branch of it; by a real client and server."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from globaltx.coordinator.policy import Route, Saga, Tcc
from globaltx.coordinator.reasons import Reason
from globaltx.modes import saga, tcc
from globaltx.modes.tcc import Call
from globaltx.transaction.calls import BODY_BYTES_MAX
from globaltx.transaction.model import Mode
from globaltx_sidecar.http.filter import Filter
from globaltx_sidecar.traces import Traces
from tests.sidecar.http.scene import FaultyStore
from tests.sidecar.http2.scene import GrpcScene, Hangs, bank, fails, give_up, order_of_events

if TYPE_CHECKING:
    from globaltx.transaction.model import Branch

BEGINS = Route("begins", path="/bank/Begins", tcc=Tcc("/bank/Confirm", "/bank/Cancel"))
BOOKS = Route("books", path="/bank/Books", saga=Saga("/bank/Unbook"))
ROUTES = Filter([BEGINS, BOOKS])
HASTY = Filter([replace(BEGINS, timeout=timedelta(milliseconds=200))])
OK = grpc.StatusCode.OK


async def branch_of(scene: GrpcScene) -> Branch:
    (xid,) = scene.begun()
    (branch,) = (await scene.store.read(xid)).branches
    return branch


async def ended(scene: GrpcScene) -> int | object:
    """Make the call that the outcome asks for, as the leader does."""
    branch = await branch_of(scene)
    duty = (saga if branch.mode is Mode.SAGA else tcc).duty(branch)
    assert isinstance(duty, Call)
    return await scene.http.caller.call(branch.id, duty, 1)


@pytest.mark.parametrize(("method", "operation"), [("Begins", "try"), ("Books", "step")])
async def test_its_branch_is_durable_before_the_application_sees_it_and_its_answer_decides(
    method: str, operation: str
) -> None:
    found: list[Branch] = []

    async def notes(request: bytes, _: Any) -> bytes:
        found.append(await branch_of(scenes[0]))
        return request

    scenes: list[GrpcScene] = []
    async with bank(notes, ROUTES) as scene:
        scenes.append(scene)
        answered = await scene.call(method, b"thirty", ("idempotency-key", "k"))
        (xid,) = scene.begun()
        assert (answered.code, answered.answer) == (OK, b"thirty")
        assert answered.initial["globaltx-xid"] == str(xid)
        seen = scene.bank.seen[0]
        assert seen["globaltx-xid"] == str(xid)
        assert seen["globaltx-guard"] == f"{xid}/{found[0].id.name}/{operation}"
        assert found[0].started
        assert scene.outcomes() == ["Commit RequestSucceeded"]
        if operation == "try":
            assert await ended(scene) == 0


@pytest.mark.parametrize("method", ["Begins", "Books"])
async def test_one_that_fails_is_taken_back(method: str) -> None:
    async with bank(fails, ROUTES) as scene:
        answered = await scene.call(method, b"money")
        assert (answered.code, answered.details) == (grpc.StatusCode.FAILED_PRECONDITION, "no money")
        assert scene.outcomes() == ["Rollback RequestFailed"]
        await ended(scene)
        assert scene.bank.seen[1]["globaltx-operation"] in {"cancel", "compensate"}


async def test_it_owns_its_trace_and_so_does_the_call_at_its_end() -> None:
    traces = Traces(time.monotonic, of_calls=True)
    async with bank(fails, ROUTES, traces=traces) as scene:
        await scene.call("Begins")
        await ended(scene)
    calls = [traces.call_of(each["traceparent"].split("-")[1]) for each in scene.bank.seen]
    assert list(map(str, calls)) == [each["globaltx-guard"] for each in scene.bank.seen]
    assert len(set(calls)) == 2


async def test_the_answer_comes_after_the_outcome() -> None:
    store = FaultyStore()
    async with bank(routes=ROUTES, store=store) as scene:
        order = await order_of_events(scene, store)
    assert order == ["decided", "answered"]


async def test_a_client_that_gives_up_rolls_back() -> None:
    hangs = Hangs()
    async with bank(hangs, ROUTES) as scene:
        await give_up(scene, hangs)
    assert scene.outcomes() == ["Rollback RequestAborted"]


async def test_the_route_s_time_rolls_back() -> None:
    async with bank(Hangs(), HASTY) as scene:
        answered = await scene.call("Begins")
    assert answered.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert scene.outcomes() == ["Rollback RequestAborted"]


@pytest.mark.parametrize("size", [BODY_BYTES_MAX, None])
async def test_what_cannot_be_kept_is_rolled_back_and_not_let_through(size: int | None) -> None:
    async def several() -> Any:
        for each in (b"one", b"two") if size is None else (bytes(size),):
            yield each

    async with bank(routes=ROUTES) as scene:
        call = scene.channel.stream_unary("/bank/Begins")(several())
        code = await call.code()
        await scene.store.until(lambda: bool(scene.store.decided))
    assert code is (grpc.StatusCode.UNIMPLEMENTED if size is None else grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert (scene.bank.seen, scene.outcomes()) == ([], ["Rollback RequestAborted"])


async def test_nobody_is_told_that_it_succeeded_while_that_is_not_known() -> None:
    store = FaultyStore()
    store.lost_calls.add("decide")
    async with bank(routes=ROUTES, store=store) as scene:
        answered = await scene.call("Begins")
    assert answered.code is grpc.StatusCode.UNKNOWN
    assert "StoreUnavailable" in answered.details


async def test_a_branch_that_cannot_be_registered_is_not_let_through() -> None:
    store = FaultyStore()
    store.lost_calls.add("join")
    async with bank(routes=ROUTES, store=store) as scene:
        answered = await scene.call("Begins")
    assert (answered.code, scene.bank.seen) == (grpc.StatusCode.ABORTED, [])
    assert scene.outcomes() == [f"Rollback {Reason.REQUEST_ABORTED}"]
