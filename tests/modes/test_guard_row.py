"""What a guard row is asked for by, and what its table's answer means."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.modes.guard_row import (
    DONE,
    TAKES_BACK,
    Finding,
    Guarded,
    InvalidGuardError,
    guard_insert,
    judge,
)
from globaltx.modes.tcc import Operation
from globaltx.transaction.model import BranchId
from globaltx.transaction.xid import Xid

XID = Xid("shop", "one")
BRANCH = BranchId(XID, "bank", "debit.1")


@pytest.mark.parametrize("operation", Operation)
def test_a_call_is_written_and_read(operation: Operation) -> None:
    call = Guarded.of(BRANCH, operation)
    assert str(call) == f"shop.one/{BRANCH.name}/{operation.value}"
    assert Guarded.parse(str(call)) == call


@given(st.text())
def test_any_other_text_is_refused_and_shown(text: str) -> None:
    with pytest.raises(InvalidGuardError, match="globaltx-guard"):
        Guarded.parse(text)


@pytest.mark.parametrize(
    "text",
    ["shop.one/b", "shop.one//try", "shop/b/try", "shop.one/b/undo", "shop.one/B/try", "shop.one/b/try/x"],
)
def test_what_is_nearly_one_is_none(text: str) -> None:
    with pytest.raises(InvalidGuardError):
        Guarded.parse(text)


def test_only_hexadecimal_literals_reach_the_server() -> None:
    text = guard_insert("a`b", "shop/'; DROP TABLE x", Guarded.of(BRANCH, Operation.CANCEL)).decode()
    assert text.startswith("INSERT IGNORE INTO `a``b`.globaltx_guard ")
    assert "DROP" not in text
    assert text.count("(X'") == 2


class Table:
    """The table as a set of rows: what `guard_insert` makes of it, and how it is judged."""

    def __init__(self) -> None:
        self.rows: dict[Operation, Operation] = {}

    def call(self, operation: Operation) -> Finding:
        first = TAKES_BACK.get(operation)
        wanted = [operation] if first is None else [first, operation]
        made_by = self.rows.get(operation)
        new = [each for each in wanted if each not in self.rows]
        self.rows |= dict.fromkeys(new, operation)
        return judge(Guarded.of(BRANCH, operation), len(new), None if made_by is None else made_by.encode())


@pytest.mark.parametrize(("first", "back"), [(first, back) for back, first in TAKES_BACK.items()])
def test_in_whatever_order_the_calls_come_each_works_once_and_nothing_is_taken_back_that_was_not_done(
    first: Operation, back: Operation
) -> None:
    for order in itertools.product([first, back], repeat=5):
        table = Table()
        worked = [operation for operation in order if table.call(operation) is Finding.FIRST]
        assert worked in ([], [first], [first, back]), order


def test_what_comes_late_is_no_success() -> None:
    assert frozenset({Finding.REPEATED, Finding.EMPTY}) == DONE
