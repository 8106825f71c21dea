"""Sees to it that a datasource has its undo table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymysql.err import MySQLError

from globaltx.undo import locks
from globaltx.undo.table import UNDO_TABLE, create_undo_table, violate_check
from globaltx_sidecar.branch.database import DatasourceUnavailableError, code_of

if TYPE_CHECKING:
    from globaltx_sidecar.branch.database import Database, Session


class UndoTableMissingError(DatasourceUnavailableError):
    """The undo table is not there, or the sidecar's account may not use it; a person must see to it."""

    def __init__(self, schema: str, error: MySQLError) -> None:
        super().__init__(
            f"UndoTableMissing: {schema}.{UNDO_TABLE} is missing or not writable (error {code_of(error)}): "
            f"run the SQL of `globaltx schema`, or set manageUndoTable and grant the account CREATE"
        )


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
            if database.datasource.manage_undo_table and not await exists(session, schema, UNDO_TABLE):
                await session.rows(create_undo_table(schema))
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


async def exists(session: Session, schema: str, table: str) -> bool:
    """Ask first: an account without the right to CREATE needs none when the table is there."""
    rows = await session.rows(
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (schema, table),
    )
    return bool(rows)
