"""What the tables of ours have in common: they are made where the policy lets us, or a person makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from globaltx_sidecar.branch.database import DatasourceUnavailableError, code_of

if TYPE_CHECKING:
    from pymysql.err import MySQLError

    from globaltx_sidecar.branch.database import Database, Session


class TableMissingError(DatasourceUnavailableError):
    """A table of ours is not there, or the sidecar's account may not use it; a person must see to it."""

    table: ClassVar[str]
    needed: ClassVar[str]
    """What it must be for the sidecar."""
    command: ClassVar[str]
    """Prints the SQL that makes it."""

    def __init__(self, schema: str, error: MySQLError) -> None:
        super().__init__(
            f"{self.reason}: {schema}.{self.table} is missing or not {self.needed} (error {code_of(error)}): "
            f"run the SQL of `{self.command}`, or set manageUndoTable and grant the account CREATE"
        )


async def create_if_managed(session: Session, database: Database, table: str, create: str) -> None:
    """Create a table of ours if the policy lets us and it is not there.

    It is asked for first: an account without the right to CREATE needs none when the table is there.
    """
    if not database.datasource.manage_undo_table:
        return
    rows = await session.rows(
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (database.schema, table),
    )
    if not rows:
        await session.rows(create)
