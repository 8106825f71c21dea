"""The short way of the road against the long one: the same packets pass, and leave the same behind."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from globaltx.transaction.xid import Xid
from globaltx.undo.sqlmode import SqlMode
from globaltx_sidecar.mysql.local import Settings, Standing
from globaltx_sidecar.mysql.packets import Command, frame
from globaltx_sidecar.mysql.results import Follower
from globaltx_sidecar.mysql.road import Road

WORDS = [
    "select ",
    "SELECT",
    "Set ",
    "names",
    "insert into t",
    "use x",
    "call p()",
    "commit",
    "begin",
    " ",
    ";",
]
TRACE, OTHER = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"
PARENTS = [f" /*traceparent='00-{each}-b7ad6b7169203331-01'*/" for each in (TRACE, OTHER)]
MARKS = [
    *PARENTS,
    "/*+ ",
    "*/",
    "xid",
    "XID(a)",
    "@GlobalTX_xid = 'a'",
    "GlobalLock()",
    "isolation level",
    "x",
    "\n",
]
PIECES = st.sampled_from([*WORDS, *MARKS])
TEXTS = st.lists(PIECES, max_size=6).map("".join)


class Traces:
    def xid_of(self, trace: str) -> Xid | None:
        return Xid("shop", "a") if trace == TRACE else None

    def call_of(self, trace: str) -> None:
        """There are no calls."""


def made(
    *, multi_statements: bool = False, wrote: bool = False, guards: bool = False, traced: bool = False
) -> tuple[Road, Standing]:
    standing = Standing("items", "shop", 1.0, Follower(deprecate_eof=False))
    standing.multi_statements = multi_statements
    standing.wrote_unhinted = wrote
    standing.guards = guards
    standing.settings = Settings("shop", SqlMode())
    standing.traces = Traces() if traced else None
    return Road(standing), standing


@example(text="select GlobalLock()", multi_statements=False, wrote=False, guards=False, traced=False)
@example(text="select /*+ XID(a) */", multi_statements=False, wrote=False, guards=False, traced=False)
@example(text="select 1;", multi_statements=True, wrote=False, guards=False, traced=False)
@example(text="select 1" + PARENTS[0], multi_statements=False, wrote=False, guards=False, traced=True)
@example(text="select 1" + PARENTS[1], multi_statements=False, wrote=False, guards=False, traced=True)
@given(
    text=TEXTS,
    multi_statements=st.booleans(),
    wrote=st.booleans(),
    guards=st.booleans(),
    traced=st.booleans(),
)
def test_what_is_taken_at_once_passes_in_the_same_way(
    *, text: str, multi_statements: bool, wrote: bool, guards: bool, traced: bool
) -> None:
    packet = frame(bytes((Command.QUERY,)) + text.encode(), 0)
    short, seen_short = made(multi_statements=multi_statements, wrote=wrote, guards=guards, traced=traced)
    long, seen_long = made(multi_statements=multi_statements, wrote=wrote, guards=guards, traced=traced)
    assert short.takes(packet) is long.passes(packet)
    assert _left_behind(seen_short) == _left_behind(seen_long)


def _left_behind(standing: Standing) -> tuple[object, ...]:
    told = (standing.settings, standing.wrote_unhinted, standing.isolation_doubtful)
    return (*told, standing.follower.in_flight)


@pytest.mark.parametrize(
    "data", [b"", b"\1\0\0", b"\0\0\0\0", b"\2\0\0\0\x0e", b"\1\0\0\0\x0e\x0e", frame(b"\x0e", 0) * 2]
)
def test_what_is_not_one_packet_is_not_taken(data: bytes) -> None:
    road, standing = made()
    assert not road.takes(data)
    assert standing.follower.in_flight == 0


@pytest.mark.parametrize("command", [Command.QUERY, Command.STMT_PREPARE])
@pytest.mark.parametrize(
    ("parent", "traced", "passes"), [(0, True, False), (1, True, True), (0, False, True)]
)
def test_only_a_trace_that_belongs_to_a_transaction_is_looked_into(
    command: Command, parent: int, *, traced: bool, passes: bool
) -> None:
    packet = frame(bytes((command,)) + b"UPDATE t SET a = 1" + PARENTS[parent].upper().encode(), 0)
    road, _ = made(traced=traced)
    assert road.takes(packet) is passes
