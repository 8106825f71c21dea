"""What a MySQL session wants done: the one vocabulary between it and its asyncio shell.

A session never touches a socket, a clock or a task. It answers each event with commands;
those marked *answered* must be followed by `Session.answered` or `Session.failed`, and the
session has at most one of them open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.coordinator.reasons import Reason
    from globaltx.modes.guard_row import Finding, Guarded
    from globaltx.transaction.xid import Xid


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send bytes to the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ToDatabase:
    """Send bytes to the database."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Send what is left to send, then close both sides; ``why`` is for the log."""

    why: str


@dataclass(frozen=True, slots=True)
class Register:
    """Start the registration of this application's branch; not answered."""

    xid: Xid


@dataclass(frozen=True, slots=True)
class HasJoined:
    """Look whether the registration is known to be durable; answered with a bool, at once."""

    xid: Xid


@dataclass(frozen=True, slots=True)
class Join:
    """Wait until the registration is durable; answered with None."""

    xid: Xid


@dataclass(frozen=True, slots=True)
class Describe:
    """Read the shape of a table; answered with a `TableShape`.

    ``fresh``: what is remembered of it has turned out old.
    """

    schema: str
    table: str
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class LookUp:
    """Look the decision about a transaction up; answered with a `Decision` or None."""

    xid: Xid


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait; answered with None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Now:
    """Read a clock that never goes back; answered with seconds."""


@dataclass(frozen=True, slots=True)
class SecureDatabase:
    """Make TLS of the database's connection; answered with None."""


@dataclass(frozen=True, slots=True)
class SecureClient:
    """Make TLS of the client's connection; answered with None."""


@dataclass(frozen=True, slots=True)
class ShowKey:
    """Fetch the public key that a client hides its password with; answered with its bytes (PEM)."""


@dataclass(frozen=True, slots=True)
class Decipher:
    """Decipher what a client hid with that key; answered with the bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """Count a refusal; not answered."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Committed:
    """Count a local commit with undo records, which waited so long for locks; not answered."""

    waited_seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """Tell what a guard row has said of a call; not answered."""

    call: Guarded
    finding: Finding


@dataclass(frozen=True, slots=True)
class Began:
    """Tell what a call has committed its work with; not answered."""

    call: Guarded
    work: int


Answered: TypeAlias = (
    HasJoined | Join | Describe | LookUp | Pause | Now | SecureDatabase | SecureClient | ShowKey | Decipher
)
Command: TypeAlias = ToClient | ToDatabase | Close | Register | Refused | Committed | Found | Began | Answered
