"""What one local transaction has changed so far, with its savepoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.undo.plan import UndoRecord


class Ledger:
    """The undo records of an open local transaction, oldest first; cleared by its end."""

    def __init__(self) -> None:
        self._records: list[UndoRecord] = []
        self._savepoints: dict[str, int] = {}

    @property
    def records(self) -> tuple[UndoRecord, ...]:
        """All records, oldest first."""
        return tuple(self._records)

    def add(self, records: Iterable[UndoRecord]) -> None:
        """Keep the records of a statement that the server has answered with OK."""
        self._records.extend(records)

    def savepoint(self, name: str) -> None:
        """SAVEPOINT: a name used again moves to the present."""
        self._savepoints.pop(name.casefold(), None)
        self._savepoints[name.casefold()] = len(self._records)

    def rollback_to(self, name: str) -> None:
        """ROLLBACK TO: forget what came after it; later savepoints go, this one stays.

        A name that is not known here (the server has answered with OK) was set before the first
        record, so all of them came after it.
        """
        mark = self._savepoints.get(name.casefold())
        if mark is None:
            self.clear()
            return
        del self._records[mark:]
        self._drop_after(name.casefold())

    def release(self, name: str) -> None:
        """RELEASE SAVEPOINT: it and the later ones go, the records stay."""
        if name.casefold() in self._savepoints:
            self._drop_after(name.casefold())
            del self._savepoints[name.casefold()]

    def clear(self) -> None:
        """COMMIT or ROLLBACK."""
        self._records.clear()
        self._savepoints.clear()

    def _drop_after(self, name: str) -> None:
        names = list(self._savepoints)
        for later in names[names.index(name) + 1 :]:
            del self._savepoints[later]
