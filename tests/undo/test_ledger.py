from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from globaltx.undo.ledger import Ledger
from globaltx.undo.plan import UndoRecord
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


TestLedger = AgainstADumbTwin.TestCase
