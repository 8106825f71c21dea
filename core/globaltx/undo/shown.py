"""What a person is shown of a row in conflict, with the values that a policy hides left out.

A pattern is ``table.column``, each part a name or ``*``; case makes no difference. What is hidden
is hidden in everything that is made from a `RowConflict`: resources, Events, logs, the command line.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from globaltx.transaction.conflict import (
    COLUMNS_SHOWN_MAX,
    KEY_LENGTH_MAX,
    NO_ROW,
    PROBLEM_LENGTH_MAX,
    VALUE_LENGTH_MAX,
    ColumnConflict,
    RowConflict,
)
from globaltx.undo import values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.undo.compensate import Record
    from globaltx.undo.shape import TableShape
    from globaltx.undo.values import Image, JsonValue

CHANGED = "was changed by somebody else and was left alone"
MASKED = "(masked)"
_NOT_RECORDED = "(not recorded)"
_ROW_DIGITS = 10
_TOLD_MAX = 200
_TOLD_VALUE_MAX = 50


class Masks:
    """Which columns' values nobody is shown."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = tuple(tuple(each.casefold().split(".", 1)) for each in patterns)

    def hides(self, table: str, column: str) -> bool:
        """Whether the values of a column are hidden."""
        return any(
            of in {"*", table.casefold()} and name in {"*", column.casefold()} for of, name in self._patterns
        )

    def touches(self, table: str) -> bool:
        """Whether some column of the table may be hidden, so that its keys and errors are not quoted."""
        return any(of in {"*", table.casefold()} for of, _ in self._patterns)


def row_id(table_name: bytes, made: str) -> str:
    """Name an undo record by when it was ``made``: the same at every look, and silent about its values."""
    return hashlib.sha256(table_name + b"\0" + made.encode()).hexdigest()[:_ROW_DIGITS]


def row_conflict(
    shape: TableShape, record: Record, current: Image | None, masks: Masks, problem: str = CHANGED
) -> RowConflict:
    """Show a row that was left alone: what it was, what the transaction made of it, what it is."""
    images = (record.before, record.after, current)
    names = [each.name for each in shape.columns if _differ(each.name, images)]
    columns = tuple(
        ColumnConflict(name, *_texts(name, images, hidden=masks.hides(shape.name, name)))
        for name in names[:COLUMNS_SHOWN_MAX]
    )
    key = _cut(_key(shape, record, masks), KEY_LENGTH_MAX)
    return RowConflict(record.row, shape.name, key, _cut(problem, PROBLEM_LENGTH_MAX), columns)


def unread_conflict(table: str, row: str, row_key: bytes, masks: Masks, problem: str) -> RowConflict:
    """Show a row of which no more is known than its record's key."""
    key = MASKED if masks.touches(table) else _cut(repr(row_key), KEY_LENGTH_MAX)
    return RowConflict(row, table, key, _cut(problem, PROBLEM_LENGTH_MAX))


def sentence(conflict: RowConflict) -> str:
    """Tell a row's conflict in one sentence."""
    told = f"{conflict.table} {conflict.key} {conflict.problem}"
    if not conflict.columns:
        return told
    shown = {
        word: _told([(each.name, getattr(each, field)) for each in conflict.columns])
        for word, field in (("before", "before"), ("after", "after"), ("now", "current"))
    }
    return f"{told}: " + ", ".join(f"{word} {text}" for word, text in shown.items())


def _told(pairs: list[tuple[str, str]]) -> str:
    if all(text == NO_ROW for _, text in pairs):
        return NO_ROW
    return _cut(", ".join(f"{name}={_cut(text, _TOLD_VALUE_MAX)}" for name, text in pairs), _TOLD_MAX)


def _differ(name: str, images: tuple[Image | None, ...]) -> bool:
    """Whether the images that there are disagree about a column; a single one is shown whole."""
    there = [image for image in images if image is not None]
    if not any(name in image for image in there):
        return False
    first = _only(there[0], name)
    return len(there) == 1 or not all(values.same(first, _only(image, name)) for image in there[1:])


def _only(image: Image, name: str) -> Image:
    return {name: image[name]} if name in image else {}


def _texts(name: str, images: tuple[Image | None, ...], *, hidden: bool) -> list[str]:
    """Before, after and now as texts; of a hidden value only whether it is one of those before it."""
    texts = [_text(image, name) for image in images]
    if not hidden:
        return [_cut(text, VALUE_LENGTH_MAX) for text in texts]
    before, after, current = images
    shown = [text if text in {NO_ROW, _NOT_RECORDED} else MASKED for text in texts]
    if current is not None and shown[2] == MASKED:
        for image, word in ((before, "before"), (after, "after")):
            if image is not None and values.same(_only(image, name), _only(current, name)):
                shown[2] = f"(masked, as {word})"
    return shown


def _text(image: Image | None, name: str) -> str:
    if image is None:
        return NO_ROW
    return _shown(image[name]) if name in image else _NOT_RECORDED


def _shown(value: JsonValue) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, values.Number) else repr(value)


def _key(shape: TableShape, record: Record, masks: Masks) -> str:
    image = record.after or record.before or {}
    return ", ".join(
        f"{name}={MASKED if masks.hides(shape.name, name) else _cut(_text(image, name), _TOLD_VALUE_MAX)}"
        for name in shape.primary_key
    )


def _cut(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[: length_max - 3] + "..."
