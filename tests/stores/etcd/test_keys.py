from __future__ import annotations

import pytest

from globaltx.stores.etcd.keys import BRANCH, Keys, is_step_let_through, read_branch, write_branch
from globaltx.transaction.calls import Calls, Request
from globaltx.transaction.model import Branch, BranchId, Mode
from globaltx.transaction.xid import Xid

XID = Xid("shop", "01")
TRICKY = Calls("", "/x", Request(body=b"1", headers=(("x", ',"started":true}'),)), by=',"started":true}')


@pytest.mark.parametrize("calls", [None, Calls("", "/compensate"), TRICKY])
@pytest.mark.parametrize("mode", [Mode.SAGA, Mode.TCC])
@pytest.mark.parametrize("started", [False, True])
def test_a_step_that_is_let_through_is_seen_without_reading_it(
    calls: Calls | None, mode: Mode, *, started: bool
) -> None:
    branch = Branch(BranchId(XID, "flight", "step"), mode, calls=calls, started=started)
    written = write_branch(branch)
    assert read_branch(branch.id, written) == branch
    assert is_step_let_through(written) == (started and mode is Mode.SAGA)


@pytest.mark.parametrize(
    ("resource", "key"),
    [
        ("step.0f~_-", "step.0f~_-"),
        ("", ""),
        ("a/b%c d", "a%2Fb%25c%20d"),
        ("Ärger", "%C3%84rger"),
        ("x\n", "x%0A"),
    ],
)
def test_what_no_part_of_a_key_can_hold_is_quoted(resource: str, key: str) -> None:
    branch = BranchId(XID, "app", resource)
    expected = f"/globaltx/shop/tx/01/branch/app/{key}"
    assert Keys("/globaltx/").of_branch(branch, BRANCH) == expected
    assert Keys("/globaltx/").each_of_branch(branch, BRANCH, BRANCH) == [expected] * 2
