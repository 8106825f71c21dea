"""Requests of a pod whose statements take part by their trace."""

from __future__ import annotations

import time

import pytest

from globaltx.transaction.states import Outcome
from globaltx_sidecar.traces import Traces
from tests.sidecar.http.scene import Seen, answering, staged
from tests.sidecar.http.test_tries import OK, XID, begun, branches, called, request

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"traceparent: 00-{TRACE}-b7ad6b7169203331-00"


def trace_of(seen: Seen) -> str:
    (line,) = seen.header("traceparent")
    return line.split("-")[1]


@pytest.fixture
def traces() -> Traces:
    return Traces(time.monotonic)


@pytest.mark.parametrize("lines", [(), (PARENT,)])
async def test_a_request_that_begins_ties_its_trace(traces: Traces, lines: tuple[str, ...]) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK), traces=traces) as scene:
        await scene.ask(request(None, *lines, path="/create"))
        (transaction,) = scene.store.begun
        assert traces.xid_of(trace_of(seen[0])) == transaction.xid
    assert (trace_of(seen[0]) == TRACE) is bool(lines)
    assert seen[0].header("traceparent")[0].endswith("-01")
    assert seen[0].header("baggage") == [f"globaltx-xid={transaction.xid}"]


@pytest.mark.parametrize("path", ["/elsewhere", "/create", "/supports"])
async def test_a_request_that_takes_part_ties_its_trace(traces: Traces, path: str) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK), traces=traces) as scene:
        await scene.ask(request(None, PARENT, f"baggage: a=1,globaltx-xid={XID}", path=path))
        assert traces.xid_of(TRACE) == XID
    assert trace_of(seen[0]) == TRACE


@pytest.mark.parametrize("path", ["/accounts/7/debit", "/rooms/7/book"])
async def test_a_try_and_a_step_undo_their_statements_themselves(traces: Traces, path: str) -> None:
    async with staged(answering([], OK), traces=traces) as scene:
        await begun(scene)
        await scene.ask(request(XID, PARENT, path=path))
        assert traces.xid_of(TRACE) is None


@pytest.fixture
def of_calls() -> Traces:
    return Traces(time.monotonic, of_calls=True)


@pytest.mark.parametrize("path", ["/accounts/7/debit", "/rooms/7/book"])
@pytest.mark.parametrize("lines", [(), (PARENT,)])
async def test_a_guarded_call_owns_its_trace(of_calls: Traces, path: str, lines: tuple[str, ...]) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK), traces=of_calls) as scene:
        await begun(scene)
        await scene.ask(request(XID, *lines, path=path))
        assert await called(scene, Outcome.ROLLBACK) == 200
    assert len({trace_of(each) for each in seen}) == 2
    guards = [each.header("globaltx-guard")[0] for each in seen]
    assert [str(of_calls.call_of(trace_of(each))) for each in seen] == guards
    assert all(each.header("traceparent")[0].endswith("-01") for each in seen)


async def test_a_try_that_begins_its_transaction_owns_its_trace_too(of_calls: Traces) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK), traces=of_calls) as scene:
        await scene.ask(request(None, PARENT))
    assert [str(of_calls.call_of(TRACE))] == seen[0].header("globaltx-guard")


async def test_of_a_try_that_was_not_traced_no_call_is(of_calls: Traces) -> None:
    """Its rows are not there, so that those of its cancel would say that there is nothing to cancel."""
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as before:
        await begun(before)
        await before.ask(request(XID, PARENT))
        (branch,) = await branches(before)
        assert branch.calls is not None
        assert not branch.calls.traced
    async with staged(answering(seen, OK), store=before.store, traces=of_calls) as scene:
        assert await called(scene, Outcome.ROLLBACK) == 200
    assert seen[1].header("traceparent") == []


@pytest.mark.parametrize("path", ["/new", "/alone"])
async def test_another_or_no_transaction_in_the_same_trace_goes_on_with_a_trace_of_its_own(
    traces: Traces, path: str
) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK), traces=traces) as scene:
        await scene.ask(request(XID, PARENT, path="/elsewhere"))
        await scene.ask(request(XID, PARENT, path=path))
        begun = [each.xid for each in scene.store.begun]
        assert traces.xid_of(TRACE) == XID
        assert traces.xid_of(trace_of(seen[1])) == (begun[0] if begun else None)
    assert trace_of(seen[1]) != TRACE


async def test_at_the_edge_a_trace_of_ours_is_no_way_in(traces: Traces) -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK), edge=True, traces=traces) as scene:
        await scene.ask(request(None, PARENT, path="/create"))
        await scene.ask(request(XID, PARENT, path="/elsewhere"))
        await scene.ask(request(XID, PARENT, path="/create"))
        first, second = (each.xid for each in scene.store.begun)
        found = [traces.xid_of(trace_of(each)) for each in seen]
    assert found == [first, None, second]
    assert len({trace_of(each) for each in seen}) == 3


async def test_where_traces_do_not_matter_they_are_left_alone() -> None:
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        await scene.ask(request(XID, PARENT, path="/elsewhere"))
        await scene.ask(request(None, path="/create"))
    assert seen[0].header("traceparent") == [PARENT.partition(": ")[2]]
    assert seen[1].header("traceparent") == []
