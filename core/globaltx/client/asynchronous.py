"""The client for asyncio, over aiohttp."""

from __future__ import annotations

import functools
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

import aiohttp

from globaltx.client import protocol
from globaltx.client.protocol import (
    ANSWER_SECONDS,
    DEFAULT_TIMEOUT_SECONDS,
    DEFAULT_URL,
    URL_VARIABLE,
    Branch,
    Notify,
    OutcomeUnknownError,
    Status,
    Transaction,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from typing import Concatenate

    from globaltx.client.protocol import Ask, Json

P = ParamSpec("P")
T = TypeVar("T")


class AsyncClient:
    """Speaks to the pod's sidecar; an async context. What each call promises, `Client` says."""

    def __init__(self, url: str | None = None, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._url = (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=answer_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def begin(
        self,
        *,
        timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS,
        mode: str = "AT",
        notify: Sequence[Notify] = (),
    ) -> Transaction:
        """Begin a transaction, durable on return."""
        return Transaction((await self._ask(protocol.begin(timeout_seconds, mode, notify)))["xid"])

    async def commit(self, xid: str, message: str = "") -> None:
        """Take the outcome Commit; it is durable on return."""
        await self._ask(protocol.decide(xid, "commit", message))

    async def rollback(self, xid: str, message: str = "") -> None:
        """Take the outcome Rollback; it is durable on return."""
        await self._ask(protocol.decide(xid, "rollback", message))

    async def status(self, xid: str) -> Status:
        """Tell how a transaction stands."""
        return protocol.read_status(await self._ask(protocol.status(xid)))

    async def join(
        self,
        xid: str,
        name: str,
        confirm: str,
        cancel: str,
        *,
        key: str = "",
        body: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Branch:
        """Register a branch of TCC *before* its work is done."""
        ask = protocol.join(xid, name, confirm, cancel, key=key, body=body, headers=headers or {})
        found = await self._ask(ask)
        return Branch(found["branch"], found["repeated"])

    async def step(
        self,
        xid: str,
        name: str,
        compensate: str,
        *,
        depends_on: Sequence[str] = (),
        key: str = "",
        body: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Branch:
        """Register a step of a saga *before* its work is done; see `Client.step`."""
        ask = protocol.step(
            xid, name, compensate, depends_on=depends_on, key=key, body=body, headers=headers or {}
        )
        found = await self._ask(ask)
        return Branch(found["branch"], found["repeated"])

    async def completed(self, xid: str, branch: Branch) -> None:
        """Note that a step was done; see `Client.completed`."""
        await self._ask(protocol.completed(xid, branch.name))

    @asynccontextmanager
    async def transaction(
        self,
        *,
        timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS,
        mode: str = "AT",
        notify: Sequence[Notify] = (),
    ) -> AsyncIterator[Transaction]:
        """Begin; commit at the end of the block, or roll back when an exception leaves it."""
        begun = await self.begin(timeout_seconds=timeout_seconds, mode=mode, notify=notify)
        try:
            yield begun
        except BaseException as error:
            await self._give_up(begun, error)
            raise
        await self.commit(begun.xid)

    def transactional(
        self,
        *,
        timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS,
        mode: str = "AT",
        notify: Sequence[Notify] = (),
    ) -> Callable[[Callable[Concatenate[Transaction, P], Awaitable[T]]], Callable[P, Awaitable[T]]]:
        """Decorate a coroutine function that gets the transaction as its first argument."""

        def decorate(
            function: Callable[Concatenate[Transaction, P], Awaitable[T]],
        ) -> Callable[P, Awaitable[T]]:
            @functools.wraps(function)
            async def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
                async with self.transaction(
                    timeout_seconds=timeout_seconds, mode=mode, notify=notify
                ) as begun:
                    return await function(begun, *args, **kwargs)

            return wrapped

        return decorate

    async def _give_up(self, begun: Transaction, error: BaseException) -> None:
        """Roll back; if that fails the deadline does it, and the block's own exception is what matters."""
        try:
            await self.rollback(begun.xid, f"{type(error).__name__}")
        except protocol.GlobaltxError as failed:
            error.add_note(f"{begun.xid} is rolled back at its deadline: {failed}")

    async def _ask(self, ask: Ask) -> Json:
        if self._session is None:
            message = "use it as `async with AsyncClient() as client`"
            raise RuntimeError(message)
        headers = {"Content-Type": "application/json"} if ask.body is not None else {}
        try:
            async with self._session.request(
                ask.method, self._url + ask.path, data=ask.text, headers=headers
            ) as response:
                code, text = response.status, await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            message = f"no answer from the sidecar at {self._url}: {error!r}"
            raise OutcomeUnknownError(message) from error
        return protocol.answered(code, text)
