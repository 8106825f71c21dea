from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from multidict import CIMultiDict

from globaltx.modes.guard_row import Guarded
from globaltx.modes.tcc import Operation
from globaltx.transaction.xid import Xid
from globaltx_sidecar.traces import LINGER_SECONDS, OVER_MAX, Owner, Parent, Traces, read_parent

ONE, OTHER = Xid("shop", "one"), Xid("shop", "other")
TRY, CONFIRM = (Guarded(ONE, "debit.1", each) for each in (Operation.TRY, Operation.CONFIRM))
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@dataclass
class Pod:
    """The traces of a pod, and its clock."""

    now: float = 0.0
    traces: Traces = field(init=False)

    def __post_init__(self) -> None:
        self.traces = Traces(lambda: self.now, of_calls=True)

    def enter(self, stack: ExitStack, xid: Owner, trace: str = TRACE, flags: int = 0) -> str:
        """Let a request in; the trace that it goes on with."""
        headers = CIMultiDict(traceparent=f"00-{trace}-{SPAN}-{flags:02x}", tracestate="a=1")
        stack.enter_context(self.traces.entered(headers, xid))
        parent = read_parent(headers)
        assert parent is not None
        assert ("tracestate" in headers) is (parent.trace == trace)
        return parent.trace


@pytest.fixture
def pod() -> Pod:
    return Pod()


def test_a_trace_belongs_to_the_xid_of_its_request(pod: Pod) -> None:
    with ExitStack() as stack:
        assert pod.enter(stack, ONE) == TRACE
        assert pod.traces.xid_of(TRACE) == ONE
        assert pod.enter(stack, ONE) == TRACE  # another request of the same transaction


def test_without_a_trace_a_request_with_an_xid_gets_one_that_is_sampled(pod: Pod) -> None:
    headers: CIMultiDict[str] = CIMultiDict()
    with pod.traces.entered(headers, ONE):
        parent = read_parent(headers)
        assert parent is not None
        assert (pod.traces.xid_of(parent.trace), parent.flags) == (ONE, 1)


def test_a_request_without_either_is_left_alone(pod: Pod) -> None:
    headers: CIMultiDict[str] = CIMultiDict()
    with pod.traces.entered(headers, None):
        assert not headers


def test_with_an_xid_what_was_not_sampled_is_now(pod: Pod) -> None:
    for xid, flags in ((None, 0), (ONE, 1)):
        headers = CIMultiDict(traceparent=f"00-{TRACE}-{SPAN}-00")
        with pod.traces.entered(headers, xid):
            parent = read_parent(headers)
            assert parent is not None
            assert parent.flags == flags
        pod.now += LINGER_SECONDS


@pytest.mark.parametrize(("first", "second"), [(ONE, OTHER), (ONE, None), (None, OTHER)])
@pytest.mark.parametrize("over", [False, True])
def test_two_owners_never_share_a_trace(
    pod: Pod, first: Xid | None, second: Xid | None, *, over: bool
) -> None:
    with ExitStack() as stack:
        assert pod.enter(stack, first) == TRACE
        if over:
            stack.close()
        fresh = pod.enter(stack, second)
        assert fresh != TRACE
        assert (pod.traces.xid_of(TRACE), pod.traces.xid_of(fresh)) == (first, second)


def test_a_trace_keeps_its_owner_while_a_request_of_it_is_under_way_and_some_time_after(pod: Pod) -> None:
    with ExitStack() as stack:
        pod.enter(stack, ONE)
        with ExitStack() as second:
            pod.enter(second, ONE)
        pod.now += 10 * LINGER_SECONDS
        assert pod.traces.xid_of(TRACE) == ONE
    pod.now += LINGER_SECONDS - 1
    assert pod.traces.xid_of(TRACE) == ONE
    pod.now += 1
    assert pod.traces.xid_of(TRACE) is None
    with ExitStack() as stack:
        assert pod.enter(stack, OTHER) == TRACE  # nobody's again
        assert pod.traces.xid_of(TRACE) == OTHER


def test_of_too_many_the_oldest_that_are_over_go_first(pod: Pod) -> None:
    with ExitStack() as stack:
        pod.enter(stack, ONE)
        for number in range(1, OVER_MAX + 3):
            with ExitStack() as short:
                pod.enter(short, OTHER, f"{number:032x}")
        pod.enter(stack, OTHER, "f" * 32)
        assert pod.traces.xid_of(TRACE) == ONE
        assert pod.traces.xid_of(f"{1:032x}") is None
        assert pod.traces.xid_of(f"{OVER_MAX + 2:032x}") == OTHER


@pytest.mark.parametrize(
    ("lines", "parent"),
    [
        ([f"00-{TRACE}-{SPAN}-01"], Parent(TRACE, SPAN, 1)),
        ([f" 01-{TRACE}-{SPAN}-03-more"], Parent(TRACE, SPAN, 3)),
        ([f"00-{TRACE}-{SPAN}-01-more"], None),
        ([f"ff-{TRACE}-{SPAN}-01"], None),
        ([f"00-{'0' * 32}-{SPAN}-01"], None),
        ([f"00-{TRACE}-{'0' * 16}-01"], None),
        ([f"00-{TRACE.upper()}-{SPAN}-01"], None),
        ([f"00-{TRACE}-{SPAN}-01"] * 2, None),
        (["x"], None),
        ([], None),
    ],
)
def test_only_what_the_standard_says_is_a_trace(lines: list[str], parent: Parent | None) -> None:
    assert read_parent(CIMultiDict([("traceparent", line) for line in lines])) == parent


def test_each_call_owns_its_trace_alone(pod: Pod) -> None:
    """Also against its own transaction, whose other statements are undone by globaltx."""
    with ExitStack() as stack:
        assert pod.enter(stack, TRY) == TRACE
        assert (pod.traces.call_of(TRACE), pod.traces.xid_of(TRACE)) == (TRY, None)
        others = {pod.enter(stack, each) for each in (CONFIRM, ONE, None)}
        assert TRACE not in others
        assert {pod.traces.call_of(each) for each in others} == {CONFIRM, None}
        assert pod.enter(stack, TRY) == TRACE  # a repeat
    pod.now += LINGER_SECONDS
    assert pod.traces.call_of(TRACE) is None


def test_a_call_without_a_trace_gets_one_that_is_sampled(pod: Pod) -> None:
    headers: CIMultiDict[str] = CIMultiDict()
    with pod.traces.entered(headers, CONFIRM):
        parent = read_parent(headers)
        assert parent is not None
        assert (pod.traces.call_of(parent.trace), parent.flags) == (CONFIRM, 1)


def test_without_guard_rows_calls_are_requests_of_no_transaction() -> None:
    traces, headers = Traces(lambda: 0.0), CIMultiDict(traceparent=f"00-{TRACE}-{SPAN}-00")
    with traces.entered(headers, TRY):
        assert headers["traceparent"] == f"00-{TRACE}-{SPAN}-00"
        assert traces.call_of(TRACE) is None
    bare: CIMultiDict[str] = CIMultiDict()
    with traces.entered(bare, TRY):
        assert not bare
