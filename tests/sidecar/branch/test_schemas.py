from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.policy import Datasource
from globaltx.undo.image import check_types
from globaltx.undo.refusal import RefusedError
from globaltx.undo.shape import NoSuchTableError, check_undoable
from globaltx_sidecar.branch.database import Credentials, Database, DatasourceUnavailableError
from globaltx_sidecar.branch.schemas import CachedSchemas
from globaltx_sidecar.branch.undo_table import UndoTableMissingError, UndoTableUnfitError, ensure_undo_table
from tests.conftest import MARIADB, MYSQL, ON_MARIADB, ON_MYSQL
from tests.sidecar.mysql.meter import TripMeter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dev.databases import Server

    Sql = Callable[[str], str]


async def test_a_shape_is_read_in_two_trips(
    database: Database, schema: str, sql: Sql, tmp_path: Path
) -> None:
    sql("CREATE TABLE one (a INT PRIMARY KEY, b INT UNIQUE); CREATE TABLE two (a INT PRIMARY KEY)")
    with TripMeter(database.datasource.port) as meter:
        metered = Database(replace(database.datasource, port=meter.port), str(tmp_path))
        schemas = CachedSchemas(metered)
        await schemas.shape(schema, "one")
        before = meter.lines[0].trips
        shape = await schemas.shape(schema, "two")
        assert meter.lines[0].trips - before == 2
        metered.close()
    assert shape.primary_key == ("a",)


async def test_a_shape_tells_all_that_matters(schemas: CachedSchemas, schema: str, sql: Sql) -> None:
    sql("""
    CREATE TABLE Parent (b INT, a VARCHAR(10) CHARACTER SET latin1, g INT AS (b) VIRTUAL, h INT INVISIBLE,
      ts TIMESTAMP NULL ON UPDATE CURRENT_TIMESTAMP, n INT AUTO_INCREMENT UNIQUE, PRIMARY KEY (a, b));
    CREATE TABLE child (id INT PRIMARY KEY, x INT, y VARCHAR(10) CHARACTER SET latin1,
      FOREIGN KEY (y, x) REFERENCES Parent (a, b) ON DELETE CASCADE ON UPDATE SET NULL);
    """)
    shape = await schemas.shape(schema, "Parent")
    assert shape.primary_key == ("a", "b")
    assert [column.name for column in shape.stored_columns] == ["b", "a", "h", "ts", "n"]
    assert (shape.column("A").charset, shape.column("A").length) == ("latin1", 10)
    assert shape.column("n").auto_increment
    assert shape.column("ts").on_update_now
    assert not shape.column("h").visible
    (reference,) = shape.references
    assert (reference.table, reference.columns, reference.referenced) == ("child", ("y", "x"), ("a", "b"))
    assert reference.deletes
    assert reference.updates
    check_undoable(shape)


@pytest.mark.parametrize(
    ("ddl", "reason"),
    [
        ("CREATE TABLE t (a INT)", "NoPrimaryKey"),
        ("CREATE TABLE t (a TEXT, PRIMARY KEY (a(5)))", "NoPrimaryKey"),
        ("CREATE TABLE t (a INT PRIMARY KEY) ENGINE=MyISAM", "MyISAM has no transactions"),
        ("CREATE TABLE t (a DOUBLE PRIMARY KEY)", "primary key has the double a"),
        ("CREATE TABLE s (a INT PRIMARY KEY); CREATE VIEW t AS SELECT * FROM s", "VIEW"),
        (
            "CREATE TABLE t (a INT PRIMARY KEY); CREATE TRIGGER tr BEFORE DELETE ON t FOR EACH ROW DO 1",
            "trigger tr",
        ),
    ],
)
async def test_tables_that_cannot_be_undone_are_refused(
    schemas: CachedSchemas, schema: str, sql: Sql, ddl: str, reason: str
) -> None:
    sql(ddl)
    shape = await schemas.shape(schema, "t")
    with pytest.raises(RefusedError, match=reason):
        check_undoable(shape)


@ON_MARIADB
async def test_a_table_that_keeps_its_history_is_refused(
    schemas: CachedSchemas, schema: str, sql: Sql
) -> None:
    sql("CREATE TABLE t (a INT PRIMARY KEY) WITH SYSTEM VERSIONING")
    shape = await schemas.shape(schema, "t")
    with pytest.raises(RefusedError, match="SYSTEM VERSIONED"):
        check_undoable(shape)


@ON_MYSQL
async def test_what_only_mysql_has(schemas: CachedSchemas, schema: str, sql: Sql) -> None:
    """A key that nobody wrote, expressions as defaults and in an index, a vector."""
    sql("""
    SET sql_generate_invisible_primary_key = ON;
    CREATE TABLE t (a INT DEFAULT (1 + 1), v VECTOR(3), KEY ((a + 1)), CHECK (a < 9));
    """)
    shape = await schemas.shape(schema, "t")
    assert shape.primary_key == ("my_row_id",)
    assert [column.name for column in shape.stored_columns] == ["my_row_id", "a", "v"]
    assert shape.column("my_row_id").auto_increment
    check_undoable(shape)
    check_types(shape.stored_columns, shape)


