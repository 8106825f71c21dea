"""The client for threads: the standard library and nothing else."""

from __future__ import annotations

import functools
import http.client
import inspect
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit

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
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Concatenate

    from globaltx.client.protocol import Ask, Json

P = ParamSpec("P")
T = TypeVar("T")


class Client:
    """Speaks to the pod's sidecar; may be shared by threads. ``url`` is ``$GLOBALTX_URL`` or usual."""

    def __init__(self, url: str | None = None, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._place = urlsplit(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
        self._seconds = answer_seconds

    def begin(
        self,
        *,
        timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS,
        mode: str = "AT",
        notify: Sequence[Notify] = (),
    ) -> Transaction:
        """Begin a transaction, durable on return; ``notify`` says who is told its outcome.

        Raises:
            GlobaltxError: it did not, or nobody knows (then it is rolled back at its deadline).
        """
        return Transaction(self._ask(protocol.begin(timeout_seconds, mode, notify))["xid"])

    def commit(self, xid: str, message: str = "") -> None:
        """Take the outcome Commit; it is durable on return.

        Raises:
            RefusedError: another outcome was taken before.
            OutcomeUnknownError: nobody knows; repeat it, or ask `status`.
        """
        self._ask(protocol.decide(xid, "commit", message))

    def rollback(self, xid: str, message: str = "") -> None:
        """Take the outcome Rollback; raises as `commit` does."""
        self._ask(protocol.decide(xid, "rollback", message))

    def status(self, xid: str) -> Status:
        """Tell how a transaction stands.

        Raises:
            RefusedError: there is none of this xid.
            OutcomeUnknownError: the store does not say.
        """
        return protocol.read_status(self._ask(protocol.status(xid)))

    def join(
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
        """Register a branch of TCC *before* its work is done; ``confirm`` and ``cancel`` are paths here.

        Raises:
            GlobaltxError: it is not registered, or nobody knows: do not do the work.
        """
        ask = protocol.join(xid, name, confirm, cancel, key=key, body=body, headers=headers or {})
        found = self._ask(ask)
        return Branch(found["branch"], found["repeated"])

    def step(
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
        """Register a step of a saga *before* its work is done; ``compensate`` is a path here.

        Call `completed` when it is done. Steps with ``depends_on`` are compensated along those, others in
        reverse order of their completion.

        Raises:
            GlobaltxError: it is not registered, or nobody knows: do not do the work.
        """
        ask = protocol.step(
            xid, name, compensate, depends_on=depends_on, key=key, body=body, headers=headers or {}
        )
        found = self._ask(ask)
        return Branch(found["branch"], found["repeated"])

    def completed(self, xid: str, branch: Branch) -> None:
        """Note that a step was done.

        Raises:
            GlobaltxError: it is not noted, or nobody knows: roll back.
        """
        self._ask(protocol.completed(xid, branch.name))

    @contextmanager
    def transaction(
        self,
        *,
        timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS,
        mode: str = "AT",
        notify: Sequence[Notify] = (),
    ) -> Iterator[Transaction]:
        """Begin; commit at the end of the block, or roll back when an exception leaves it.

        Raises:
            RefusedError: the commit came too late; everything is rolled back.
            OutcomeUnknownError: nobody knows whether it was committed.
        """
        begun = self.begin(timeout_seconds=timeout_seconds, mode=mode, notify=notify)
        try:
            yield begun
        except BaseException as error:
            self._give_up(begun, error)
            raise
        self.commit(begun.xid)

    def transactional(
        self,
        *,
        timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS,
        mode: str = "AT",
        notify: Sequence[Notify] = (),
    ) -> Callable[[Callable[Concatenate[Transaction, P], T]], Callable[P, T]]:
        """Decorate a function that gets the transaction as its first argument.

        Raises:
            TypeError: when it decorates a coroutine function or a generator, whose call does no work.
        """

        def decorate(function: Callable[Concatenate[Transaction, P], T]) -> Callable[P, T]:
            _works_when_called(function)

            @functools.wraps(function)
            def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
                with self.transaction(timeout_seconds=timeout_seconds, mode=mode, notify=notify) as begun:
                    return function(begun, *args, **kwargs)

            return wrapped

        return decorate

    def _give_up(self, begun: Transaction, error: BaseException) -> None:
        """Roll back; if that fails the deadline does it, and the block's own exception is what matters."""
        try:
            self.rollback(begun.xid, f"{type(error).__name__}")
        except protocol.GlobaltxError as failed:
            error.add_note(f"{begun.xid} is rolled back at its deadline: {failed}")

    def _ask(self, ask: Ask) -> Json:
        connection = http.client.HTTPConnection(
            self._place.hostname or "127.0.0.1", self._place.port, timeout=self._seconds
        )
        try:
            headers = {"Content-Type": "application/json"} if ask.body is not None else {}
            connection.request(ask.method, ask.path, ask.text, headers)
            response = connection.getresponse()
            code, text = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            message = f"no answer from the sidecar at {self._place.geturl()}: {error!r}"
            raise OutcomeUnknownError(message) from error
        finally:
            connection.close()
        return protocol.answered(code, text)


def _works_when_called(function: Callable[..., object]) -> None:
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_kind(function) for is_kind in kinds):
        message = (
            f"{function!r} works only after it was called, so its transaction would be committed before; "
            "decorate what is called to the end, or a coroutine function by AsyncClient"
        )
        raise TypeError(message)
