"""Sees to it that a datasource that guards calls has its guard table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymysql.err import MySQLError

from globaltx.coordinator.reasons import Reason
from globaltx.modes.guard_row import GUARD_TABLE, create_guard_table, select_old
from globaltx_sidecar.branch.table import TableMissingError, create_if_managed

if TYPE_CHECKING:
    from globaltx_sidecar.branch.database import Database


class GuardTableMissingError(TableMissingError):
    """The guard table is not there, or the sidecar's account may not use it; a person must see to it."""

    reason = Reason.GUARD_TABLE_MISSING
    table = GUARD_TABLE
    needed = "readable"
    command = "globaltx schema --guard"


async def ensure_guard_table(database: Database) -> None:
    """Create the guard table if the policy lets us, else see that it is there; may be repeated.

    Raises:
        GuardTableMissingError: it is not there and could not be made.
        DatasourceUnavailableError: the database does not answer.
    """
    schema = database.schema
    async with database.session() as session:
        try:
            await create_if_managed(session, database, GUARD_TABLE, create_guard_table(schema))
            await session.rows(select_old(schema, "", older_than_seconds=0, after="", rows_max=1))
        except MySQLError as error:
            raise GuardTableMissingError(schema, error) from error
