"""The programs in other languages: how each is built, and with which options it is run.

A program is built once a machine, in the cache, from a copy of its folder, at the versions of its
lock file; nothing is written beside the sources.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dev import install
from dev.folders import cache_root, locked
from dev.progress import step
from dev.shell import follow, run

_HERE = Path(__file__).parent
_BUILD_SECONDS = 600
_KEPT_SECONDS = 7 * 24 * 3600
"""Other checkouts on this machine may be using what was built for them."""
_PYTHON = "venv/bin/python"


@dataclass(frozen=True, slots=True)
class Language:
    """A folder beside this file; ``tools`` must be on the PATH, ``build`` runs in the copy.

    ``packages`` are Debian's with those tools; without any, nothing that Debian has would do.
    """

    name: str
    tools: tuple[str, ...]
    build: tuple[tuple[str, ...], ...]
    command: tuple[str, ...]
    packages: tuple[str, ...] = ()

    def provide(self) -> str | None:
        """Install what is missing where that can be done; else say why it cannot be run here."""
        if self.missing() is not None and self.packages and install.can():
            install.ensure(self.packages, f"the clients in {self.name}")
        return self.missing()

    def missing(self) -> str | None:
        """Say why it cannot be run on this machine, or None where it can."""
        missed = next((tool for tool in self.tools if shutil.which(tool) is None), None)
        instead = f" (Debian: {' '.join(self.packages)})" if self.packages else ""
        if missed is not None:
            return f"{missed} is not installed, so there is no client in {self.name}{instead}"
        if self.name == "php" and "pdo_mysql" not in run("php", "-m"):
            return f"PHP has no pdo_mysql{instead}"
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
                with step(f"build the client in {self.name} (once a machine)") as building:
                    _remove_old(home)
                    shutil.rmtree(folder, ignore_errors=True)
                    shutil.copytree(_HERE / self.name, folder)
                    for command in self.build:
                        follow(*command, on_line=building.tell, timeout=_BUILD_SECONDS, cwd=folder)
            (folder / "built").touch()
        return folder


def _remove_old(home: Path) -> None:
    for mark in home.glob("*/built"):
        if time.time() - mark.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(mark.parent)


GO = Language("go", ("go",), (("go", "build", "-mod=readonly", "-o", "client", "."),), ("./client",))
JAVA = Language(
    "java",
    ("java", "javac", "mvn"),
    (("mvn", "--quiet", "--batch-mode", "process-classes"),),
    ("java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", "target/classes:target/libraries/*", "clients.Main"),
    ("default-jdk-headless", "maven"),
)
NODE = Language("node", ("node", "npm"), (("npm", "ci", "--silent"),), ("node", "main.js"), ("nodejs", "npm"))
PHP = Language("php", ("php",), (), ("php", "main.php"), ("php-cli", "php-mysql"))
_INSTALLED = (
    (sys.executable, "-m", "venv", "venv"),
    (_PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", "requirements.lock"),
)
PYTHON = Language("python", (), _INSTALLED, (_PYTHON, "-m", "clients"))
DJANGO = Language(  # its driver is compiled against the client library
    "django",
    ("cc", "pkg-config", "mariadb_config"),
    _INSTALLED,
    (_PYTHON, "main.py"),
    ("gcc", "libc6-dev", "pkg-config", "default-libmysqlclient-dev", "python3-dev"),
)


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver in one of its ways of working.

        Batches that go out in a form that cannot be undone are refused with an xid: ``in_bulk`` are the
    verbs whose batches are sent by MariaDB's own command, which a MySQL does not know. ``orm`` says
    that it maps objects, too. ``wary`` is one that gives its password to a MySQL over TLS only,
    unless the MySQL knows it already.
    """

    name: str
    language: Language
    arguments: tuple[str, ...] = ()
    in_bulk: tuple[str, ...] = ()
    orm: bool = False
    wary: bool = False

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
    Driver("php-pdo-emulated", PHP, ("pdo-emulated",)),
    Driver("php-mysqli", PHP, ("mysqli",)),
    Driver("python-connector-c", PYTHON, ("connector-c",), wary=True),
    Driver("python-connector-c-prepared", PYTHON, ("connector-c-prepared",), wary=True),
    Driver("python-connector-pure", PYTHON, ("connector-pure",)),
    Driver("python-connector-pure-prepared", PYTHON, ("connector-pure-prepared",)),
    Driver("python-pymysql", PYTHON, ("pymysql",)),
    Driver("python-aiomysql", PYTHON, ("aiomysql",)),
    Driver("python-sqlalchemy", PYTHON, ("sqlalchemy",), orm=True),
    Driver("python-django", DJANGO, orm=True),
)
