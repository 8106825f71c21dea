"""How the transactions of a namespace stand, as whoever keeps them tells: the API server, or an etcd."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from globaltx.stores.etcd.keys import Keys
from globaltx.stores.etcd.record import Record
from globaltx.transaction.states import State
from globaltx.transaction.xid import Xid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dev.cluster.cluster import Cluster
    from dev.etcd import Etcd
    from globaltx.transaction.model import Snapshot


@dataclass(frozen=True, slots=True)
class Part:
    """A branch: what it was told, and how it stands; empty where there is nothing yet."""

    outcome: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Stand:
    """A transaction and its branches."""

    outcome: str = ""
    state: str = ""
    branches: tuple[Part, ...] = ()

    def within(self, states: set[str]) -> bool:
        """Whether it and all its branches are in one of these states."""
        return {self.state, *(each.state for each in self.branches)} <= states


class Ledger(Protocol):
    """Where the transactions are looked up."""

    def stands(self) -> dict[str, Stand]:
        """By their names, all that there are."""


class InKubernetes:
    """They are resources."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def stands(self) -> dict[str, Stand]:
        """Ask for both kinds at once."""
        kinds = "globaltransactions,branches"
        told = json.loads(self._cluster.kubectl("get", kinds, "-n", self._namespace, "-o", "json"))
        parts: dict[str, list[Part]] = defaultdict(list)
        found: dict[str, Part] = {}
        for each in told["items"]:
            part = Part(each["spec"].get("outcome", ""), each.get("status", {}).get("state", ""))
            if each["kind"] == "Branch":
                parts[each["spec"]["transaction"]].append(part)
            else:
                found[each["metadata"]["name"]] = part
        return {name: Stand(each.outcome, each.state, tuple(parts[name])) for name, each in found.items()}


class InEtcd:
    """They are keys below a prefix."""

    def __init__(self, etcd: Etcd, prefix: str, namespace: str) -> None:
        self._etcd = etcd
        self._keys = Keys(prefix)
        self._namespace = namespace

    def stands(self) -> dict[str, Stand]:
        """Read all keys of the namespace at once."""
        below = self._keys.transaction(Xid(self._namespace, "x")).removesuffix("x/")
        found = self._snapshots(self._etcd.keys(below))
        return {snapshot.transaction.xid.name: _stand(snapshot) for snapshot in found}

    def _snapshots(self, found: dict[str, str]) -> Iterable[Snapshot]:
        records: dict[str, Record] = {}
        for key, value in found.items():
            _, (_, name, *parts) = self._keys.parts(key)
            records.setdefault(name, Record(Xid(self._namespace, name))).put(parts, value)
        return filter(None, (record.snapshot() for record in records.values()))


def _stand(snapshot: Snapshot) -> Stand:
    """In etcd nobody writes a transaction's own state: it follows from its branches."""
    decision = snapshot.transaction.decision
    parts = tuple(Part(str(each.outcome or ""), str(each.state)) for each in snapshot.branches)
    if decision is None:
        return Stand("", str(snapshot.transaction.state), parts)
    ends = {"Commit": State.COMMITTED, "Rollback": State.ROLLED_BACK}
    end = str(ends[str(decision.outcome)])
    if all(each.state == end for each in parts):
        return Stand(str(decision.outcome), end, parts)
    held = any(each.state == State.CONFLICT for each in parts)
    return Stand(str(decision.outcome), str(State.CONFLICT if held else snapshot.transaction.state), parts)
