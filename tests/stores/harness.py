"""A store under test: clients whose every request can be delayed, lost or ordered."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import Store, StoreUnavailableError
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.errors import EtcdUnavailableError
from globaltx.stores.etcd.store import EtcdStore
from globaltx.stores.kubernetes.client import KubernetesClient
from globaltx.stores.kubernetes.errors import UnavailableError
from globaltx.stores.kubernetes.store import KubernetesStore
from globaltx.stores.memory import Memory, MemoryStore, When, no_hook
from globaltx.transaction.model import BranchId, Decision, GlobalTransaction, Settlement
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import RANDOM_BITS, Xid, new_xid

if TYPE_CHECKING:
    from globaltx.stores.etcd.access import EtcdAccess
    from globaltx.stores.etcd.asking import Asking
    from globaltx.stores.etcd.errors import EtcdError
    from globaltx.stores.kubernetes.access import Access
    from globaltx.transaction.model import Branch

Hook = Callable[[str, When], Awaitable[None]]

COMMIT = Decision(Outcome.COMMIT, str(Reason.REQUEST_SUCCEEDED), "all went well", "shop-1")
ROLLBACK = Decision(Outcome.ROLLBACK, str(Reason.REQUEST_FAILED), "answered 400", "shop-2")
ENDED = {
    Outcome.COMMIT: Settlement(State.COMMITTED, str(Reason.COMMITTED), "done"),
    Outcome.ROLLBACK: Settlement(State.ROLLED_BACK, str(Reason.ROLLED_BACK), "undone"),
}
CONFLICT = Settlement(State.CONFLICT, str(Reason.ROW_CHANGED), "row 7 was changed")


class Harness(Protocol):
    """One store, of which any number of clients can be made."""

    namespace: str
    tells_later: bool
    """Whether `decide` tells the branches after it has returned."""

    def client(self, hook: Hook = no_hook, *, begin_wait: float = 0.05, repeat_for: float = 0) -> Store: ...

    async def stamp(self, xid: Xid) -> None:
        """Do what tells an outcome to the branches."""

    def lost(self) -> Exception:
        """What a client meets when a request or its answer is lost."""


class MemoryHarness:
    tells_later = False

    def __init__(self) -> None:
        self.namespace = "t"
        self._memory = Memory()

    def client(self, hook: Hook = no_hook, *, begin_wait: float = 0.05, repeat_for: float = 0) -> Store:
        assert repeat_for >= 0  # nothing to repeat: only the hook can make it fail
        return MemoryStore(self._memory, begin_wait=begin_wait, hook=hook)

    async def stamp(self, xid: Xid) -> None:
        """The decision has stamped."""

    def lost(self) -> Exception:
        return StoreUnavailableError("lost")


class HookedClient(KubernetesClient):
    """Awaits the hook before each request and after each answer."""

    def __init__(self, access: Access, hook: Hook) -> None:
        super().__init__(access)
        self._hook = hook

    async def request(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        await self._hook(method, "before")
        try:
            return await super().request(method, path, **rest)
        finally:
            await self._hook(method, "after")


class KubernetesHarness:
    tells_later = False

    def __init__(self, access: Access, namespace: str) -> None:
        self.namespace = namespace
        self._access = access
        self._opened: list[KubernetesClient] = []

    def client(
        self, hook: Hook = no_hook, *, begin_wait: float = 0.05, repeat_for: float = 0
    ) -> KubernetesStore:
        self._opened.append(HookedClient(self._access, hook))
        return KubernetesStore(self._opened[-1], self.namespace, begin_wait=begin_wait, repeat_for=repeat_for)

    async def stamp(self, xid: Xid) -> None:
        await self.client().stamp(xid)

    def lost(self) -> Exception:
        return UnavailableError("lost")

    async def close(self) -> None:
        for client in self._opened:
            await client.close()


class HookedEtcdClient(EtcdClient):
    """Awaits the hook before each request and after each answer."""

    def __init__(self, access: EtcdAccess, hook: Hook) -> None:
        super().__init__(access)
        self._hook = hook

    def at_once(
        self, method: str, message: bytes, over: Callable[[bytes | EtcdError], None]
    ) -> Asking | None:
        """What is to wait for a hook needs a task."""
        return super().at_once(method, message, over) if self._hook is no_hook else None

    async def request(self, method: str, message: bytes) -> bytes:
        await self._hook(method, "before")
        try:
            return await super().request(method, message)
        finally:
            await self._hook(method, "after")


class EtcdHarness:
    tells_later = True

    def __init__(self, access: EtcdAccess, prefix: str) -> None:
        self.namespace = "t"
        self._access = access
        self._prefix = prefix
        self._opened: list[tuple[EtcdStore, EtcdClient]] = []

    def client(self, hook: Hook = no_hook, *, begin_wait: float = 0.05, repeat_for: float = 0) -> EtcdStore:
        client = HookedEtcdClient(self._access, hook)
        store = EtcdStore(
            client, self.namespace, prefix=self._prefix, begin_wait=begin_wait, repeat_for=repeat_for
        )
        self._opened.append((store, client))
        return store

    async def stamp(self, xid: Xid) -> None:
        await self.client().stamp(xid)

    def lost(self) -> Exception:
        return EtcdUnavailableError("lost")

    async def close(self) -> None:
        for store, client in self._opened:
            await store.close()
            await client.close()


class Turns:
    """Lets the requests of several actors happen one at a time, in the order that is given by letters.

    The turns of an actor that has finished are left out; after the last turn all are free.
    """

    def __init__(self, order: str) -> None:
        self._order = list(order)
        self._finished: set[str] = set()
        self._changed = asyncio.Condition()

    def hook(self, actor: str) -> Hook:
        async def hook(_call: str, when: When) -> None:
            async with self._changed:
                if when == "before":
                    await self._changed.wait_for(lambda: self._next() in {actor, None})
                elif self._next() == actor:
                    del self._order[0]
                self._changed.notify_all()

        return hook

    async def act(self, actor: str, deed: Awaitable[Any]) -> Any:
        """The deed's answer or its exception."""
        try:
            return await deed
        except Exception as error:  # noqa: BLE001  the test looks at it
            return error
        finally:
            async with self._changed:
                self._finished.add(actor)
                self._changed.notify_all()

    def _next(self) -> str | None:
        while self._order and self._order[0] in self._finished:
            del self._order[0]
        return self._order[0] if self._order else None


