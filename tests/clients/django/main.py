"""Carries out, by Django on mysqlclient, what ``tests/clients/conversation.py`` asks for."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from typing import Any

import django
from django.conf import settings
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    close_old_connections,
    connections,
    models,
    transaction,
)

_PLACE = {
    "ENGINE": "django.db.backends.mysql",
    "HOST": os.environ["DB_HOST"],
    "PORT": os.environ["DB_PORT"],
    "USER": os.environ["DB_USER"],
    "PASSWORD": os.environ["DB_PASSWORD"],
    "NAME": os.environ["DB_SCHEMA"],
}
_KEPT = {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
settings.configure(DATABASES={"default": _PLACE, "pool": _PLACE | _KEPT})
django.setup()


class Item(models.Model):  # type: ignore[misc]  # noqa: DJ008  nobody looks at one
    """A row of ``item``."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=64, unique=True, null=True)  # noqa: DJ001  as the table has it
    amount = models.IntegerField(default=0)

    class Meta:
        """The table is there already."""

        app_label = "clients"
        managed = False
        db_table = "item"


class Client:
    """One connection; statements outside of ``begin`` are in autocommit."""

    def __init__(self) -> None:
        self._local: Any = None

    def connect(self) -> dict[str, Any]:
        connections["default"].close()
        connections["default"] = connections.create_connection("default")
        self._local = None
        connections["default"].ensure_connection()
        return {}

    def execute(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        with _sent("default", sql, parameters) as cursor:
            return {"affected": cursor.rowcount, "id": cursor.lastrowid}

    def batch(self, sql: str, rows: list[list[Any]]) -> dict[str, Any]:
        with connections["default"].cursor() as cursor:
            cursor.executemany(_formatted(sql), [_values(row) for row in rows])
            return {"affected": cursor.rowcount}

    def query(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        with _sent("default", sql, parameters) as cursor:
            return {
                "rows": [[None if cell is None else str(cell) for cell in row] for row in cursor.fetchall()]
            }

    def digest(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        with _sent("default", sql, parameters) as cursor:
            [[cell]] = cursor.fetchall()
        data = cell.encode() if isinstance(cell, str) else cell
        return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def begin(self) -> dict[str, Any]:
        self._local = transaction.atomic()
        self._local.__enter__()
        return {}

    def commit(self) -> dict[str, Any]:
        local, self._local = self._local, None
        local.__exit__(None, None, None)
        return {}

    def rollback(self) -> dict[str, Any]:
        if self._local is not None:  # else a commit that failed has done it
            transaction.set_rollback(True)
            self.commit()
        return {}

    def pooled(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        close_old_connections()  # as before each request
        with transaction.atomic("pool"), _sent("pool", sql, parameters) as cursor:
            return {"affected": cursor.rowcount}

    def orm(self, xid: str | None) -> dict[str, Any]:
        with transaction.atomic():
            _sent("default", "SET @globaltx_xid = ?", [xid]).close()
            done = list(_worked())
            _sent("default", "SET @globaltx_xid = NULL", []).close()
        return {"done": done}


def _worked() -> Any:
    """Do what views usually do; give what the ORM tells."""
    yield Item.objects.create(name="orm", amount=1).pk
    many = Item.objects.bulk_create([Item(name=f"many {number}", amount=number) for number in range(3)])
    yield [each.name for each in many]
    item = Item.objects.select_for_update().get(pk=2)
    item.amount = 7
    item.save()
    yield Item.objects.filter(pk=1).update(amount=models.F("amount") + 1)
    yield Item.objects.filter(name="many 0").update(name="renamed")
    yield Item.objects.filter(name="washer").delete()[0]
    Item.objects.get(name="many 2").delete()
    yield Item.objects.get_or_create(name="bolt")[1], Item.objects.get_or_create(name="made")[1]
    yield Item.objects.update_or_create(name="made", defaults={"amount": 9})[1]
    try:
        with transaction.atomic():
            Item.objects.create(name="bolt")
    except IntegrityError:
        yield "a duplicate"
    yield [list(row) for row in Item.objects.order_by("pk").values_list("name", "amount")]


def _formatted(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def _values(parameters: list[Any]) -> list[Any]:
    return [base64.b64decode(each["base64"]) if isinstance(each, dict) else each for each in parameters]


def _sent(alias: str, sql: str, parameters: list[Any]) -> Any:
    cursor = connections[alias].cursor()
    cursor.execute(_formatted(sql), _values(parameters))
    return cursor


def main() -> None:
    """Answer each line of the input."""
    client = Client()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = getattr(client, asked.pop("do"))(**asked)
        except (DatabaseError, InterfaceError) as error:
            code, *rest = (error.__cause__ or error).args
            answer = {"error": {"code": code, "state": "", "message": " ".join(map(str, rest))}}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