async def test_a_shape_is_read_again_after_a_while(database: Database, schema: str, sql: Sql) -> None:
    sql("CREATE TABLE t (a INT PRIMARY KEY)")
    kept, fresh = CachedSchemas(database, seconds=3600), CachedSchemas(database, seconds=0)
    for schemas in (kept, fresh):
        assert len((await schemas.shape(schema, "t")).columns) == 1
    sql("ALTER TABLE t ADD COLUMN b INT")
    assert len((await kept.shape(schema, "t")).columns) == 1
    assert len((await fresh.shape(schema, "t")).columns) == 2
    kept.forget()
    assert len((await kept.shape(schema, "t")).columns) == 2


async def test_the_servers_warnings_are_not_printed(database: Database) -> None:
    async with database.session() as session:
        rows = await session.rows("SELECT CAST('a customer''s name' AS SIGNED)")  # a warning fails a test
        assert rows == ((0,),)
        assert await session.rows("SELECT @@warning_count") == ((1,),)


async def test_an_unknown_table_is_told(schemas: CachedSchemas, schema: str) -> None:
    with pytest.raises(NoSuchTableError, match="nothing_here"):
        await schemas.shape(schema, "nothing_here")


@pytest.mark.parametrize(
    ("grant", "known"),
    [
        ("SELECT, TRIGGER ON `{}`.*", True),
        ("SELECT, TRIGGER ON `{}`.t", True),
        ("SELECT ON `{}`.*", False),
        ("TRIGGER ON `{}`.other_table", False),
        ("TRIGGER ON `t\\_%`.*", True),
    ],
)
async def test_an_account_that_sees_no_triggers_is_found_out(
    server: Server,
    schema: str,
    sql: Sql,
    tmp_path: Path,
    grant: str,
    known: bool,  # noqa: FBT001  expected
) -> None:
    user = f"u{schema}"
    sql("CREATE TABLE t (a INT PRIMARY KEY); CREATE TABLE other_table (a INT PRIMARY KEY)")
    sql(
        f"CREATE USER {user}@'%' IDENTIFIED BY 'x'; GRANT SELECT ON {schema}.* TO {user}@'%';"
        f"GRANT {grant.format(schema)} TO {user}@'%'"
    )
    limited = _database(server, schema, tmp_path, user, "x")
    shape = await CachedSchemas(limited).shape(schema, "t")
    limited.close()
    assert shape.triggers_known is known
    if not known:
        with pytest.raises(RefusedError, match="GRANT TRIGGER"):
            check_undoable(shape)


async def test_what_keeps_the_sidecar_out_is_told_without_its_password(
    server: Server, schema: str, tmp_path: Path
) -> None:
    refused = _database(server, schema, tmp_path, "nobody", "my-secret")
    with pytest.raises(DatasourceUnavailableError, match="Access denied") as told:
        await CachedSchemas(refused).shape(schema, "t")
    assert "my-secret" not in str(told.value)
    assert "my-secret" not in repr(Credentials("nobody", "my-secret"))
    (tmp_path / "shop" / "password").unlink()
    with pytest.raises(DatasourceUnavailableError, match="credentials"):
        await CachedSchemas(refused).shape(schema, "t")


_UNCHECKED = "ALTER TABLE globaltx_undo DROP CONSTRAINT globaltx_undo_has_one_owner"
_UNENFORCED = "ALTER TABLE globaltx_undo ALTER CHECK globaltx_undo_has_one_owner NOT ENFORCED"


@pytest.mark.parametrize(
    ("server", "spoil"),
    [
        pytest.param("mariadb", _UNCHECKED, marks=MARIADB.marks),
        pytest.param("mysql", _UNCHECKED, marks=MYSQL.marks),
        pytest.param("mysql", _UNENFORCED, marks=MYSQL.marks),
    ],
    indirect=["server"],
)
async def test_an_undo_table_that_locks_nothing_is_found_out(
    database: Database, schema: str, sql: Sql, spoil: str
) -> None:
    sql(f"CREATE TABLE t (a INT PRIMARY KEY); {spoil}")
    with pytest.raises(UndoTableUnfitError, match="not enforced"):
        await ensure_undo_table(database)
    schemas = CachedSchemas(database)
    with pytest.raises(DatasourceUnavailableError, match="not enforced"):
        await schemas.shape(schema, "t")
    sql("DROP TABLE globaltx_undo")
    await ensure_undo_table(database)
    assert (await schemas.shape(schema, "t")).primary_key == ("a",)
    assert sql("SELECT COUNT(*) FROM globaltx_undo").strip() == "0"


async def test_the_undo_table_is_made_once_or_its_lack_is_told(
    server: Server, database: Database, schema: str, sql: Sql, tmp_path: Path
) -> None:
    await ensure_undo_table(database)
    assert sql("SHOW TABLES").split() == ["globaltx_undo"]
    sql("DROP TABLE globaltx_undo")
    sql(f"CREATE USER v{schema}@'%' IDENTIFIED BY 'x'; GRANT SELECT ON {schema}.* TO v{schema}@'%'")
    folder = tmp_path / "second"
    folder.mkdir()
    limited = _database(server, schema, folder, f"v{schema}", "x")
    with pytest.raises(UndoTableMissingError, match="globaltx schema"):
        await ensure_undo_table(limited)
    limited.close()


def _database(server: Server, schema: str, folder: Path, user: str, password: str) -> Database:
    shop = folder / "shop"
    shop.mkdir(exist_ok=True)
    (shop / "username").write_text(user)
    (shop / "password").write_text(password)
    return Database(Datasource("shop", "127.0.0.1", schema, "shop", port=server.port), str(folder))
