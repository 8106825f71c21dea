"""Unary calls of gRPC as tries of reservations that run out (TCD); by a real client and a real server."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from globaltx.coordinator.policy import Propagation, Route, Tcc, Tcd
from globaltx.coordinator.reasons import Reason
from globaltx.stores.etcd.protobuf import text
from globaltx.stores.kubernetes.watcher import Backoff
from globaltx.transaction.calls import Reservation
from globaltx.transaction.model import Decision, Mode
from globaltx.transaction.states import Outcome, State
from globaltx_sidecar.branch.desk import Pace
from globaltx_sidecar.branch.leader import Leader
from globaltx_sidecar.health import Health
from globaltx_sidecar.http.filter import Filter
from globaltx_sidecar.metrics import Metrics
from tests.sidecar.http2.scene import CARRIED, TIMEOUT, XID, GrpcScene, bank, branch_of, fine, known, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from globaltx.transaction.model import Branch

KEPT = timedelta(seconds=60)
HOLD = Route(
    "hold",
    path="/bank/Hold",
    propagation=Propagation.MANDATORY,
    timeout=TIMEOUT,
    tcd=Tcd("/bank/ConfirmHold", Reservation(KEPT, "/bank/HoldState"), headers=("x-kept",)),
)
SEAT = Route(
    "seat", path_template="/bank/Seat/{id}", tcd=Tcd("/c", Reservation(KEPT, "/bank/Seat/{id}/state"))
)
DEBIT = Route("debit", path="/bank/Debit", tcc=Tcc("/bank/ConfirmDebit", "/bank/CancelDebit"))
ROUTES = Filter([HOLD, SEAT, DEBIT])
OK = grpc.StatusCode.OK
FAST = Backoff(first=0.001, most=0.01)
PACE = Pace(backoff=FAST, pause=FAST, turn=FAST, conflict_seconds=0.01)


@asynccontextmanager
async def led(scene: GrpcScene) -> AsyncIterator[None]:
    """Let the application's leader carry outcomes out."""
    metrics = Metrics()
    leader = Leader(scene.store, "order", {}, Health(metrics), metrics, PACE, caller=scene.http.caller)
    task = asyncio.create_task(leader.lead(1))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def held(scene: GrpcScene, outcome: Outcome) -> None:
    """A try that was answered, and the outcome of its transaction."""
    assert (await scene.call("Hold", b"seat 7", CARRIED, ("x-kept", "a"))).code is OK
    await scene.store.decide(XID, Decision(outcome, Reason.REQUEST_SUCCEEDED))


async def ended(scene: GrpcScene, *states: State) -> Branch:
    """The branch once it stands so; without ``states``, once it has come to an end or to a Conflict."""
    memory = scene.store._memory
    wanted = states or (State.COMMITTED, State.ROLLED_BACK, State.CONFLICT)
    async with asyncio.timeout(20), memory.changed:
        await memory.changed.wait_for(lambda: all(each.state in wanted for each in memory.branches.values()))
    return await branch_of(scene)


async def test_a_try_is_a_branch_that_keeps_what_it_reserved_and_is_confirmed_with_its_message() -> None:
    messages: list[bytes] = []

    async def notes(request: bytes, _: Any) -> bytes:
        messages.append(request)
        return request

    async with bank(notes, ROUTES, store=await known()) as scene, led(scene):
        await held(scene, Outcome.COMMIT)
        branch = await ended(scene)
    assert (branch.mode, branch.state, branch.message) == (
        *(Mode.TCD, State.COMMITTED),
        "answered with grpc-status 0",
    )
    assert branch.calls is not None
    assert branch.calls.reservation == Reservation(
        KEPT, "/bank/HoldState", expired_statuses=frozenset({5, 9})
    )
    assert scene.bank.methods == ["/bank/Hold", "/bank/ConfirmHold"]
    assert messages == [b"seat 7"] * 2
    first, then = scene.bank.seen
    assert (first["globaltx-operation"], then["globaltx-operation"]) == ("try", "confirm")
    assert (then["globaltx-branch"], then["x-kept"]) == (first["globaltx-branch"], "a")


async def test_a_rollback_calls_nothing() -> None:
    async with bank(fine, ROUTES, store=await known()) as scene, led(scene):
        await held(scene, Outcome.ROLLBACK)
        assert (await ended(scene)).state is State.ROLLED_BACK
    assert scene.bank.methods == ["/bank/Hold"]


def confirming(*codes: grpc.StatusCode) -> Any:
    """Answer the first confirms with these, one after the other, and all others with OK."""
    left = list(codes)

    async def answers(request: bytes, context: Any) -> bytes:
        if len(scenes[0].bank.methods) > 1 and left:
            await context.abort(left.pop(0), "so it is")
        return request

    scenes: list[GrpcScene] = []
    answers.scenes = scenes  # type: ignore[attr-defined]
    return answers


