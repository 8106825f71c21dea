"""The twin: a sequence through the sidecar, and the same without it, on tables that are made alike.

Rolled back, every table is byte for byte what it was. Committed, it is what it is without
globaltx, and so is every answer on the way. What was refused has changed nothing: it is left out
of the run without globaltx.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import CLIENT

from globaltx.transaction.states import Outcome, State
from tests.sidecar.mysql.harness import hint, in_transaction
from tests.twin.wire import Answer, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from globaltx.transaction.xid import Xid
    from tests.sidecar.mysql.harness import Place
    from tests.twin.case import Case, Connection, Step
    from tests.twin.mesh import Mesh

REFUSED = 1105
_RESET_CONNECTION = 31
_FREE_OF_CONFLICT = frozenset({1205, 1213})
_BEGINNING = (
    "SET NAMES utf8mb4, sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+01:00', foreign_key_checks = 0,"
    " timestamp = 1600000000.5, lock_wait_timeout = 60"
)
_NUMBERS = ("float", "double", "bit", "enum", "set")
_PLAIN_TEXT = ("json", "uuid", "inet4", "inet6", "date", "time", "datetime", "decimal")


class CannotBeMade(Exception):  # noqa: N818  it is no error of what is tested
    """The tables of a case cannot be made: a smaller one leaves out what the rest of it needs."""


class Pair:
    """The datasources behind sidecars, and as many schemas without."""

    def __init__(self, mesh: Mesh, plain: Sequence[Place]) -> None:
        self.mesh = mesh
        self._guarded = [place.connect() for place in mesh.places]
        self._plain = [place.connect() for place in plain]
        self._of_sidecars = _Pool(mesh.reach)
        self._of_plain = _Pool(lambda branch, **options: plain[branch].connect(**options))

    def close(self) -> None:
        for each in (*self._guarded, *self._plain, self._of_sidecars, self._of_plain):
            each.close()

    def check(self, case: Case) -> list[Answer]:
        """Play a case in both ways; give the answers of the committed run."""
        count = len(case.branches)
        for connection, tables in zip(self._guarded, case.branches, strict=False):
            _make(connection, tables)
        for connection, tables in zip(self._plain, case.branches, strict=False):
            _make(connection, tables)
            _count_anew(connection, tables)
        self.mesh.forget_shapes()
        self._roll_back(case, count)
        return self._commit(case, count)

    def _roll_back(self, case: Case, count: int) -> None:
        before = [_dump(each) for each in self._guarded[:count]]
        xid = self.mesh.begin()
        self._through_the_sidecar(case, xid)
        self.mesh.decide(xid, Outcome.ROLLBACK)
        for settlement in self.mesh.roll_back_all(xid):
            assert settlement.state is State.ROLLED_BACK, settlement.message
        for branch, (connection, was) in enumerate(zip(self._guarded[:count], before, strict=True)):
            _compare(f"branch {branch}, rolled back", _dump(connection), was)
            _no_records(connection)

    def _commit(self, case: Case, count: int) -> list[Answer]:
        for connection, tables in zip(self._guarded, case.branches, strict=False):
            _count_anew(connection, tables)
        xid = self.mesh.begin()
        answers = self._through_the_sidecar(case, xid)
        self.mesh.decide(xid, Outcome.COMMIT)
        self.mesh.commit_all(xid)
        self._without(case, answers)
        for branch in range(count):
            _no_records(self._guarded[branch])
            _compare(f"branch {branch}, committed", _dump(self._guarded[branch]), _dump(self._plain[branch]))
        return answers

    def _through_the_sidecar(self, case: Case, xid: Xid) -> list[Answer]:
        answers = []
        with self._of_sidecars.lent(case.connections) as connections:
            for step in case.steps:
                sql = step.sql.replace("{xid}", hint(xid)).replace("{name}", str(xid))
                answers.append(send(connections[step.connection], step, sql))
                assert answers[-1].error not in _FREE_OF_CONFLICT, (step.text(), answers[-1])
                _check_refusal(step, answers[-1])
                if answers[-1].error == REFUSED and not in_transaction(connections[step.connection]):
                    answers[-1] = replace(answers[-1], ended=True)
        return answers

    def _without(self, case: Case, answers: Sequence[Answer]) -> None:
        with self._of_plain.lent(case.connections) as connections:
            for step, answer in zip(case.steps, answers, strict=True):
                if answer.error == REFUSED:
                    if answer.ended:  # what had run before it was rolled back with it
                        connections[step.connection].query("ROLLBACK")
                    continue
                sql = step.sql.replace("{xid}", "").replace("{name}", "")
                plain = send(connections[step.connection], step, sql)
                assert answer.same(plain), (step.text(), answer, plain)


class _Pool:
    """Connections of the application, reset and kept for the next sequence."""

    def __init__(self, connect: Callable[..., Any]) -> None:
        self._connect = connect
        self._free: dict[Connection, list[Any]] = defaultdict(list)

    @contextmanager
    def lent(self, wanted: Sequence[Connection]) -> Iterator[list[Any]]:
        """Lend connections as new; after a failure nobody gets them again."""
        lent = [self._free[each].pop() if self._free[each] else self._new(each) for each in wanted]
        try:
            for connection in lent:
                connection.query("SET SESSION innodb_lock_wait_timeout = 1")
            yield lent
            for connection in lent:
                # A case that is being made smaller may leave a local transaction open.
                connection._execute_command(_RESET_CONNECTION, b"")
                connection._read_packet()
        except BaseException:
            for connection in lent:
                connection._force_close()
            raise
        for each, connection in zip(wanted, lent, strict=True):
            self._free[each].append(connection)

    def _new(self, wanted: Connection) -> Any:
        return self._connect(wanted.branch, client_flag=CLIENT.FOUND_ROWS if wanted.found_rows else 0)

    def close(self) -> None:
        for each in itertools.chain.from_iterable(self._free.values()):
            each.close()


def _check_refusal(step: Step, answer: Answer) -> None:
    if answer.error == REFUSED:
        assert re.match(r"globaltx: [A-Z][A-Za-z]+: ", answer.message), (step.text(), answer)


def _make(connection: Any, tables: Sequence[str]) -> None:
    """Make the tables of a branch anew."""
    with connection.cursor() as cursor:
        cursor.execute(_BEGINNING)
        cursor.execute("DELETE FROM globaltx_undo")
        for name, kind in _tables(connection):
            cursor.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {name}")
        try:
            # A row that refers to none is left out: what broke a key before could not be restored under it.
            cursor.execute("SET foreign_key_checks = 1")
            for statement in tables:
                cursor.execute(statement)
            cursor.execute(_BEGINNING)
        except pymysql.MySQLError as error:
            raise CannotBeMade(error) from error


def _count_anew(connection: Any, tables: Sequence[str]) -> None:
    """Let AUTO_INCREMENT begin where it began: a rollback takes no number back.

    Where there were rows with higher numbers, the server may remember them or not: it begins above all.
    """
    with connection.cursor() as cursor:
        for statement in tables:
            made = re.match(r"CREATE TABLE (\w+) .*\bAUTO_INCREMENT\b", statement)
            if made:
                cursor.execute(f"ALTER TABLE {made[1]} AUTO_INCREMENT = 1000")


def _tables(connection: Any) -> list[tuple[str, str]]:
    """Names and kinds of what is there, but for the undo table."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW FULL TABLES")
        return [(name, kind) for name, kind in cursor.fetchall() if name != "globaltx_undo"]


