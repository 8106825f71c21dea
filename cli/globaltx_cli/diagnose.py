"""``diagnose``: what every participant of a transaction says of its branch.

A participant whose reservations end by themselves has a path that tells how one stands. It is asked
through the API server's proxy to the pod, so with the rights of the person who asks, and nothing
listens for it anywhere. What other branches are is told as it is known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from globaltx.manifest.calls import read_calls
from globaltx.modes.tcd import STATE
from globaltx.transaction.states import State
from globaltx_cli.errors import CliError
from globaltx_cli.pods import Door, door_of
from globaltx_cli.table import fields, table
from globaltx_cli.transactions import named

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from globaltx.transaction.calls import Calls
    from globaltx_cli.cluster import Cluster

Resource = dict[str, Any]

_SHOWN_MAX = 100
"""How much of an answer that has no state in it is shown."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a participant answered (``status``, ``body``), or why it could not be asked (``error``)."""

    pod: str = ""
    status: int = 0
    body: str = ""
    error: str = ""

    @property
    def state(self) -> str:
        """The text ``state`` of a JSON object; empty if the answer is none."""
        try:
            told = json.loads(self.body)
        except ValueError:
            return ""
        state = told.get("state") if isinstance(told, dict) else None
        return state if isinstance(state, str) else ""


def diagnose(arguments: argparse.Namespace, connect: Callable[[str | None], Cluster]) -> int:
    """Ask all participants; 0 if each that can be asked has answered."""
    namespace, name = named(arguments.xid, arguments.namespace)
    cluster = connect(namespace)
    transaction, branches = cluster.transaction(name), cluster.branches(name)
    branches.sort(key=lambda each: (each["spec"]["app"], each["spec"]["resource"]))
    asked = any(_path(each) for each in branches)
    pods = cluster.pods() if asked else []
    said = [_ask(cluster, pods, each) for each in branches]
    if arguments.output == "json":
        print(json.dumps(_report(transaction, branches, said), indent=2))
    else:
        print(describe(transaction, branches, said))
    return int(any(each is not None and each.error for each in said))


def describe(transaction: Resource, branches: Sequence[Resource], said: Sequence[Said | None]) -> str:
    """Tell how the transaction and each branch stand, beside what the participants say."""
    status, spec = transaction.get("status") or {}, transaction["spec"]
    head = fields(
        [
            ("Transaction", _xid(transaction)),
            ("State", status.get("state", str(State.ACTIVE))),
            ("Outcome", spec.get("outcome", "")),
            ("Message", status.get("message", "")),
        ]
    )
    if not branches:
        return f"{head}\n\nNo branches: nothing was changed under this xid."
    rows = [
        (
            each["spec"]["app"],
            each["spec"]["resource"],
            each["spec"].get("mode", ""),
            _status(each).get("state", str(State.ACTIVE)),
            _shown(answer),
            _status(each).get("message", ""),
        )
        for each, answer in zip(branches, said, strict=True)
    ]
    return f"{head}\n\n{table(('APP', 'RESOURCE', 'MODE', 'STATE', 'SAYS', 'MESSAGE'), rows)}"


def _shown(said: Said | None) -> str:
    if said is None:
        return ""
    if said.error:
        return f"(not asked: {said.error})"
    text = said.state or said.body
    text = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
    return text if said.state else f"{said.status} {text}".rstrip()


def _ask(cluster: Cluster, pods: Sequence[Resource], branch: Resource) -> Said | None:
    """Ask the participant of a branch; None if its mode knows nothing to ask."""
    path = _path(branch)
    if not path:
        return None
    app = branch["spec"]["app"]
    door = door_of(pods, app)
    if door is None:
        return Said(error=f"no pod of {app} is ready")
    headers = {"globaltx-branch": branch["metadata"]["name"], "globaltx-operation": STATE}
    return _answered(cluster, door, path, headers | _of_grpc(branch))


def _of_grpc(branch: Resource) -> dict[str, str]:
    """What lets the sidecar pass the question on by gRPC, as the try came; nothing for one of HTTP."""
    calls = _calls(branch)
    if calls is None or not calls.request.grpc:
        return {}
    named = {name.lower(): value for name, value in calls.request.headers}
    return {"Content-Type": named["content-type"]}  # as the client itself spells what it adds


def _answered(cluster: Cluster, door: Door, path: str, headers: dict[str, str]) -> Said:
    try:
        status, body = cluster.ask_pod(door.pod, door.port, path, headers)
    except CliError as error:
        return Said(door.pod, error=str(error))
    return Said(door.pod, status, body)


def _path(branch: Resource) -> str:
    """The path that tells how a branch stands, with the query of its try; empty if there is none."""
    calls = _calls(branch)
    if calls is None or calls.reservation is None:
        return ""
    query = calls.request.query
    return f"{calls.reservation.state}?{query}" if query else calls.reservation.state


def _calls(branch: Resource) -> Calls | None:
    try:
        return read_calls(branch["spec"].get("calls"))
    except (KeyError, TypeError, ValueError) as error:
        message = f"Branch {branch['metadata']['name']} cannot be read: {error!r}"
        raise CliError(message) from error


def _report(transaction: Resource, branches: Sequence[Resource], said: Sequence[Said | None]) -> Resource:
    status, spec = transaction.get("status") or {}, transaction["spec"]
    return {
        "xid": _xid(transaction),
        "state": status.get("state", str(State.ACTIVE)),
        "outcome": spec.get("outcome"),
        "message": status.get("message", ""),
        "branches": [_branch(each, answer) for each, answer in zip(branches, said, strict=True)],
    }


def _branch(branch: Resource, said: Said | None) -> Resource:
    status = _status(branch)
    return {
        "name": branch["metadata"]["name"],
        "app": branch["spec"]["app"],
        "resource": branch["spec"]["resource"],
        "mode": branch["spec"].get("mode", ""),
        "state": status.get("state", str(State.ACTIVE)),
        "reason": status.get("reason", ""),
        "message": status.get("message", ""),
        "participant": said and _participant(said),
    }


def _participant(said: Said) -> Resource:
    if said.error:
        return {"pod": said.pod, "error": said.error}
    return {"pod": said.pod, "status": said.status, "state": said.state, "body": said.body}


def _status(branch: Resource) -> Resource:
    return branch.get("status") or {}


def _xid(transaction: Resource) -> str:
    return f"{transaction['metadata']['namespace']}.{transaction['metadata']['name']}"
