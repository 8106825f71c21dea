"""``get`` and ``status``: transactions with their branches and reasons."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import SENTENCES, Reason
from globaltx.manifest.resources import CONDITION_SUCCEEDED
from globaltx.manifest.times import parse_time
from globaltx.transaction.states import ENDS, State
from globaltx.transaction.xid import InvalidXidError, Xid
from globaltx_cli import conflicts
from globaltx_cli.errors import CliError
from globaltx_cli.table import age, fields, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from globaltx_cli.cluster import Cluster

Resource = dict[str, Any]


def get(arguments: argparse.Namespace, connect: Callable[[str | None], Cluster]) -> int:
    """List transactions, oldest first."""
    cluster = connect(arguments.namespace)
    found = cluster.transactions(everywhere=arguments.all_namespaces)
    if arguments.state:
        found = [each for each in found if _state(each) == arguments.state]
    found.sort(key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))
    if arguments.output == "json":
        print(json.dumps({"items": found}, indent=2))
    elif found:
        print(_list(found, datetime.now(UTC)))
    else:
        where = "in any namespace" if arguments.all_namespaces else f"in namespace {cluster.namespace}"
        print(f"No global transactions {where}.")
    return 0


def status(arguments: argparse.Namespace, connect: Callable[[str | None], Cluster]) -> int:
    """Show one transaction with its branches."""
    namespace, name = named(arguments.xid, arguments.namespace)
    cluster = connect(namespace)
    transaction, branches = cluster.transaction(name), cluster.branches(name)
    branches.sort(key=lambda each: (each["spec"]["app"], each["spec"]["resource"]))
    if arguments.output == "json":
        print(json.dumps({"transaction": transaction, "branches": branches}, indent=2))
    else:
        print(describe(transaction, branches))
    return 0


def describe(transaction: Resource, branches: Sequence[Resource]) -> str:
    """Tell one transaction in full."""
    metadata, spec, found = transaction["metadata"], transaction["spec"], transaction.get("status") or {}
    reason = spec.get("outcomeReason", "")
    head = fields(
        [
            ("Transaction", f"{metadata['namespace']}.{metadata['name']}"),
            ("State", _stands(transaction)),
            ("Outcome", spec.get("outcome", "")),
            ("Reason", _with_sentence(reason, spec.get("outcomeMessage", ""))),
            ("Decided", _joined(found.get("decidedAt", ""), _prefixed("by ", spec.get("decidedBy", "")))),
            ("Begun", _begun(transaction)),
            ("Timeout", f"{spec['timeoutSeconds']}s"),
            ("Settled", _joined(found.get("settledAt", ""), _prefixed("after ", found.get("duration", "")))),
        ]
    )
    told = conflicts.describe(f"{metadata['namespace']}.{metadata['name']}", branches)
    return "\n\n".join(part for part in (head, _branches(branches), told) if part)


def _stands(transaction: Resource) -> str:
    """The state with its sentence; where people have decided, theirs, because not all rows went by it."""
    state = _state(transaction)
    if state in ENDS and _condition(transaction).get("reason") == Reason.RESOLVED_BY_PERSON:
        return f"{state}, {_with_sentence(Reason.RESOLVED_BY_PERSON, '')}"
    return _with_sentence(state, _progress(transaction))


def _progress(transaction: Resource) -> str:
    """What is waited for, or what is in conflict; an end has nothing to add to the outcome's reason."""
    return "" if _state(transaction) in ENDS else (transaction.get("status") or {}).get("message", "")


def _branches(branches: Sequence[Resource]) -> str:
    if not branches:
        return "No branches: nothing was changed under this xid."
    rows = [
        (
            each["spec"]["app"],
            each["spec"]["resource"],
            each["spec"].get("mode", ""),
            _state(each),
            (each.get("status") or {}).get("reason", "") or _condition(each).get("reason", ""),
            (each.get("status") or {}).get("message", ""),
        )
        for each in branches
    ]
    return table(("APP", "RESOURCE", "MODE", "STATE", "REASON", "MESSAGE"), rows)


def _list(transactions: Sequence[Resource], now: datetime) -> str:
    head = ("NAMESPACE", "NAME", "MODE", "STATE", "BRANCHES", "REASON", "APP", "AGE")
    rows = [
        (
            each["metadata"]["namespace"],
            each["metadata"]["name"],
            each["spec"].get("mode", ""),
            _state(each),
            (each.get("status") or {}).get("branches", ""),
            each["spec"].get("outcomeReason", ""),
            each["spec"].get("initiator", ""),
            _age(each, now),
        )
        for each in transactions
    ]
    return table(head, rows)


def named(text: str, namespace: str | None) -> tuple[str | None, str]:
    """Split an xid, or a name alone, into namespace and name.

    Raises:
        CliError: it is no xid, or of another namespace.
    """
    if not text:
        message = "the XID is empty: name a transaction as <namespace>.<name>, or by its name alone"
        raise CliError(message)
    if "." not in text:
        return namespace, text
    try:
        xid = Xid.parse(text)
    except InvalidXidError as error:
        raise CliError(str(error)) from error
    if namespace is not None and namespace != xid.namespace:
        message = f"{text} is of namespace {xid.namespace}, but --namespace says {namespace}"
        raise CliError(message)
    return xid.namespace, xid.name


def _state(resource: Resource) -> str:
    return str((resource.get("status") or {}).get("state", State.ACTIVE))


def _condition(resource: Resource) -> Resource:
    conditions = (resource.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == CONDITION_SUCCEEDED), {})


def _with_sentence(word: str, message: str) -> str:
    """Say a reason with what it means, and with the particulars unless they are the same."""
    sentence = SENTENCES[Reason(word)] if word in set(Reason) else ""
    rest = " ".join(part for part in (sentence, message if message != sentence else "") if part)
    return f"{word}: {rest}" if word and rest else word


def _begun(transaction: Resource) -> str:
    spec = transaction["spec"]
    parts = [transaction["metadata"]["creationTimestamp"], f"by app {spec['initiator']}"]
    parts.append(_prefixed("under policy ", spec.get("policy", "")))
    parts.append(_prefixed("in mode ", spec.get("mode", "")))
    return _joined(*parts)


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _prefixed(prefix: str, text: str) -> str:
    return f"{prefix}{text}" if text else ""


def _age(resource: Resource, now: datetime) -> str:
    born = parse_time(resource["metadata"].get("creationTimestamp"))
    return "" if born is None else age(now - born)
