"""The API server's errors as those of a store, and the patience with passing ones."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from globaltx.manifest.resources import InvalidResourceError
from globaltx.stores.base import StoreRefusedError, StoreUnavailableError
from globaltx.stores.kubernetes.errors import (
    ConflictError,
    ExpiredError,
    KubernetesError,
    NotServedError,
    UnavailableError,
)
from globaltx.stores.kubernetes.watcher import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)


@contextmanager
def as_store_errors(what: str) -> Iterator[None]:
    """Raise what time heals as `StoreUnavailableError`, the rest as `StoreRefusedError`."""
    try:
        yield
    except NotServedError as error:
        message = f"{what}: the API server does not serve globaltx.io: are the resources of crds/ installed?"
        raise StoreUnavailableError(message) from error
    except (UnavailableError, ExpiredError, ConflictError) as error:
        message = f"{what}: {error}"
        raise StoreUnavailableError(message) from error
    except (KubernetesError, InvalidResourceError) as error:
        message = f"{what}: {error}"
        raise StoreRefusedError(message) from error


class Patience:
    """Repeats a call that may be repeated, for ``seconds`` from its first fault on.

    With ``seconds`` 0 nothing is repeated. A call is never begun after that time, but one
    that was begun runs to its own timeout.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._chance = chance
        self._backoff = Backoff(first=0.05, most=1.0)

    async def with_call(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """The call's answer, or the last fault.

        Raises:
            StoreUnavailableError: the fault outlasted our patience.
        """
        faults, until = 0, None
        while True:
            try:
                return await call()
            except StoreUnavailableError as error:
                faults += 1
                until = self._clock() + self._seconds if until is None else until
                delay = self._backoff.delay(faults, self._chance())
                if self._clock() + delay >= until:
                    raise
                _log.info("%s; again in %.2f s", error, delay)
            await asyncio.sleep(delay)
