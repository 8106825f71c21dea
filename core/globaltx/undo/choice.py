"""The rows that an UPDATE or a DELETE of one table chooses: the image of them, the statement for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo import image, record
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.forms import Answers, Delete, Update
    from globaltx.undo.literal import Value
    from globaltx.undo.shape import Column, TableShape
    from globaltx.undo.sqlmode import SqlMode


@dataclass(frozen=True, slots=True)
class Choice:
    """A change of one table with its parameters."""

    change: Update | Delete
    shape: TableShape
    mode: SqlMode
    parameters: tuple[Value, ...]

    @property
    def answers(self) -> Answers:
        """How long the choice holds."""
        return image.answers(self.change, self.shape)

    def image(self, columns: Sequence[Column], more: Sequence[str] = (), *, noted: bool = False) -> bytes:
        """Write the SELECT that locks the rows and takes their images; see `image.before`."""
        change, parameters = self.change, self.parameters
        return self.mode.encode(image.before(change, self.shape, columns, parameters, more, noted=noted))

    def narrowed(self, rows: Sequence[Sequence[bytes | None]]) -> bytes:
        """Write the statement for the rows that the image has found, and no others.

        Raises:
            RowsMissedError: an image came back empty.
            RefusedError: there are too many of them, or the session has spoilt their images.
        """
        record.check_count(len(rows))
        found = [record.imaged(self.shape, row, ())[0].key for row in rows]
        return self.mode.encode(image.narrowed(self.change, self.shape, self.parameters, found))
