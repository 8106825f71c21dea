"""The desks of one term of leading: of each datasource from the start, of each route when a branch comes.

What databases need is imported only where there are some: it takes 15 MiB.
"""

from __future__ import annotations

import asyncio
from dataclasses import field
from typing import TYPE_CHECKING

from globaltx.modes import tcc
from globaltx.values import dataclass
from globaltx_sidecar.allowance import Allowance
from globaltx_sidecar.branch.call_desk import RETRIES_A_SECOND, CallDesk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from globaltx.stores.base import Store
    from globaltx.transaction.model import Branch
    from globaltx_sidecar.branch.call_desk import Caller
    from globaltx_sidecar.branch.desk import Desk, Pace
    from globaltx_sidecar.branch.guard_rows import GuardSweeper, Kept, Reads
    from globaltx_sidecar.branch.sweeper import Swept
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.metrics import Metrics
    from globaltx_sidecar.notify.desk import Sends


@dataclass(frozen=True, slots=True)
class Office:
    """What desks are made from; ``carriers`` are the datasources by name."""

    store: Store
    carriers: Mapping[str, Swept]
    caller: Caller | None
    health: Health
    metrics: Metrics
    pace: Pace | None
    sweep_seconds: float
    sender: Sends | None = None
    """Tells outcomes; None where that is no business of this sidecar."""
    guard_rows: Mapping[str, Kept] = field(default_factory=dict)
    """The datasources that guard calls, by name."""
    guard_seconds: float = 0.0
    """How long their rows are kept at least."""
    guarded_in: Reads | None = None
    """Where it is looked whether what they speak of has ended; None: in the store."""


class Desks:
    """The desks; ``tasks`` owns their work, `room` is set when some found none and could find it now."""

    def __init__(self, office: Office, tasks: asyncio.TaskGroup) -> None:
        self.room = asyncio.Event()
        self._office = office
        self._tasks = tasks
        self._budget = Allowance(RETRIES_A_SECOND, RETRIES_A_SECOND)
        self._routes: dict[str, Desk] = {}
        self._places: dict[str, Desk] = {}
        self._datasources = {name: self._datasource(name, each) for name, each in office.carriers.items()}

    def of(self, branch: Branch) -> Desk | None:
        """The desk that a branch belongs to; None when this sidecar cannot carry it out."""
        if branch.notification is not None:
            return self._place(branch.notification.url)
        if branch.calls is None:
            return self._datasources.get(branch.id.resource)
        if self._office.caller is None:
            return None
        name = tcc.route_of(branch.id)
        if name not in self._routes:
            self._routes[name] = self._route(name, self._office.caller)
        return self._routes[name]

    def _datasource(self, name: str, carrier: Swept) -> Desk:
        from globaltx_sidecar.branch.database_desk import DatabaseDesk  # noqa: PLC0415
        from globaltx_sidecar.branch.sweeper import Sweeper  # noqa: PLC0415

        office = self._office
        desk = DatabaseDesk(
            name, carrier, office.store, office.health, office.metrics, self.room, office.pace
        )
        sweeper = Sweeper(name, carrier, office.store, office.health, left_seconds=office.sweep_seconds)
        self._tasks.create_task(desk.run(), name=f"desk {name}")
        self._tasks.create_task(sweeper.run(), name=f"sweep {name}")
        if name in office.guard_rows:
            self._tasks.create_task(self._guard_sweeper(name).run(), name=f"sweep guard rows of {name}")
        return desk

    def _guard_sweeper(self, name: str) -> GuardSweeper:
        from globaltx_sidecar.branch.guard_rows import GuardSweeper  # noqa: PLC0415  only where there are some

        office = self._office
        return GuardSweeper(
            name,
            office.guard_rows[name],
            office.guarded_in or office.store,
            office.health,
            keep_seconds=office.guard_seconds,
        )

    def _place(self, url: str) -> Desk | None:
        """The desk of where a notification goes; what must not be called has one, too, to be given up."""
        office = self._office
        if office.sender is None:
            return None
        place = office.sender.place(url)
        if place not in self._places:
            from globaltx_sidecar.notify.desk import NotifyDesk  # noqa: PLC0415  only where that is done

            name = f"notify {place or '(not allowed)'}"
            desk = NotifyDesk(
                name, office.sender, office.store, office.health, office.metrics, self.room, office.pace
            )
            self._tasks.create_task(desk.run(), name=f"desk {name}")
            self._places[place] = desk
        return self._places[place]

    def _route(self, name: str, caller: Caller) -> Desk:
        office = self._office
        desk = CallDesk(
            name, caller, self._budget, office.store, office.health, office.metrics, self.room, office.pace
        )
        self._tasks.create_task(desk.run(), name=f"desk of route {name}")
        return desk
