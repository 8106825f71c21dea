"""SQLAlchemy on PyMySQL: its connections with statements in SQL, and its ORM."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import exc, orm

from .answering import address, digest, formatted, texts, values


class Base(orm.DeclarativeBase):  # type: ignore[misc]
    """Of the tables below."""


class Item(Base):
    """A row of ``item``."""

    __tablename__ = "item"
    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True)
    name: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(64))
    amount: orm.Mapped[int] = orm.mapped_column(default=0)


class Alchemy:
    """One connection; statements outside of ``begin`` are in autocommit."""

    errors = (exc.DBAPIError,)

    def __init__(self) -> None:
        given = address()
        url = sqlalchemy.URL.create(
            "mysql+pymysql", username=given.pop("user"), query={"charset": "utf8mb4"}, **given
        )
        self._engine = sqlalchemy.create_engine(url)
        self._pool = sqlalchemy.create_engine(url, pool_pre_ping=True, pool_size=1, max_overflow=0)
        self._connection: Any = None
        self._local: Any = None

    def connect(self) -> dict[str, Any]:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
        self._local = None
        self._connection = self._engine.connect()
        return self._autocommit()

    def execute(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        result = self._sent(sql, values(parameters))
        return {"affected": result.rowcount, "id": result.lastrowid}

    def batch(self, sql: str, rows: list[list[Any]]) -> dict[str, Any]:
        return {"affected": self._sent(sql, [values(row) for row in rows]).rowcount}

    def query(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        return texts(self._sent(sql, values(parameters)).all())

    def digest(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        return digest(self._sent(sql, values(parameters)).all())

    def begin(self) -> dict[str, Any]:
        self._connection.rollback()
        self._connection.execution_options(isolation_level="REPEATABLE READ")
        self._local = self._connection.begin()
        return {}

    def commit(self) -> dict[str, Any]:
        self._local.commit()
        return self._autocommit()

    def rollback(self) -> dict[str, Any]:
        self._local.rollback()
        return self._autocommit()

    def pooled(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        with self._pool.begin() as connection:
            return {"affected": connection.exec_driver_sql(formatted(sql), values(parameters)).rowcount}

    def orm(self, xid: str | None) -> dict[str, Any]:
        with orm.Session(self._engine) as session, session.begin():
            session.execute(sqlalchemy.text("SET @globaltx_xid = :xid"), {"xid": xid})
            done = list(_worked(session))
            session.flush()
            session.execute(sqlalchemy.text("SET @globaltx_xid = NULL"))
        return {"done": done}

    def _autocommit(self) -> dict[str, Any]:
        self._connection.execution_options(isolation_level="AUTOCOMMIT")
        return {}

    def _sent(self, sql: str, parameters: Any) -> Any:
        return self._connection.exec_driver_sql(formatted(sql), parameters or None)


def _worked(session: orm.Session) -> Any:
    """Do what units of work usually do; give what they tell."""
    one = Item(name="orm", amount=1)
    session.add(one)
    session.flush()
    yield one.id
    many = [Item(name=f"many {number}", amount=number) for number in range(3)]
    session.add_all(many)
    session.flush()
    yield [each.id for each in many]
    session.get_one(Item, 2, with_for_update=True).amount = 7
    session.execute(sqlalchemy.update(Item).where(Item.id == 1).values(amount=Item.amount + 1))
    many[0].name, many[1].amount = "renamed", 77
    session.flush()
    session.delete(many[2])
    session.execute(sqlalchemy.delete(Item).where(Item.name == "washer"))
    try:
        with session.begin_nested():
            session.add(Item(name="bolt"))
    except exc.IntegrityError:
        yield "a duplicate"
    yield [[each.name, each.amount] for each in session.scalars(sqlalchemy.select(Item).order_by(Item.id))]
