"""Replicas of the operator as processes, and what plays the sidecars."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp

from globaltx.coordinator.reasons import Reason
from globaltx.stores.kubernetes.errors import NotFoundError
from globaltx.stores.kubernetes.resource import BRANCHES, CORE_EVENTS, TRANSACTIONS
from globaltx.stores.kubernetes.store import KubernetesStore
from globaltx.transaction.model import BranchId, Decision, GlobalTransaction, Mode, Settlement
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import RANDOM_BITS, Xid, new_xid
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx.transaction.notification import Notify

Json = dict[str, Any]

PATIENCE = 60.0


async def eventually(what: str, check: Callable[[], Awaitable[Any]], within: float = PATIENCE) -> Any:
    """Ask until the answer is true; say what was waited for, and the last answer, when it never is."""
    until = time.monotonic() + within
    while not (answer := await check()):
        if time.monotonic() > until:
            message = f"{what}: not within {within:g} s, last answer {answer!r}"
            raise AssertionError(message)
        await asyncio.sleep(0.05)
    return answer


@dataclass
class Replica:
    """One operator process, alone in its namespace but for its peers."""

    kubeconfig: Path
    namespace: str
    folder: Path
    lease: str = "globaltx-operator"
    namespaces: str | None = None
    """Those that it serves, its own unless others are named; empty: all."""
    arguments: tuple[str, ...] = ()
    """Flags besides."""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / f"operator-{self.port}.log").read_text()

    def start(self) -> Replica:
        served = self.namespace if self.namespaces is None else self.namespaces
        arguments = ["--namespace", self.namespace, "--namespaces", served, "--lease", self.lease]
        arguments += ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "info"]
        arguments += self.arguments
        with (self.folder / f"operator-{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "globaltx_operator.main", *arguments],
                env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
                stdout=log,
                stderr=log,
            )
        return self

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"http://127.0.0.1:{self.port}{path}") as response:
                    return response.status, await response.text()
            except aiohttp.ClientConnectionError as error:
                return 0, str(error)

    async def ready(self) -> Replica:
        async def check() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            return (await self.get("/readyz"))[0] == 200

        await eventually("the operator is ready", check)
        return self

    async def leads(self) -> bool:
        return "globaltx_operator_leader 1.0" in (await self.get("/metrics"))[1]

    async def kill(self) -> None:
        self._send(signal.SIGKILL)
        await self._ended()

    async def terminate(self) -> int:
        self._send(signal.SIGTERM)
        return await self._ended()

    def _send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def _ended(self) -> int:
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, 30)

    async def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            await self.kill()


class Field:
    """A namespace in which transactions happen."""

    def __init__(self, client: KubernetesClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.store = KubernetesStore(client, namespace)

    async def begin(self, deadline: float = 600, ttl: float = 600, notify: tuple[Notify, ...] = ()) -> Xid:
        xid = new_xid(self.namespace, time.time_ns() // 10**6, secrets.randbits(RANDOM_BITS))
        span, life = timedelta(seconds=deadline), timedelta(seconds=ttl)
        await self.store.begin(GlobalTransaction(xid, "aggregation", span, ttl=life, notify=notify))
        return xid

    async def begin_with_branches(self, *apps: str, deadline: float = 600, ttl: float = 600) -> Xid:
        xid = await self.begin(deadline, ttl)
        for app in apps:
            await self.store.join(BranchId(xid, app, "database"), Mode.AT)
        return xid

    async def commit(self, xid: Xid) -> None:
        await self.store.decide(
            xid, Decision(Outcome.COMMIT, Reason.REQUEST_SUCCEEDED, "answered 200", "pod-1")
        )

    async def roll_back(self, xid: Xid) -> None:
        await self.store.decide(
            xid, Decision(Outcome.ROLLBACK, Reason.REQUEST_FAILED, "answered 400", "pod-1")
        )

    async def transaction(self, xid: Xid) -> Json | None:
        try:
            return await self.client.get(TRANSACTIONS, xid.name, self.namespace)
        except NotFoundError:
            return None

    async def branches(self, xid: Xid) -> list[Json]:
        labels = f"globaltx.io/transaction={xid.name}"
        return list((await self.client.list(BRANCHES, self.namespace, labels=labels)).items)

    async def reaches(self, xid: Xid, state: State) -> Json:
        async def check() -> Json | None:
            found = await self.transaction(xid)
            return found if found and found["status"]["state"] == state else None

        found: Json = await eventually(f"{xid} is {state}", check)
        return found

    async def released(self, xid: Xid) -> None:
        async def check() -> bool:
            found = [await self.transaction(xid), *await self.branches(xid)]
            return not any(each and each["metadata"].get("finalizers") for each in found)

        await eventually(f"{xid} and its branches are released", check)

    async def gone(self, xid: Xid) -> None:
        async def check() -> bool:
            return await self.transaction(xid) is None and not await self.branches(xid)

        await eventually(f"{xid} and its branches are gone", check)

    async def events(self, xid: Xid) -> list[tuple[str, str]]:
        found = await self.client.list(CORE_EVENTS, self.namespace)
        return sorted(
            (each["involvedObject"]["kind"], each["reason"])
            for each in found.items
            if each["involvedObject"]["name"].startswith(xid.name)
        )

    @contextlib.asynccontextmanager
    async def sidecar(self, app: str, *, conflicting: bool = False) -> AsyncIterator[None]:
        """Play the app's sidecar: carry out, by the real store, whatever outcome is stamped."""

        async def settle() -> None:
            async with contextlib.aclosing(self.store.watch(app)) as branches:
                async for branch in branches:
                    commit = branch.outcome is Outcome.COMMIT
                    state = State.COMMITTED if commit else State.ROLLED_BACK
                    settlement = Settlement(state, Reason(state), "done")
                    if conflicting:
                        settlement = Settlement(State.CONFLICT, Reason.ROW_CHANGED, "row 7 was changed")
                    await self.store.settle(branch.id, settlement)

        task = asyncio.create_task(settle())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
