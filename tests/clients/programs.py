"""The programs in other languages: how each is built, and with which options it is run.

A program is built once a machine, in the cache, from a copy of its folder, at the versions of its
lock file; nothing is written beside the sources.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from dev.folders import cache_root, locked
from dev.shell import follow, run

_HERE = Path(__file__).parent
_BUILD_SECONDS = 600
_PYTHON = "venv/bin/python"


@dataclass(frozen=True, slots=True)
class Language:
    """A folder beside this file; ``tools`` must be on the PATH, ``build`` runs in the copy."""

    name: str
    tools: tuple[str, ...]
    build: tuple[tuple[str, ...], ...]
    command: tuple[str, ...]

    def missing(self) -> str | None:
        """Say why it cannot be run on this machine, or None where it can."""
        missed = next((tool for tool in self.tools if shutil.which(tool) is None), None)
        if missed is not None:
            return f"{missed} is not installed, so there is no client in {self.name}"
        if self.name == "php" and "pdo_mysql" not in run("php", "-m"):
            return "PHP has no pdo_mysql (Debian: php-mysql)"
        return None

    def built(self) -> Path:
        """Build it, unless that was done; give the folder."""
        sources = sorted(path for path in (_HERE / self.name).rglob("*") if path.is_file())
        digest = hashlib.sha256(repr((self.build, sys.version)).encode())
        for path in sources:
            digest.update(str(path.relative_to(_HERE)).encode() + path.read_bytes())
        home = cache_root() / "clients" / self.name
        folder = home / digest.hexdigest()[:16]
        with locked(home.with_suffix(".lock")):
            if not (folder / "built").exists():
                shutil.rmtree(home, ignore_errors=True)
                shutil.copytree(_HERE / self.name, folder)
                for command in self.build:
                    follow(*command, on_line=print, timeout=_BUILD_SECONDS, cwd=folder)
                (folder / "built").touch()
        return folder


GO = Language("go", ("go",), (("go", "build", "-mod=readonly", "-o", "client", "."),), ("./client",))
JAVA = Language(
    "java",
    ("java", "javac", "mvn"),
    (("mvn", "--quiet", "--batch-mode", "process-classes"),),
    ("java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", "target/classes:target/libraries/*", "clients.Main"),
)
NODE = Language("node", ("node", "npm"), (("npm", "ci", "--silent"),), ("node", "main.js"))
PHP = Language("php", ("php",), (), ("php", "main.php"))
PYTHON = Language(
    "python",
    (),
    (
        (sys.executable, "-m", "venv", "venv"),
        (_PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", "requirements.lock"),
    ),
    (_PYTHON, "main.py"),
)


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver in one of its ways of working.

    Batches that go out in a form that cannot be undone are refused with an xid: ``in_bulk`` are the
    verbs whose batches are sent by MariaDB's own command, which a MySQL does not know.
    """

    name: str
    language: Language
    arguments: tuple[str, ...] = ()
    in_bulk: tuple[str, ...] = ()

    def command(self) -> tuple[list[str], Path]:
        """What runs it, and where."""
        return [*self.language.command, *self.arguments], self.language.built()


_CONNECTOR_J = "sslMode=DISABLED&allowPublicKeyRetrieval=true"
_MARIADB_J = "sslMode=disable&allowPublicKeyRetrieval=true"
_NO_BULK = "useBulkStmts=false&useBulkStmtsForInserts=false"

DRIVERS = (
    Driver("go-text", GO, ("text",)),
    Driver("go-prepared", GO, ("prepared",)),
    Driver("java-connectorj-client", JAVA, ("mysql", f"{_CONNECTOR_J}&useServerPrepStmts=false")),
    Driver("java-connectorj-server", JAVA, ("mysql", f"{_CONNECTOR_J}&useServerPrepStmts=true")),
    Driver(  # one INSERT of many rows, but many UPDATEs in one text
        "java-connectorj-batch",
        JAVA,
        ("mysql", f"{_CONNECTOR_J}&rewriteBatchedStatements=true"),
    ),
    Driver(
        "java-connectorj-cursor",
        JAVA,
        ("mysql", f"{_CONNECTOR_J}&useServerPrepStmts=true&useCursorFetch=true&defaultFetchSize=2"),
    ),
    Driver("java-mariadb-default", JAVA, ("mariadb", _MARIADB_J), in_bulk=("INSERT",)),
    Driver("java-mariadb-client", JAVA, ("mariadb", f"{_MARIADB_J}&{_NO_BULK}")),
    Driver("java-mariadb-server", JAVA, ("mariadb", f"{_MARIADB_J}&{_NO_BULK}&useServerPrepStmts=true")),
    Driver(
        "java-mariadb-bulk",
        JAVA,
        ("mariadb", f"{_MARIADB_J}&useServerPrepStmts=true&useBulkStmts=true"),
        in_bulk=("INSERT", "UPDATE"),
    ),
    Driver("node-query", NODE, ("query",)),
    Driver("node-execute", NODE, ("execute",)),
    Driver("php-pdo", PHP, ("pdo",)),
    Driver("php-mysqli", PHP, ("mysqli",)),
    Driver("python-sqlalchemy", PYTHON),
)
