from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from globaltx.undo.ledger import Ledger
from globaltx.undo.locks import INSERT_BYTES_MAX
from globaltx.undo.plan import UndoRecord
from globaltx.undo.refusal import RefusedError
from tests.undo.shapes import STOCK

names = st.sampled_from(["a", "A", "b", "c"])


class AgainstADumbTwin(RuleBasedStateMachine):
    """The twin keeps a whole copy of the records at each savepoint."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.records: list[UndoRecord] = []
        self.copies: list[tuple[str, list[UndoRecord]]] = []

    def _find(self, name: str) -> int | None:
        found = [index for index, (known, _) in enumerate(self.copies) if known == name.lower()]
        return found[0] if found else None

    @rule(count=st.integers(0, 3))
    def add(self, count: int) -> None:
        new = [
            UndoRecord(STOCK, f"'{len(self.records) + index}'", ("1",), None, ()) for index in range(count)
        ]
        self.ledger.add(new)
        self.records += new

    @rule(name=names)
    def savepoint(self, name: str) -> None:
        self.ledger.savepoint(name)
        self.copies = [copy for copy in self.copies if copy[0] != name.lower()]
        self.copies.append((name.lower(), list(self.records)))

    @rule(name=names)
    def rollback_to(self, name: str) -> None:
        self.ledger.rollback_to(name)
        found = self._find(name)
        if found is None:  # set before the first record
            self.records, self.copies = [], []
        else:
            self.records = list(self.copies[found][1])
            del self.copies[found + 1 :]

    @rule(name=names)
    def release(self, name: str) -> None:
        self.ledger.release(name)
        found = self._find(name)
        if found is not None:
            del self.copies[found:]

    @rule()
    def clear(self) -> None:
        self.ledger.clear()
        self.records, self.copies = [], []

    @invariant()
    def same(self) -> None:
        assert list(self.ledger.records) == self.records
        self.ledger.check((), len(self.records))
        with pytest.raises(RefusedError, match="maxRowsPerTransaction"):
            self.ledger.check((), len(self.records) - 1)


TestLedger = AgainstADumbTwin.TestCase


def _of(size: int) -> list[UndoRecord]:
    return [UndoRecord(STOCK, "'1'", ("1",), b"x" * size, ())]


def test_what_no_commit_can_carry_is_refused_at_once() -> None:
    ledger = Ledger()
    ledger.add(_of(INSERT_BYTES_MAX - 1))
    ledger.check(_of(1), 2)
    ledger.savepoint("a")
    ledger.add(_of(1))
    with pytest.raises(RefusedError, match="before images"):
        ledger.check(_of(1), 3)
    ledger.rollback_to("a")
    ledger.check(_of(1), 2)
    ledger.clear()
    ledger.check(_of(INSERT_BYTES_MAX), 1)


def test_a_statement_with_more_rows_than_the_limit_is_refused() -> None:
    ledger = Ledger()
    ledger.check(_of(1) * 3, 3)
    with pytest.raises(RefusedError, match=r"changes 4 rows .* at most 3 "):
        ledger.check(_of(1) * 4, 3)
