"""A sidecar whose datasource guards calls, and the work of one call in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mysql.connector
import pymysql

from globaltx.modes.guard_row import Finding, Guarded
from globaltx.modes.tcc import Operation
from globaltx.transaction.model import BranchId
from globaltx.transaction.xid import Xid
from tests.sidecar.mysql.harness import ACCOUNT, PASSWORD, Proxy, in_transaction

if TYPE_CHECKING:
    from globaltx_sidecar.guards import Guards

BRANCH = BranchId(Xid("shop", "01jd5x7y2mtry0000000"), "bank", "debit.1")
DONE_BEFORE, NOTHING_TO_TAKE_BACK, TOO_LATE, REFUSED, GIVE_WAY = 29901, 29902, 29903, 1105, 1213
ADD = "UPDATE {hint} item SET amount = amount + 1 WHERE id = 1"


class Guarding(Proxy):
    """A sidecar whose datasource guards calls; ``heard`` is what its HTTP side would hear."""

    heard: Guards

    def work(self, operation: str, sql: str = ADD, *, branch: BranchId = BRANCH) -> int:
        """Do a call's work in a local transaction; give the error's number, 0 for none."""
        with self.connect(autocommit=False) as connection, connection.cursor() as cursor:
            try:
                cursor.execute(sql.format(hint=guarded(operation, branch)))
            except pymysql.MySQLError as error:
                assert not in_transaction(connection)
                return int(error.args[0])
            connection.commit()
        return 0

    def said(self, operation: str) -> Finding:
        """What the HTTP side would hear of a call."""
        return self.heard.taken(BRANCH, Operation(operation))

    @property
    def amount(self) -> int:
        ((amount,),) = self.place.rows("SELECT amount FROM item WHERE id = 1")
        return int(amount) - 100

    @property
    def guard_rows(self) -> list[tuple[str, str]]:
        rows = self.place.rows("SELECT operation, made_by FROM globaltx_guard ORDER BY operation")
        return [(operation.decode(), made_by.decode()) for operation, made_by in rows]


def guarded(operation: str, branch: BranchId = BRANCH) -> str:
    return f"/*+ XidGuard('{Guarded.of(branch, Operation(operation))}') */"


def by_connector(bank: Guarding, *, autocommit: bool) -> Any:
    """Connect as MySQL Connector/Python does, which prepares at the server; to be closed."""
    return mysql.connector.connect(
        host="127.0.0.1",
        port=bank.port,
        user=ACCOUNT,
        password=PASSWORD,
        database=bank.place.schema,
        autocommit=autocommit,
    )