class Breaking:
    """A hook that at the n-th moment raises what ``fault`` gives, or hangs for ever when it is None."""

    def __init__(self, moment: int, fault: Callable[[], Exception] | None) -> None:
        self._left = moment
        self._fault = fault
        self.broke = asyncio.Event()

    async def __call__(self, _call: str, _when: When) -> None:
        self._left -= 1
        if self._left == -1:
            self.broke.set()
            if self._fault is not None:
                raise self._fault()
            await asyncio.Event().wait()


def any_xid(namespace: str) -> Xid:
    return new_xid(namespace, time.time_ns() // 1_000_000, secrets.randbits(RANDOM_BITS))


def transaction(xid: Xid, initiator: str = "shop", policy: str = "") -> GlobalTransaction:
    return GlobalTransaction(xid, initiator, timedelta(seconds=60), policy=policy)


def branch(xid: Xid, app: str = "shop", resource: str = "orders") -> BranchId:
    return BranchId(xid, app, resource)


async def first(store: Store, app: str, count: int) -> list[Branch]:
    """The first branches that a new watch yields."""
    found: list[Branch] = []
    async with asyncio.timeout(30), aclosing(store.watch(app)) as watch:
        async for each in watch:
            found.append(each)
            if len(found) == count:
                break
    return found


async def eventually(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Ask until it holds, where what is waited for gives no sign of its own."""
    async with asyncio.timeout(60):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)
