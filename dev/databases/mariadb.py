"""MariaDB, as Debian packages it or as it is on the PATH."""

from __future__ import annotations

import getpass
import os
import shutil

from dev import install
from dev.databases.server import Server
from dev.errors import ToolError
from dev.shell import run

_PROGRAM = "mariadbd"
_INSTALL_SECONDS = 120


class MariaDB(Server):
    """A MariaDB; root enters as the system's user that runs it."""

    kind = "MariaDB"
    program = _PROGRAM

    def execute(self, sql: str, *, schema: str | None = None, timeout: float = 60) -> str:
        """Run SQL as root; the rows come back as lines, their fields divided by tabs."""
        return run(
            *("mariadb", "--no-defaults", f"--socket={self.socket}", f"--user={getpass.getuser()}"),
            *("--batch", "--skip-column-names", "--default-character-set=utf8mb4"),
            *([schema] if schema else []),
            stdin=sql,
            timeout=timeout,
        )

    @classmethod
    def _provide(cls) -> None:
        if _found() is None:
            install.ensure(install.MARIADB, "the database")

    def _make_data(self) -> None:
        user = getpass.getuser()
        run(
            *("mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}", f"--user={user}"),
            *("--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}"),
            *("--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=16M"),
            f"--tmpdir={self.temporary}",
            timeout=_INSTALL_SECONDS,
        )

    def _command(self) -> list[str]:
        found = _found()
        if found is None:
            message = f"{_PROGRAM} is not on the PATH; install MariaDB 10.11 or later"
            raise ToolError(message)
        return [found]

    def _arguments(self) -> list[str]:
        return [
            "--no-defaults",
            *self._own_arguments(),
            f"--user={getpass.getuser()}",
            "--innodb-log-file-size=64M",
        ]


def _found() -> str | None:
    return shutil.which(_PROGRAM, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
