"""The named reason of an error, the same in answers, logs, metrics and ``/readyz``."""

from __future__ import annotations

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import (
    AlreadyDecidedError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
    UnknownTransactionError,
)

_REASONS: tuple[tuple[type[StoreError], Reason], ...] = (
    (StoreUnavailableError, Reason.STORE_UNAVAILABLE),
    (AlreadyDecidedError, Reason.ALREADY_DECIDED),
    (UnknownTransactionError, Reason.UNKNOWN_TRANSACTION),
    (StoreRefusedError, Reason.STORE_REFUSED),
)


def reason_of(error: Exception) -> Reason:
    """The reason of what a store raised; anything else counts as refused: a person must look."""
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), Reason.STORE_REFUSED)
