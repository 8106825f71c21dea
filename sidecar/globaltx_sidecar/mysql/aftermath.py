"""What a connection may ask about its last statement, after the sidecar has sent others behind it.

``SHOW WARNINGS``, ``ROW_COUNT()``, ``FOUND_ROWS()`` and ``@@warning_count`` speak of the statement before,
which for the server is one of ours. So its answer is remembered, with its warnings if there were any (they
are asked for in a train that goes anyway), and written into the next statement if that asks. The
first statement that does not ends it, as it does at the server.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

from globaltx.undo import diagnostics
from globaltx.values import dataclass, replace
from globaltx_sidecar.mysql import trains
from globaltx_sidecar.mysql.packets import HEADER_LENGTH, Command, PacketError, Status, frame
from globaltx_sidecar.mysql.steps import ROLLBACK, Ask, Relay, run
from globaltx_sidecar.mysql.trains import Arrival

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from globaltx.undo.sqlmode import SqlMode
    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.packets import Ok
    from globaltx_sidecar.mysql.reader import Packet
    from globaltx_sidecar.mysql.replies import Result
    from globaltx_sidecar.mysql.steps import Step, Work

WARNINGS: Final = b"SHOW WARNINGS"
KEPT_BYTES_MAX: Final = 256 * 1024
"""So much of the warnings is kept for one connection, the first ones."""
_ASKS: Final = re.compile(rb"row_count|found_rows|warning|error", re.IGNORECASE).search
_SHOW: Final = re.compile(
    rb"\s*show\s+(?P<what>warnings|errors)(?:\s+limit\s+(?P<first>\d+)(?:\s*,\s*(?P<second>\d+))?)?\s*;?\s*",
    re.IGNORECASE,
).fullmatch
_SHOW_COUNT: Final = re.compile(
    rb"\s*show\s+count\s*\(\s*\*\s*\)\s*(?P<what>warning|error)s\s*;?\s*", re.IGNORECASE
).fullmatch
_LEAVE: Final = frozenset({Command.PING, Command.STMT_CLOSE, Command.STATISTICS})
"""Commands after which the server still knows."""
_ERROR: Final = b"Error"


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What the server would say of the last statement, if it had been the last one there too."""

    row_count: int
    warnings: int = 0
    errors: int = 0
    shown: Result | None = None
    """The answer to SHOW WARNINGS; None: the server has the right one."""
    found_rows: int | None = None

    def values(self) -> dict[str, int]:
        """By the names that SQL has for them."""
        told = {
            "ROW_COUNT": self.row_count,
            "WARNING_COUNT": self.warnings,
            "ERROR_COUNT": self.errors,
            "FOUND_ROWS": self.found_rows,
        }
        return {name: value for name, value in told.items() if value is not None}

    def asked(self) -> Aftermath:
        """Give what is left when it has been asked for by rows: those are the last ones now."""
        return replace(self, row_count=-1, found_rows=None)


@dataclass(slots=True)
class Heard:
    """Listens for the warnings of a statement that has been answered by ``ok``, or by rows."""

    ok: Ok
    returned_rows: bool = False
    shown: Result | None = field(default=None, init=False)

    def run(
        self, standing: Standing, statements: Sequence[bytes], *, switch_back: bool = False
    ) -> Generator[Step, Any, Arrival]:
        """Run statements as `run` does, and ask for the warnings before the first ones."""
        if not self.ok.warnings or self.shown is not None:
            return (yield from run(standing, statements, switch_back=switch_back))
        arrived = yield from run(standing, [WARNINGS, *statements], switch_back=switch_back, verbatim=True)
        self.shown = _bounded(arrived.results[0])
        return Arrival(arrived.results[1:] or arrived.results)

    def keep(self, shown: Result) -> None:
        """Take the answer to SHOW WARNINGS, which was asked for already."""
        self.shown = _bounded(shown)

    def remember(self, standing: Standing) -> None:
        """Keep it until the next statement."""
        row_count = -1 if self.returned_rows else self.ok.affected_rows
        standing.aftermath = Aftermath(row_count, self.ok.warnings, shown=self.shown)


