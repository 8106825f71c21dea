"""Rows in conflict as a person reads them, and what was decided about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.transaction.states import State
from globaltx_cli.table import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Resource = dict[str, Any]


def describe(xid: str, branches: Sequence[Resource]) -> str:
    """Tell the conflicts and decisions of a transaction's branches; empty if there are none."""
    parts = [part for branch in branches for part in (*_conflict(branch), *_decisions(branch))]
    if any(in_conflict(each) for each in branches):
        parts.append(
            f"To decide: kubectl globaltx resolve {xid} --keep|--restore|--retry [--row ROW] --why '...'\n"
            "keep: the row stays as it is now; restore: back to before, whatever stands there; "
            "retry: compare it again"
        )
    return "\n\n".join(parts)


def in_conflict(branch: Resource) -> bool:
    """Whether a branch needs a person."""
    return bool((branch.get("status") or {}).get("state") == State.CONFLICT)


def label(branch: Resource) -> str:
    """Name a branch by its app and resource."""
    return f"{branch['spec']['app']}/{branch['spec']['resource']}"


def rows(branch: Resource) -> list[Resource]:
    """The rows in conflict that are shown."""
    return list((branch.get("status") or {}).get("conflicts") or ())


def _conflict(branch: Resource) -> Iterator[str]:
    if not in_conflict(branch):
        return
    shown, status = rows(branch), branch["status"]
    if not shown:
        return
    total = status.get("conflictRows", len(shown))
    yield f"Conflict in {label(branch)} (branch {branch['metadata']['name']}), rows: {total}"
    yield from (_row(each) for each in shown)
    if total > len(shown):
        yield f"... and {total - len(shown)} more"


def _row(row: Resource) -> str:
    head = f"{row['table']} {row['key']}   (row {row['row']}) {row.get('problem', '')}".rstrip()
    columns = [
        [each.get(part, "") for part in ("name", "before", "after", "current")]
        for each in row.get("columns", ())
    ]
    if not columns:
        return head
    diff = table(("COLUMN", "BEFORE", "AFTER", "NOW"), columns)
    return "\n".join([head, *(f"  {line}" for line in diff.splitlines())])


def _decisions(branch: Resource) -> Iterator[str]:
    made = branch["spec"].get("resolutions") or ()
    if not made:
        return
    done = {each["number"]: each for each in (branch.get("status") or {}).get("resolutions") or ()}
    lines = [
        (
            f"#{each['number']}",
            each["action"],
            " ".join(part for part in (each.get("table", ""), each.get("row", "")) if part) or "all rows",
            each["by"],
            each.get("at", ""),
            str(done[each["number"]].get("rows", 0)) if each["number"] in done else "",
            each["why"],
        )
        for each in made
    ]
    head = ("DECISION", "ACTION", "ABOUT", "BY", "AT", "ROWS DONE", "WHY")
    yield f"Decisions about {label(branch)}\n{table(head, lines)}"
