"""What an injection comes to: a patch, nothing to do, or a refusal with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.coordinator.reasons import Reason
    from globaltx.manifest.settings import SidecarSettings

Operation: TypeAlias = dict[str, Any]
"""One operation of a JSON patch: https://www.rfc-editor.org/rfc/rfc6902."""


@dataclass(frozen=True, slots=True)
class Injected:
    """The pod takes part once the operations of ``patch`` are applied in order."""

    patch: tuple[Operation, ...]
    settings: SidecarSettings


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The pod is left as it is; ``why`` is a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The pod cannot take part; ``message`` says what is wrong, where, and what to do."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        return f"globaltx: {self.reason}: {self.message}"


Injection: TypeAlias = Injected | Unchanged | Refused


class RefusedError(Exception):
    """Leaves the injection early; `inject` makes it a `Refused`."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
