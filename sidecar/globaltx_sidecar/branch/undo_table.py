"""Sees to it that a datasource has its undo table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymysql.err import MySQLError

from globaltx.coordinator.reasons import Reason
from globaltx.undo import locks
from globaltx.undo.table import UNDO_TABLE, create_undo_table, violate_check
from globaltx_sidecar.branch.database import DatasourceUnavailableError, code_of
from globaltx_sidecar.branch.table import TableMissingError, create_if_managed

if TYPE_CHECKING:
    from globaltx_sidecar.branch.database import Database, Session


class UndoTableMissingError(TableMissingError):
    """The undo table is not there, or the sidecar's account may not use it; a person must see to it."""

    reason = Reason.UNDO_TABLE_MISSING
    table = UNDO_TABLE
    needed = "writable"
    command = "globaltx schema"


class UndoTableUnfitError(UndoTableMissingError):
    """The undo table locks nothing; a person must see to it."""

    def __init__(self, schema: str) -> None:
        DatasourceUnavailableError.__init__(
            self,
            f"UndoTableMissing: the CHECK of {schema}.{UNDO_TABLE} is missing or not enforced, so that no "
            "row would be locked: use MySQL 8.0.16, MariaDB 10.2 or newer, and the SQL of `globaltx schema`",
        )


async def ensure_undo_table(database: Database) -> None:
    """Create the undo table if the policy lets us, else see that it is there; may be repeated.

    Raises:
        UndoTableMissingError: it is not there and could not be made, or it locks nothing.
        DatasourceUnavailableError: the database does not answer.
    """
    schema = database.schema
    async with database.session() as session:
        try:
            await create_if_managed(session, database, UNDO_TABLE, create_undo_table(schema))
            await session.rows(locks.select_stale(schema, older_than_seconds=0, rows_max=1))
            await check_locks(session, schema)
        except MySQLError as error:
            raise UndoTableMissingError(schema, error) from error


async def check_locks(session: Session, schema: str) -> None:
    """See that the undo table refuses what would break a lock.

    Raises:
        UndoTableUnfitError: it does not.
        pymysql.err.MySQLError: it could not be asked.
    """
    await session.rows("BEGIN")
    try:
        await session.rows(violate_check(schema))
    except MySQLError as error:
        if code_of(error) not in locks.LOCK_CONFLICT_ERRORS:
            raise
    else:
        raise UndoTableUnfitError(schema)
    finally:
        await session.rows("ROLLBACK")