def roll_back_failed(standing: Standing) -> Work:
    """Roll the local transaction back behind an error, and keep what the server says about that.

    Raises:
        PacketError: the server refuses even that.
    """
    both = trains.coupled(trains.single(WARNINGS), trains.single(ROLLBACK))
    warned, rolled_back = yield Ask(replace(both, verbatim=True))
    standing.told(Arrival(rolled_back.results).status)
    if rolled_back.error is not None:
        message = f"the server refused a ROLLBACK: {rolled_back.error.code}"
        raise PacketError(message)
    standing.ended()
    shown = _bounded(warned.last)
    rows = shown.text_rows()
    errors = sum(row[0] == _ERROR for row in rows)
    standing.aftermath = Aftermath(-1, len(rows), errors, shown)


def remember_read(standing: Standing, found_rows: int | None, shown: Result) -> None:
    """Keep what can be asked about a read; ``shown`` is the answer to SHOW WARNINGS behind it."""
    kept = _bounded(shown)
    standing.aftermath = Aftermath(-1, kept.row_count, shown=kept, found_rows=found_rows)


def asks(standing: Standing, packet: bytes) -> bool:
    """Whether a packet asks about the statement before it; if not, that is forgotten."""
    if standing.aftermath is None:
        return False
    command = packet[HEADER_LENGTH]
    if command == Command.QUERY and _ASKS(packet, HEADER_LENGTH):
        return True
    if command == Command.PING:
        standing.aftermath = replace(standing.aftermath, row_count=0)
    elif command not in _LEAVE:
        standing.aftermath = None
    return False


def question(standing: Standing, packet: Packet, mode: SqlMode) -> Generator[Step, Any, Packet | None]:
    """Answer a statement that asks for warnings; give any other with what is known written into it."""
    known, sql = standing.aftermath, packet.payload[1:]
    if known is None:
        return packet
    if (show := _SHOW(sql)) is not None:
        standing.aftermath = known.asked()
        if known.shown is None:
            return packet
        yield Relay(_chosen(known.shown, show["what"].lower() == b"errors", _limits(show)))
        return None
    if (show := _SHOW_COUNT(sql)) is not None:
        standing.aftermath = known.asked()
        name = f"{show['what'].decode().upper()}_COUNT"
        return _query(packet, diagnostics.column(f"@@session.{name.lower()}", known.values()[name]))
    lasts = standing.mariadb and diagnostics.reads_no_table(sql, mode)
    standing.aftermath = known.asked() if lasts else None
    return _query(packet, diagnostics.fill_in(sql, known.values(), mode))


def _query(packet: Packet, sql: bytes) -> Packet:
    payload = bytes((Command.QUERY,)) + sql
    return replace(packet, payload=payload, raw=frame(payload, packet.sequence))


def _limits(show: re.Match[bytes]) -> slice:
    """The rows that a LIMIT leaves: LIMIT count, or LIMIT offset, count."""
    first, second = (None if each is None else int(each) for each in show.group("first", "second"))
    return slice(0, first) if second is None or first is None else slice(first, first + second)


def _chosen(result: Result, errors_only: bool, limits: slice) -> tuple[bytes, ...]:  # noqa: FBT001  SHOW ERRORS
    """Give the packets of the answer, with those rows that were asked for."""
    packets = result.answer(clear=Status.MORE_RESULTS_EXISTS | Status.IN_TRANS)
    rows = packets[result.rows_at : -1]
    if errors_only:
        rows = tuple(row for row, told in zip(rows, result.text_rows(), strict=True) if told[0] == _ERROR)
    return (*packets[: result.rows_at], *rows[limits], packets[-1])


def _bounded(result: Result) -> Result:
    """Leave away the last rows of what is too large to be kept."""
    size = 0
    for at, payload in enumerate(result.payloads[result.rows_at : -1], result.rows_at):
        size += len(payload)
        if size > KEPT_BYTES_MAX:
            return replace(result, payloads=[*result.payloads[:at], result.payloads[-1]])
    return result
