from __future__ import annotations

import pytest

from globaltx.manifest.resources import InvalidResourceError
from globaltx.stores.base import StoreError, StoreRefusedError, StoreUnavailableError
from globaltx.stores.kubernetes.errors import (
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotServedError,
    UnavailableError,
    error_of,
)
from globaltx.stores.kubernetes.faults import Patience, as_store_errors


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnavailableError("x"), StoreUnavailableError),
        (ExpiredError("x"), StoreUnavailableError),
        (ConflictError("x"), StoreUnavailableError),
        (NotServedError("x"), StoreUnavailableError),
        (ForbiddenError("x"), StoreRefusedError),
        (InvalidError("x"), StoreRefusedError),
        (InvalidResourceError("x"), StoreRefusedError),
    ],
)
def test_who_must_act(error: Exception, expected: type[StoreError]) -> None:
    with pytest.raises(expected, match="join it"), as_store_errors("join it"):
        raise error


def test_missing_kinds_are_named() -> None:
    with pytest.raises(StoreUnavailableError, match="crds/"), as_store_errors("join it"):
        raise error_of(404, b"404 page not found", "GET /apis")


def test_bugs_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), as_store_errors("join it"):
        raise ZeroDivisionError


class Failing:
    """Fails as often as it is told; each call takes a second of its clock."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.calls = 0
        self._times = times
        self._error = error or StoreUnavailableError("down")

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return "done"

    def clock(self) -> float:
        return float(self.calls)


async def test_a_passing_fault_is_waited_out() -> None:
    call = Failing(2)
    assert await Patience(60, call.clock, lambda: 0.0).with_call(call) == "done"
    assert call.calls == 3


async def test_patience_ends() -> None:
    call = Failing(10**9)
    with pytest.raises(StoreUnavailableError, match="down"):
        await Patience(3, call.clock, lambda: 0.0).with_call(call)
    assert call.calls == 4


async def test_no_patience_at_all() -> None:
    call = Failing(1)
    with pytest.raises(StoreUnavailableError):
        await Patience(0, call.clock).with_call(call)
    assert call.calls == 1


async def test_a_refusal_is_not_repeated() -> None:
    call = Failing(1, StoreRefusedError("no"))
    with pytest.raises(StoreRefusedError):
        await Patience(60, call.clock).with_call(call)
    assert call.calls == 1
