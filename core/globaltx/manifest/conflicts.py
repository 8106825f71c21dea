"""Rows in conflict and what people have decided about them: fields of a Branch <-> model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.manifest.times import format_time, parse_time
from globaltx.transaction.conflict import CarriedOut, Remedy, Resolution

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from globaltx.transaction.conflict import RowConflict
    from globaltx.transaction.model import Settlement


def conflicts_status(settlement: Settlement) -> dict[str, Any]:
    """Write what a settlement says of rows and decisions as fields of ``status``; empty ones are left out."""
    status: dict[str, Any] = {}
    if settlement.conflicts:
        status["conflictRows"] = settlement.conflicts_total
        status["conflicts"] = [_row(each) for each in settlement.conflicts]
    if settlement.carried_out:
        status["resolutions"] = write_carried_out(settlement.carried_out)
    return status


def write_carried_out(entries: Iterable[CarriedOut]) -> list[dict[str, Any]]:
    """Write ``status.resolutions``."""
    return [_carried_out(each) for each in entries]


def _row(conflict: RowConflict) -> dict[str, Any]:
    columns = [
        {"name": each.name, "before": each.before, "after": each.after, "current": each.current}
        for each in conflict.columns
    ]
    shown = {"row": conflict.row, "table": conflict.table, "key": conflict.key, "problem": conflict.problem}
    return {**shown, "columns": columns} if columns else shown


def _carried_out(entry: CarriedOut) -> dict[str, Any]:
    at = {} if entry.at is None else {"carriedOutAt": format_time(entry.at)}
    return {"number": entry.number, "rows": entry.rows, **at}


def resolution_spec(resolution: Resolution) -> dict[str, Any]:
    """Write an entry of ``spec.resolutions``."""
    entry: dict[str, Any] = {
        "number": resolution.number,
        "action": str(resolution.action),
        "why": resolution.why,
        "by": resolution.by,
    }
    if resolution.at is not None:
        entry["at"] = format_time(resolution.at)
    narrower = {"table": resolution.table, "row": resolution.row}
    return entry | {name: value for name, value in narrower.items() if value}


def read_resolutions(spec: Mapping[str, Any]) -> tuple[Resolution, ...]:
    """Read ``spec.resolutions``, in the order of their numbers.

    Raises:
        KeyError, ValueError: a field is missing or is not what the schema says.
    """
    found = [
        Resolution(
            number=each["number"],
            action=Remedy(each["action"]),
            why=each["why"],
            by=each["by"],
            at=parse_time(each.get("at")),
            table=each.get("table", ""),
            row=each.get("row", ""),
        )
        for each in spec.get("resolutions", ())
    ]
    return tuple(sorted(found, key=lambda each: each.number))


def read_carried_out(status: Mapping[str, Any]) -> tuple[CarriedOut, ...]:
    """Read ``status.resolutions``.

    Raises:
        KeyError, ValueError: a field is missing or is not what the schema says.
    """
    return tuple(
        CarriedOut(each["number"], each.get("rows", 0), parse_time(each.get("carriedOutAt")))
        for each in status.get("resolutions", ())
    )
