"""Drives the work on one packet: gives the generator what it waits for, collects what it wants done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx_sidecar.commands import Committed, Refused, Register, ToClient, ToDatabase
from globaltx_sidecar.mysql import phase_one
from globaltx_sidecar.mysql.packets import PacketError, frame
from globaltx_sidecar.mysql.steps import Answer, Ask, PassOn

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx_sidecar.commands import Command
    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.reader import Packet
    from globaltx_sidecar.mysql.replies import Collector, Reply
    from globaltx_sidecar.mysql.road import Road
    from globaltx_sidecar.mysql.steps import Step


class Worker:
    """The work on one packet, from its beginning to ``done``."""

    def __init__(self, standing: Standing, road: Road, collector: Collector, packet: Packet) -> None:
        self.done = False
        self._road = road
        self._collector = collector
        self._packet = packet
        self._work = phase_one.handle(standing, packet)
        self._awaited = 0
        self._replies: list[Reply] = []

    def begin(self) -> list[Command]:
        """Do what can be done at once."""
        return self._run(lambda: next(self._work))

    def answered(self, value: object) -> list[Command]:
        """What the last command asked for has come."""
        return self._run(lambda: self._work.send(value))

    def failed(self, error: Exception) -> list[Command]:
        """What the last command asked for will not come; raises what the work does not expect."""
        return self._run(lambda: self._work.throw(error))

    def database_data(self, data: bytes) -> list[Command]:
        """Take in what the database answers to the last train.

        Raises:
            PacketError: it is no answer to it.
        """
        commands: list[Command] = []
        for reply in self._collector.collect(data):
            if not self._awaited:
                message = "the database answered what was not asked"
                raise PacketError(message)
            self._replies.append(reply)
            if len(self._replies) == self._awaited:
                replies, self._replies, self._awaited = self._replies, [], 0
                commands += self.answered(replies)
        return commands

    def _run(self, resume: Callable[[], Step]) -> list[Command]:
        """Run until the work waits for something, or ends."""
        commands: list[Command] = []
        try:
            while not self._waits_for(resume(), commands):
                resume = self._resume
        except StopIteration:
            self._finish()
        return commands

    def _resume(self) -> Step:
        return self._work.send(None)

    def _waits_for(self, step: Step, commands: list[Command]) -> bool:
        """Turn a step into commands; whether it must be answered before the next one."""
        if isinstance(step, Ask):
            self._awaited = step.train.responses
            commands.append(ToDatabase(step.train.data))
            return True
        if isinstance(step, Answer):
            commands.append(ToClient(frame(step.payload, self._packet.next_sequence)))
            return False
        if isinstance(step, PassOn):
            self._road.pass_on(step.packet, step.prepared)
            commands.append(ToDatabase(step.packet))
            return False
        commands.append(step)
        return not isinstance(step, Register | Refused | Committed)

    def _finish(self) -> None:
        self.done = True
        if self._collector.pending:
            message = "the database answered more than was asked"
            raise PacketError(message)
