"""Drives the work on one packet: gives the generator what it waits for, collects what it wants done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx_sidecar.commands import Began, Committed, Found, Refused, Register, ToClient, ToDatabase
from globaltx_sidecar.mysql import phase_one
from globaltx_sidecar.mysql.packets import PAYLOAD_LENGTH_MAX, PacketError, frame
from globaltx_sidecar.mysql.steps import Answer, Ask, PassOn, Relay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx_sidecar.commands import Command
    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.reader import Packet
    from globaltx_sidecar.mysql.replies import Collector, Reply
    from globaltx_sidecar.mysql.road import Road
    from globaltx_sidecar.mysql.trains import Train

_ANSWERS = (Answer, Relay)
_TOLD = (Register, Refused, Committed, Found, Began)
"""What is not answered. (Kinds joined by `|` would be joined anew each time.)"""


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
        return self._run(None)

    def answered(self, value: object) -> list[Command]:
        """What the last command asked for has come."""
        return self._run(value)

    def failed(self, error: Exception) -> list[Command]:
        """What the last command asked for will not come; raises what the work does not expect."""
        return self._run(None, error)

    def database_data(self, data: bytes) -> list[Command]:
        """Take in what the database answers to the last train.

        Raises:
            PacketError: it is no answer to it.
        """
        self._replies += self._collector.collect(data)
        if not self._awaited:
            message = "the database answered what was not asked"
            raise PacketError(message)
        return self._run(self._arrived()) if len(self._replies) >= self._awaited else []

    def _arrived(self) -> list[Reply]:
        """The replies that are awaited; later ones to the same bytes stay for the next step."""
        arrived, self._replies = self._replies[: self._awaited], self._replies[self._awaited :]
        self._awaited = 0
        return arrived

    def _run(self, value: object, error: Exception | None = None) -> list[Command]:
        """Run until the work waits for something, or ends."""
        commands: list[Command] = []
        try:
            step = self._work.send(value) if error is None else self._work.throw(error)
            while True:
                given: object = None
                if isinstance(step, Ask):
                    if self._ask(step.train, commands):
                        return commands
                    given = self._arrived()
                elif isinstance(step, _ANSWERS):
                    commands.append(ToClient(self._answer(step)))
                elif isinstance(step, PassOn):
                    # What is passed on is followed as if it had come from the client: the work is over.
                    self._road.pass_on(step.packet, step.prepared)
                    commands.append(ToDatabase(step.packet))
                    self._work.close()
                else:
                    commands.append(step)
                    if not isinstance(step, _TOLD):
                        return commands
                step = self._work.send(given)
        except StopIteration:
            self._finish()
        return commands

    def _ask(self, train: Train, commands: list[Command]) -> bool:
        """Send a train; False if all that it waits for has come already."""
        self._awaited = train.responses
        self._collector.verbatim = train.verbatim
        if train.data:
            self._check_silence()
            commands.append(ToDatabase(train.data))
        return len(self._replies) < self._awaited

    def _answer(self, step: Answer | Relay) -> bytes:
        return self._framed((step.payload,) if isinstance(step, Answer) else step.payloads)

    def _framed(self, payloads: Iterable[bytes]) -> bytes:
        """Put headers before packets that follow each other."""
        framed = bytearray()
        for payload in payloads:
            framed += frame(payload, self._next_sequence)
            self._next_sequence = (self._next_sequence + 1 + len(payload) // PAYLOAD_LENGTH_MAX) % 256
        return bytes(framed)

    def _finish(self) -> None:
        self.done = True
        self._check_silence()

    def _check_silence(self) -> None:
        """What came unasked must not be taken for the answer to the next question."""
        if self._collector.pending or self._replies:
            message = "the database answered more than was asked"
            raise PacketError(message)
