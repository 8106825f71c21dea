"""What one local transaction has changed so far, with its savepoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo.locks import INSERT_BYTES_MAX
from globaltx.undo.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from globaltx.undo.plan import UndoRecord


class Ledger:
    """The undo records of an open local transaction, oldest first; cleared by its end."""

    def __init__(self) -> None:
        self._records: list[UndoRecord] = []
        self._savepoints: dict[str, int] = {}
        self._image_bytes = 0

    @property
    def records(self) -> tuple[UndoRecord, ...]:
        """All records, oldest first."""
        return tuple(self._records)

    def check(self, records: Collection[UndoRecord], rows_max: int) -> None:
        """See that a statement's records may be added, before memory grows with what no COMMIT can carry.

        If not, the local transaction must be rolled back: the statement has run.

        Raises:
            RefusedError: there would be more than ``rows_max``, or too much for one packet.
        """
        rows = len(self._records) + len(records)
        if rows > rows_max:
            limit = f"{rows_max} (the datasource's maxRowsPerTransaction)"
            refuse(
                f"a local transaction that changes {rows} rows", f"it was rolled back; change at most {limit}"
            )
        image_bytes = self._image_bytes + _image_bytes(records)
        if image_bytes > INSERT_BYTES_MAX:
            what = f"a local transaction whose before images take {image_bytes} bytes"
            refuse(what, "it was rolled back; change fewer rows in one")

    def add(self, records: Collection[UndoRecord]) -> None:
        """Keep the records of a statement that the server has answered with OK."""
        self._records.extend(records)
        self._image_bytes += _image_bytes(records)

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
        self._image_bytes -= _image_bytes(self._records[mark:])
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
        self._image_bytes = 0
        self._savepoints.clear()

    def _drop_after(self, name: str) -> None:
        names = list(self._savepoints)
        for later in names[names.index(name) + 1 :]:
            del self._savepoints[later]


def _image_bytes(records: Iterable[UndoRecord]) -> int:
    return sum(len(record.before or b"") for record in records)
