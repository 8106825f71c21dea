"""``resolve``: append a person's decision about rows in conflict to their branch.

The decision is data: this command writes it down and waits a while to see what becomes of it. The
app's leading sidecar carries it out. Who decides is asked of the API server, which compares it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from globaltx.manifest.conflicts import resolution_spec
from globaltx.transaction.conflict import Remedy, Resolution
from globaltx.transaction.states import ENDS, State
from globaltx_cli.cluster import ChangedMeanwhileError
from globaltx_cli.conflicts import in_conflict, label, rows
from globaltx_cli.errors import CliError
from globaltx_cli.transactions import named

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from globaltx_cli.cluster import Cluster

Resource = dict[str, Any]

_TRIES_MAX = 10
_LOOK_SECONDS = 0.5


def resolve(arguments: argparse.Namespace, connect: Callable[[str | None], Cluster]) -> int:
    """Decide; 0 if it was carried out, or was not to be waited for."""
    namespace, name = named(arguments.xid, arguments.namespace)
    cluster = connect(namespace)
    person = cluster.user()
    for _ in range(_TRIES_MAX):
        branch = chosen(cluster.branches(name), arguments)
        resolution = decision(branch, arguments, person, datetime.now(UTC))
        try:
            cluster.append_resolution(branch, resolution_spec(resolution))
        except ChangedMeanwhileError:
            continue  # somebody, or the sidecar, was faster: look again whether it still holds
        print(f"{label(branch)}: {resolution}")
        return _waited(cluster, name, branch, resolution, arguments.wait) if arguments.wait else 0
    message = f"the branch {branch['metadata']['name']} changes all the time; try again"
    raise CliError(message)


def chosen(branches: Sequence[Resource], arguments: argparse.Namespace) -> Resource:
    """Find the one branch in Conflict that is meant.

    Raises:
        CliError: there is none, or there are several.
    """
    wanted = arguments.branch
    named_so = [each for each in branches if wanted in {None, each["metadata"]["name"], label(each)}]
    if not named_so:
        there = ", ".join(map(label, branches)) or "it never was, or it ended and was removed after its TTL"
        message = f"{arguments.xid} has no branch{f' {wanted}' if wanted else ''}: {there}"
        raise CliError(message)
    open_ones = [each for each in named_so if in_conflict(each)]
    if not open_ones:
        states = ", ".join(f"{label(each)} is {_state(each)}" for each in named_so)
        message = f"nothing of {arguments.xid} is in Conflict, so there is nothing to resolve: {states}"
        raise CliError(message)
    fitting = open_ones if wanted else [each for each in open_ones if _rows(each, arguments)] or open_ones
    if len(fitting) > 1:
        message = (
            f"several branches are in Conflict; choose one with --branch: {', '.join(map(label, fitting))}"
        )
        raise CliError(message)
    return fitting[0]


def decision(branch: Resource, arguments: argparse.Namespace, person: str, now: datetime) -> Resolution:
    """Write down what the line says about a branch.

    Raises:
        CliError: the row that is meant is not there, or is not the only one.
    """
    earlier = [each["number"] for each in branch["spec"].get("resolutions") or ()]
    table, row = _target(branch, arguments)
    return Resolution(
        number=max(earlier, default=0) + 1,
        action=Remedy(arguments.action),
        why=arguments.why,
        by=person,
        at=now,
        table=table,
        row=row,
    )


def _target(branch: Resource, arguments: argparse.Namespace) -> tuple[str, str]:
    """The table and the row that are meant; empty: all."""
    if not (arguments.table or arguments.key or arguments.row):
        return "", ""
    found = _rows(branch, arguments)
    if not found:
        there = "; ".join(f"{each['table']} {each['key']} (row {each['row']})" for each in rows(branch))
        message = f"{label(branch)} shows no such row in conflict; it shows: {there or 'none'}"
        raise CliError(message)
    if not (arguments.key or arguments.row):
        return found[0]["table"], ""
    if len(found) > 1:
        names = ", ".join(f"{each['table']} {each['key']} (row {each['row']})" for each in found)
        message = f"several rows are meant; choose one with --row: {names}"
        raise CliError(message)
    return found[0]["table"], found[0]["row"]


def _rows(branch: Resource, arguments: argparse.Namespace) -> list[Resource]:
    return [
        each
        for each in rows(branch)
        if arguments.table in {None, each["table"]}
        and arguments.row in {None, each["row"]}
        and arguments.key in {None, each["key"], *_value(each["key"])}
    ]


def _value(key: str) -> tuple[str, ...]:
    """The value alone of a key of one column, with and without its quotes."""
    _, _, value = key.partition("=")
    return (value, value[1:-1]) if value[:1] in {"'", '"'} else (value,)


def _waited(cluster: Cluster, name: str, branch: Resource, resolution: Resolution, seconds: float) -> int:
    """Look until the decision was carried out; tell what became of it."""
    until = time.monotonic() + seconds
    while True:
        found = _same(cluster.branches(name), branch)
        status = found.get("status") or {}
        done = {each["number"]: each.get("rows", 0) for each in status.get("resolutions") or ()}
        if _state(found) in ENDS:
            print(f"{label(branch)} is {_state(found)}: {status.get('reason', '')}")
            return 0
        if resolution.number in done:
            print(f"rows done: {done[resolution.number]}; still in Conflict: {status.get('message', '')}")
            return 0 if done[resolution.number] else 1
        if time.monotonic() > until:
            app = branch["spec"]["app"]
            print(f"It is recorded, and was not carried out within {seconds:g} s: does a pod of {app} run?")
            return 1
        time.sleep(_LOOK_SECONDS)


def _same(branches: Sequence[Resource], branch: Resource) -> Resource:
    """The branch as it is now; as it was, with its end, if it is gone already."""
    name = branch["metadata"]["name"]
    gone = {**branch, "status": {"state": str(State.ROLLED_BACK), "reason": "it ended and was removed"}}
    return next((each for each in branches if each["metadata"]["name"] == name), gone)


def _state(branch: Resource) -> str:
    return str((branch.get("status") or {}).get("state", State.ACTIVE))