@pytest.mark.parametrize(
    ("code", "route"),
    [
        (grpc.StatusCode.NOT_FOUND, HOLD),
        (grpc.StatusCode.FAILED_PRECONDITION, HOLD),
        (
            grpc.StatusCode.OUT_OF_RANGE,
            replace(HOLD, tcd=Tcd("/c", Reservation(KEPT, "/s", expired_statuses=frozenset({410, 11})))),
        ),
    ],
)
async def test_a_confirm_that_came_too_late_is_a_conflict_and_is_made_again(
    code: grpc.StatusCode, route: Route
) -> None:
    late = confirming(grpc.StatusCode.UNAVAILABLE, *[code] * 3)
    async with bank(late, Filter([route]), store=await known()) as scene:
        late.scenes.append(scene)
        await held(scene, Outcome.COMMIT)
        async with led(scene):
            branch = await ended(scene)
            assert (branch.state, branch.reason) == (State.CONFLICT, Reason.RESERVATION_EXPIRED)
            assert f"answered with grpc-status {code.value[0]}: the reservation has run out" in branch.message
            await ended(scene, State.COMMITTED)
    assert len(scene.bank.methods) == 6


async def test_another_refusal_says_nothing_of_the_reservation() -> None:
    refused = confirming(*[grpc.StatusCode.INVALID_ARGUMENT] * 10)
    async with bank(refused, ROUTES, store=await known()) as scene:
        refused.scenes.append(scene)
        await held(scene, Outcome.COMMIT)
        async with led(scene):
            branch = await ended(scene)
    assert (branch.state, branch.reason) == (State.CONFLICT, Reason.CALL_REFUSED)


# How it stands.


def asking(path: str = "/bank/HoldState", *more: str, method: str = "GET", operation: str = "state") -> bytes:
    """What a diagnosis asks, as it comes through the API server."""
    lines = [
        "Content-Type: application/grpc+proto",
        "globaltx-branch: b-1",
        f"globaltx-operation: {operation}",
    ]
    head = [f"{method} {path} HTTP/1.1", "Host: pod", "Connection: close", "X-Other: 1", *lines, *more]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def read(answer: bytes) -> tuple[int, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("path", ["/bank/HoldState", "/bank/HoldState?a=1", "/bank/Seat/7/state"])
async def test_the_application_is_asked_by_grpc_with_nothing_but_the_branch(path: str) -> None:
    messages: list[bytes] = []

    async def tells(request: bytes, _: Any) -> bytes:
        messages.append(request)
        return text(1, "CANCELLED") + text(2, "and more")

    async with bank(tells, ROUTES, store=await known()) as scene:
        assert read(await scene.http.ask(asking(path))) == (200, {"state": "CANCELLED"})
    assert (messages, scene.bank.methods) == ([b""], [path])
    (seen,) = scene.bank.seen
    assert (seen["globaltx-branch"], seen["globaltx-operation"]) == ("b-1", "state")
    assert "x-other" not in seen


async def test_a_refusal_to_tell_is_told() -> None:
    async def refuses(_: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such hold: é")
        raise AssertionError

    async with bank(refuses, ROUTES, store=await known()) as scene:
        said = read(await scene.http.ask(asking()))
    assert said == (502, {"grpcStatus": 5, "message": "no such hold: é"})


@pytest.mark.parametrize(
    "answer", [b"", text(2, "CANCELLED"), b'{"state": "A"}', b"\n\2\xff\xff", b"\n\x09short"]
)
async def test_an_answer_without_a_state_is_none(answer: bytes) -> None:
    async def tells(_: bytes, __: Any) -> bytes:
        return answer

    async with bank(tells, ROUTES, store=await known()) as scene:
        status, said = read(await scene.http.ask(asking()))
    assert (status, said["grpcStatus"], "field 1" in said["message"]) == (502, 0, True)


async def test_who_does_not_tell_in_time_is_not_waited_for() -> None:
    tcd = Tcd("/c", Reservation(KEPT, "/bank/HoldState"), timeout=timedelta(milliseconds=200))
    async with silence() as address, bank(routes=Filter([replace(HOLD, tcd=tcd)])) as scene:
        scene.http.proxy.upstream.address = address
        status, said = read(await scene.http.ask(asking()))
    assert (status, "did not answer within 0.2 s" in said["message"]) == (504, True)


@pytest.mark.parametrize(
    "request_",
    [
        asking("/bank/ConfirmHold"),
        asking("/bank/Hold"),
        asking("/bank/Debit"),
        asking("/bank/Seat//state"),
        asking(method="DELETE"),
        asking(operation="confirm"),
        asking().replace(b"application/grpc+proto", b"application/json"),
    ],
)
async def test_no_other_method_is_reached_in_this_way(request_: bytes) -> None:
    async with bank(routes=ROUTES, store=await known()) as scene:
        status, said = read(await scene.http.ask(request_))
    assert (status, said["error"]) == (
        502,
        "globaltx",
    )  # passed on as HTTP/1.1, which a server of gRPC is not
    assert scene.bank.methods == []
