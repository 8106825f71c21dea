"""MySQL, out of Debian's packages of it, which must not be installed beside those of MariaDB."""

from __future__ import annotations

import getpass

from dev.databases import packages
from dev.databases.server import Server
from dev.shell import run

_INSTALL_SECONDS = 120


class MySQL(Server):
    """A MySQL; root enters without a password, by a socket that only its user reaches."""

    kind = "MySQL"
    program = "mysqld"
    _suffix = ".mysql"

    def execute(self, sql: str, *, schema: str | None = None, timeout: float = 60) -> str:
        """Run SQL as root; the rows come back as lines, their fields divided by tabs."""
        return run(
            *packages.command("usr/bin/mysql"),
            *("--no-defaults", f"--socket={self.socket}", "--user=root"),
            *("--batch", "--skip-column-names", "--default-character-set=utf8mb4"),
            *([schema] if schema else []),
            stdin=sql,
            timeout=timeout,
        )

    @classmethod
    def _provide(cls) -> None:
        packages.ensure()

    def _make_data(self) -> None:
        self.folder.chmod(0o700)
        run(
            *self._command(),
            *(*self._first_arguments(), f"--datadir={self.folder / 'data'}", "--initialize-insecure"),
            f"--tmpdir={self.temporary}",
            timeout=_INSTALL_SECONDS,
        )

    def _command(self) -> list[str]:
        return packages.command("usr/sbin/mysqld")

    def _first_arguments(self) -> list[str]:
        shared = packages.folder() / "usr/share/mysql"
        return [
            "--no-defaults",
            f"--basedir={packages.folder() / 'usr'}",
            f"--plugin-dir={packages.folder() / 'usr/lib/mysql/plugin'}",
            f"--lc-messages-dir={shared}",
            f"--character-sets-dir={shared / 'charsets'}",
            f"--user={getpass.getuser()}",
        ]

    def _arguments(self) -> list[str]:
        return [
            *self._first_arguments(),
            *self._own_arguments(),
            "--mysqlx=OFF",
            "--secure-file-priv=",
            "--innodb-redo-log-capacity=64M",
            f"--sync-binlog={1 if self._durable else 0}",
        ]
