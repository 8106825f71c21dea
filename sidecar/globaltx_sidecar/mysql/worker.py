"""Drives the work on one packet: gives the generator what it waits for, collects what it wants done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx_sidecar.commands import Committed, Refused, Register, ToClient, ToDatabase
from globaltx_sidecar.mysql import phase_one
from globaltx_sidecar.mysql.packets import PAYLOAD_LENGTH_MAX, PacketError, frame
from globaltx_sidecar.mysql.steps import Answer, Ask, PassOn, Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
        self._next_sequence = packet.next_sequence
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
        self._replies += self._collector.collect(data)
        if not self._awaited:
            message = "the database answered what was not asked"
            raise PacketError(message)
        return self.answered(self._arrived()) if len(self._replies) >= self._awaited else []

    def _arrived(self) -> list[Reply]:
        """The replies that are awaited; later ones to the same bytes stay for the next step."""
        arrived, self._replies = self._replies[: self._awaited], self._replies[self._awaited :]
        self._awaited = 0
        return arrived

    def _run(self, resume: Callable[[], Step]) -> list[Command]:
        """Run until the work waits for something, or ends."""
        commands: list[Command] = []
        try:
            while (again := self._take(resume(), commands)) is not None:
                resume = again
        except StopIteration:
            self._finish()
        return commands

    def _take(self, step: Step, commands: list[Command]) -> Callable[[], Step] | None:
        """Turn a step into commands; give how to go on, None if it must be answered before."""
        if isinstance(step, Ask):
            self._awaited = step.train.responses
            self._collector.verbatim = step.train.verbatim
            if step.train.data:
                self._check_silence()
                commands.append(ToDatabase(step.train.data))
            if len(self._replies) < self._awaited:
                return None
            arrived = self._arrived()
            return lambda: self._work.send(arrived)
        if isinstance(step, PassOn):
            self._road.pass_on(step.packet, step.prepared)
            commands.append(ToDatabase(step.packet))
            return self._stop
        if isinstance(step, Answer):
            commands.append(ToClient(frame(step.payload, self._next_sequence)))
            self._next_sequence = (self._next_sequence + 1) % 256
        elif isinstance(step, Relay):
            commands.append(ToClient(self._framed(step.payloads)))
        else:
            commands.append(step)
        return self._resume if isinstance(step, Answer | Relay | Register | Refused | Committed) else None

    def _framed(self, payloads: Iterable[bytes]) -> bytes:
        """Put headers before packets that follow each other."""
        framed = bytearray()
        for payload in payloads:
            framed += frame(payload, self._next_sequence)
            self._next_sequence = (self._next_sequence + 1 + len(payload) // PAYLOAD_LENGTH_MAX) % 256
        return bytes(framed)

    def _resume(self) -> Step:
        return self._work.send(None)

    def _stop(self) -> Step:
        """What is passed on is followed as if it had come from the client: the work is over."""
        self._work.close()
        return self._work.send(None)

    def _finish(self) -> None:
        self.done = True
        self._check_silence()

    def _check_silence(self) -> None:
        """What came unasked must not be taken for the answer to the next question."""
        if self._collector.pending or self._replies:
            message = "the database answered more than was asked"
            raise PacketError(message)
