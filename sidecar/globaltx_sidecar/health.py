"""What each part of the sidecar waits for, told on ``/readyz`` and logged once per change."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx_sidecar.metrics import Metrics

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """How one part stands; ``reason`` and ``message`` say what it waits for, or are empty."""

    up: bool
    reason: str = ""
    message: str = ""


_UP = Part(up=True)


class Health:
    """The parts by name. Those that are ``needed`` make up readiness; the others are only told.

    Readiness means that plain traffic flows. The store and the databases are not in it: when
    they are away, a pod that is taken out of its Service helps nobody.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._parts: dict[str, Part] = {}
        self._needed: set[str] = set()

    def need(self, name: str) -> None:
        """Count a part in; it is not up until `ok` says so."""
        self._needed.add(name)
        part = self._parts.setdefault(name, Part(up=False, reason="Starting"))
        self._metrics.part_up.labels(name).set(part.up)

    def ok(self, name: str) -> None:
        """Say that a part works."""
        self._set(name, _UP)

    def waits(self, name: str, reason: str, message: str) -> None:
        """Say what a part waits for."""
        self._set(name, Part(up=False, reason=reason, message=message))

    def gone(self, name: str) -> None:
        """Forget a part that is no more."""
        if self._parts.pop(name, None) is not None:
            self._metrics.part_up.remove(name)

    @property
    def ready(self) -> bool:
        """Whether every needed part is up."""
        return all(self._parts[name].up for name in self._needed)

    def detail(self) -> dict[str, object]:
        """The whole state as JSON shows it."""
        parts = {name: asdict(part) for name, part in sorted(self._parts.items())}
        return {"ready": self.ready, "parts": parts}

    def _set(self, name: str, part: Part) -> None:
        before = self._parts.get(name)
        if before == part:
            return
        self._parts[name] = part
        self._metrics.part_up.labels(name).set(part.up)
        if before is not None and (before.up, before.reason) == (part.up, part.reason):
            return
        if part.up:
            _log.info("%s is up", name)
        else:
            _log.warning("%s waits: %s: %s", name, part.reason, part.message)
