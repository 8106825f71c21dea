"""What the watches have told, on every replica, so that a takeover starts warm.

It may be old, and it may miss what is new; ``globaltx.coordinator.decide`` is made for that. Our
own writes are put in too, so that the next pass does not decide on what we have just changed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from globaltx.transaction.states import State
from globaltx.transaction.xid import Xid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Json = dict[str, Any]


class Cache:
    """Transactions and branches by xid; ``changed`` is called with each xid that something was told of.

    ``light`` leaves out of a resource what is not needed.
    """

    def __init__(self, light: Callable[[Json], Json] | None = None) -> None:
        self._light = light or bare
        self._transactions: dict[Xid, Json] = {}
        self._branches: dict[Xid, dict[str, Json]] = {}
        self.changed: Callable[[Xid], None] | None = None

    def transaction(self, xid: Xid) -> Json | None:
        """The GlobalTransaction as it was last told."""
        return self._transactions.get(xid)

    def branches(self, xid: Xid) -> list[Json]:
        """The Branches as they were last told."""
        return list(self._branches.get(xid, {}).values())

    def xids(self) -> Iterator[Xid]:
        """Every xid that something is known of."""
        yield from dict.fromkeys([*self._transactions, *self._branches])

    def states(self) -> Counter[State]:
        """How many transactions stand where."""
        return Counter(
            State((each.get("status") or {}).get("state", State.ACTIVE))
            for each in self._transactions.values()
        )

    def put_transaction(self, resource: Json) -> None:
        """Remember a GlobalTransaction unless a newer version is known."""
        xid = xid_of_transaction(resource)
        if newer(resource, self._transactions.get(xid)):
            self._transactions[xid] = self._light(resource)
            self._tell(xid)

    def drop_transaction(self, xid: Xid, uid: str | None = None) -> None:
        """Forget a GlobalTransaction that is gone (with ``uid``: only that very one)."""
        known = self._transactions.get(xid)
        if known is not None and uid in {None, known["metadata"].get("uid")}:
            del self._transactions[xid]
            self._tell(xid)

    def put_branch(self, resource: Json) -> None:
        """Remember a Branch unless a newer version is known."""
        xid, name = xid_of_branch(resource), resource["metadata"]["name"]
        branches = self._branches.setdefault(xid, {})
        if newer(resource, branches.get(name)):
            branches[name] = self._light(resource)
            self._tell(xid)

    def drop_branch(self, xid: Xid, name: str) -> None:
        """Forget a Branch that is gone."""
        branches = self._branches.get(xid, {})
        if branches.pop(name, None) is not None:
            if not branches:
                del self._branches[xid]
            self._tell(xid)

    def replace_branches(self, xid: Xid, resources: Iterable[Json]) -> None:
        """Put what a consistent list has told in place of what was known; nobody is woken."""
        found = {each["metadata"]["name"]: self._light(each) for each in resources}
        if found:
            self._branches[xid] = found
        else:
            self._branches.pop(xid, None)

    def _tell(self, xid: Xid) -> None:
        if self.changed is not None:
            self.changed(xid)


def xid_of_transaction(resource: Json) -> Xid:
    """The xid of a GlobalTransaction."""
    return Xid(resource["metadata"]["namespace"], resource["metadata"]["name"])


def xid_of_branch(resource: Json) -> Xid:
    """The xid of the transaction that a Branch belongs to."""
    return Xid(resource["metadata"]["namespace"], resource["spec"]["transaction"])


def newer(resource: Json, known: Json | None) -> bool:
    """Whether a resource is of a later version than the known one (another uid always is)."""
    if known is None or known["metadata"].get("uid") != resource["metadata"].get("uid"):
        return True
    return _version(resource) > _version(known)


def _version(resource: Json) -> int:
    return int(resource["metadata"]["resourceVersion"])


def unmanaged(resource: Json) -> Json:
    """Leave out who wrote which field."""
    metadata = {name: each for name, each in resource["metadata"].items() if name != "managedFields"}
    return {**resource, "metadata": metadata}


def bare(resource: Json) -> Json:
    """Leave out who wrote which field, the requests of tries, rows in conflict, and what steps were answered.

    Of calls only those matter by which a deadline is reckoned.
    """
    lighter = unmanaged(resource)
    if "calls" in resource.get("spec", {}):
        lighter["spec"] = {name: each for name, each in resource["spec"].items() if name != "calls"}
        if "reservation" in (calls := resource["spec"]["calls"]):
            lighter["spec"]["calls"] = {name: each for name, each in calls.items() if name != "request"}
    status = resource.get("status") or {}
    if "conflicts" in status or "result" in status.get("step", {}):
        lighter["status"] = {name: each for name, each in status.items() if name != "conflicts"}
        if "step" in status:
            step = {name: each for name, each in status["step"].items() if name != "result"}
            lighter["status"]["step"] = step
    return lighter
