"""The guard row: an exact memory of what an application was asked for, in the application's own database.

A call (try, confirm, cancel, step, compensate) that is guarded writes a row of the table
``globaltx_guard`` in the very local transaction that does its work. So the row is there if and only if
the work was done, whatever crashed on the way and whoever repeats the call, and the row's primary key
makes two that are made side by side wait for each other. Whoever takes something back (cancel,
compensate) writes the row of what it takes back too: if that was not there, there is nothing to take
back, and it never will be, because the work that comes late then finds its row taken.

The idea is the barrier of https://en.dtm.pub/practice/barrier.html.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from globaltx.modes.tcc import Operation
from globaltx.transaction.xid import InvalidXidError, Xid
from globaltx.undo.literal import identifier, sql
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection

    from globaltx.transaction.model import BranchId

GUARD_TABLE = "globaltx_guard"
TAKES_BACK = {Operation.CANCEL: Operation.TRY, Operation.COMPENSATE: Operation.STEP}
"""What takes something back, and what that is."""
_BRANCH = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,251}[a-z0-9])?")
_KEY = "owner,xid,branch,operation"


class InvalidGuardError(ValueError):
    """The text names no call; the message says what one looks like."""


class Finding(StrEnum):
    """What the table said of a call."""

    FIRST = "first"
    """It was not made before, so its work is to be done."""
    REPEATED = "repeated"
    """Its work was done."""
    EMPTY = "empty"
    """There is nothing that it could take back, and never will be."""
    LATE = "late"
    """What it would do was taken back before it came."""


DONE = frozenset({Finding.REPEATED, Finding.EMPTY})
"""Those by which a call is as good as answered, whatever the application made of them."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A call that an application was asked for; as a text it is ``<xid>/<branch>/<operation>``."""

    xid: Xid
    branch: str
    operation: Operation

    def __str__(self) -> str:
        return f"{self.xid}/{self.branch}/{self.operation}"

    @classmethod
    def of(cls, branch: BranchId, operation: Operation) -> Guarded:
        """The call of a branch."""
        return cls(branch.xid, branch.name, operation)

    @classmethod
    def parse(cls, text: str) -> Guarded:
        """Read what stands in the header ``globaltx-guard``.

        Raises:
            InvalidGuardError: it is something else.
        """
        xid, _, rest = text.partition("/")
        branch, _, operation = rest.partition("/")
        try:
            if not _BRANCH.fullmatch(branch):
                raise InvalidGuardError
            return cls(Xid.parse(xid), branch, Operation(operation))
        except (InvalidXidError, ValueError) as error:
            message = (
                f"{text[:100]!r} names no call: give the value of the header globaltx-guard, which is "
                f"<xid>/<branch>/<operation>, the operation one of {', '.join(Operation)}"
            )
            raise InvalidGuardError(message) from error


def create_guard_table(schema: str) -> str:
    """Write the CREATE TABLE IF NOT EXISTS of a schema's guard table.

    ``owner`` is ``<namespace>/<app>``; ``made_by`` is the operation that has written the row, which is
    another than ``operation`` where that was taken back before it came.
    """
    return f"""CREATE TABLE IF NOT EXISTS {identifier(schema)}.{GUARD_TABLE} (
  owner VARBINARY(128) NOT NULL,
  xid VARBINARY(128) NOT NULL,
  branch VARBINARY(253) NOT NULL,
  operation VARBINARY(16) NOT NULL,
  made_by VARBINARY(16) NOT NULL,
  created_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY ({_KEY})
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC"""


def guard_insert(schema: str, owner: str, call: Guarded) -> bytes:
    """Write the one INSERT that a guarded local transaction begins with; `judge` reads how many rows it made.

    It waits for the same call in another local transaction, and for what it takes back.
    """
    first = TAKES_BACK.get(call.operation)
    operations = (call.operation,) if first is None else (first, call.operation)
    made_by = _hex(call.operation)
    place = f"{_hex(owner)},{_hex(str(call.xid))},{_hex(call.branch)}"
    rows = ",".join(f"({place},{_hex(each)},{made_by})" for each in operations)
    return f"INSERT IGNORE INTO {_table(schema)} ({_KEY},made_by) VALUES {rows}".encode()


def maker_query(schema: str, owner: str, call: Guarded) -> bytes:
    """Write the SELECT that tells, in one row, which operation has written a call's row.

    It locks the row, so that it sees what was committed, and nothing else, whatever the isolation level.
    """
    return f"SELECT made_by FROM {_table(schema)} WHERE {_place(owner, call)} FOR UPDATE".encode()


def done_query(schema: str, owner: str, call: Guarded) -> str:
    """Write the SELECT of a row if a call's work was committed; it waits for nobody."""
    return f"SELECT 1 FROM {_table(schema)} WHERE {_place(owner, call)} AND made_by={_hex(call.operation)}"


def judge(call: Guarded, inserted: int, made_by: bytes | None = None) -> Finding:
    """Say what a call is, by how many rows `guard_insert` made, and who made its row if it made none."""
    if inserted == 0:
        late = made_by is not None and made_by != call.operation.encode()
        return Finding.LATE if late else Finding.REPEATED
    return Finding.EMPTY if inserted > 1 else Finding.FIRST


def select_old(schema: str, owner: str, older_than_seconds: int, after: str, rows_max: int) -> str:
    """Write the SELECT of the xids, in their order behind ``after``, whose last row is old; no locks."""
    return (
        f"SELECT xid FROM {_table(schema)} WHERE owner={_hex(owner)} AND xid>{_hex(after)} GROUP BY xid"
        f" HAVING MAX(created_at)<CURRENT_TIMESTAMP(6)-INTERVAL {int(older_than_seconds)} SECOND"
        f" ORDER BY xid LIMIT {int(rows_max)}"
    )


def delete_rows(schema: str, owner: str, xids: Collection[Xid]) -> str:
    """Write the DELETE of all rows of transactions: of some only, the others would say something else."""
    listed = ",".join(_hex(str(xid)) for xid in sorted(xids))
    return f"DELETE FROM {_table(schema)} WHERE owner={_hex(owner)} AND xid IN ({listed})"


def _place(owner: str, call: Guarded) -> str:
    """The condition that finds the one row of a call."""
    return (
        f"owner={_hex(owner)} AND xid={_hex(str(call.xid))}"
        f" AND branch={_hex(call.branch)} AND operation={_hex(call.operation)}"
    )


def _table(schema: str) -> str:
    return f"{identifier(schema)}.{GUARD_TABLE}"


def _hex(text: str) -> str:
    return sql(text.encode())
