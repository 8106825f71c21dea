"""What the two databases hold, counted; from outside of all that globaltx does."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pymysql

from dev.errors import ToolError

if TYPE_CHECKING:
    from dev.demo.kubectl import Kubectl

QUERY = (
    "SELECT (SELECT COUNT(*) FROM `order`.so_master), (SELECT COUNT(*) FROM `order`.so_item), "
    "(SELECT available_qty FROM product.inventory WHERE product_sysno = 1), "
    # The rows with an empty table_name are fences: they stay for an hour after a rollback.
    "(SELECT COUNT(*) FROM `order`.globaltx_undo WHERE table_name <> '') "
    "+ (SELECT COUNT(*) FROM product.globaltx_undo WHERE table_name <> '')"
)


@dataclass(frozen=True)
class Rows:
    """Orders, items, pieces that can be ordered, undo records left."""

    so_master: int
    so_item: int
    available: int
    undo: int

    def since(self, before: Rows) -> Change:
        """What has changed."""
        return Change(
            self.so_master - before.so_master,
            self.so_item - before.so_item,
            self.available - before.available,
            self.undo,
        )


@dataclass(frozen=True)
class Change:
    """How many rows and pieces more (or fewer) there are; and undo records, which must be none."""

    so_master: int = 0
    so_item: int = 0
    available: int = 0
    undo: int = 0

    def __str__(self) -> str:
        if self == Change():
            return "nothing changed"
        told = f"so_master {self.so_master:+}, so_item {self.so_item:+}, inventory {self.available:+}"
        return f"{told}, {self.undo} undo records left" if self.undo else told


class Database(Protocol):
    """Where the rows are read."""

    def rows(self) -> Rows:
        """Count them, in one statement."""


@dataclass(frozen=True)
class ServerDatabase:
    """A MariaDB that this machine reaches."""

    host: str
    port: int
    user: str
    password: str

    def rows(self) -> Rows:
        """Count them, in one statement."""
        try:
            with (
                closing(
                    pymysql.connect(
                        host=self.host,
                        port=self.port,
                        user=self.user,
                        password=self.password,
                        connect_timeout=10,
                        read_timeout=20,
                    )
                ) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(QUERY)
                return Rows(*(int(each) for each in cursor.fetchone() or ()))
        except pymysql.MySQLError as error:
            message = f"the rows could not be counted at {self.host}:{self.port}: {error}"
            raise ToolError(message) from error


@dataclass(frozen=True)
class PodDatabase:
    """The MariaDB that runs in the cluster; the password stays in the pod's shell."""

    kubectl: Kubectl
    namespace: str
    user: str
    password: str

    def rows(self) -> Rows:
        """Count them, in one statement."""
        script = f'MYSQL_PWD="$(cat)" exec mariadb -h127.0.0.1 -u{self.user} -Ne "$0"'
        said = self.kubectl(
            "-n",
            self.namespace,
            "exec",
            "-i",
            "deployment/mariadb",
            "--",
            "sh",
            "-c",
            script,
            QUERY,
            stdin=self.password,
        )
        return Rows(*(int(each) for each in said.split()))