def _dump(connection: Any) -> dict[str, Any]:
    """Every table, each column whole, and its checksum where that tells something."""
    found: dict[str, Any] = {}
    with connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00', sql_mode = ''")
        for table in [name for name, kind in _tables(connection) if kind == "BASE TABLE"]:
            cursor.execute(
                "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_KEY = 'PRI', EXTRA FROM information_schema.COLUMNS"
                f" WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' ORDER BY ORDINAL_POSITION"
            )
            columns = cursor.fetchall()
            shown = ",".join(_shown(name, kind) for name, kind, *_ in columns)
            key = ",".join(f"`{name}`" for name, _, primary, _ in columns if primary) or "1"
            cursor.execute(f"SELECT {shown} FROM {table} ORDER BY {key}")
            found[table] = [dict(zip([name for name, *_ in columns], row, strict=True)) for row in cursor]
            # With generated columns MariaDB counts what an earlier statement has left in its buffers.
            if not any(re.match("(VIRTUAL|STORED) GENERATED", extra) for *_, extra in columns):
                cursor.execute(f"CHECKSUM TABLE {table}")
                found[f"{table} CHECKSUM"] = cursor.fetchall()[0][1]
        cursor.execute(_BEGINNING)
    return found


def _shown(name: str, kind: str) -> str:
    if kind in _NUMBERS:
        return f"`{name}`+0e0" if kind in {"float", "double"} else f"`{name}`+0"
    if "int" in kind or kind == "year":
        return f"`{name}`"
    if kind in _PLAIN_TEXT or kind == "timestamp":
        return f"CAST(`{name}` AS CHAR)"
    return f"HEX(`{name}`)"


def _compare(where: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for table, rows in wanted.items():
        if found.get(table) == rows:
            continue
        assert isinstance(rows, list), f"{where}: {table} {found.get(table)} instead of {rows}"
        differing = [row for row in found[table] if row not in rows]
        lacking = [row for row in rows if row not in found[table]]
        message = f"{where}: {table} holds {differing} instead of {lacking}"
        raise AssertionError(message)


def _no_records(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name, row_key FROM globaltx_undo WHERE table_name <> ''")
        assert cursor.fetchall() == (), "undo records were left behind"
