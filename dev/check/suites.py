"""What `make test` and `make test-deep` run, by name, and what each part needs."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass

from dev import install
from dev.databases import packages


@dataclass(frozen=True, slots=True)
class Suite:
    """Some tests that are run together.

    ``needs`` names what the machine must offer, ``packages`` what is installed before where that can be
    done, and without which single tests are skipped.
    """

    title: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


PURE = (
    "not control_plane and not database and not mysql and not etcd"
    " and not clients and not full_cluster and not kill"
)

SUITES = (
    Suite(
        "pure core, parsers whole and byte by byte, injection goldens, chart",
        ("-m", PURE, "tests", "--ignore=tests/stores"),
        packages=install.PHP,
    ),
    Suite("store contract on memory", ("-m", PURE, "tests/stores")),
    Suite(
        "store contract on a real API server, leases",
        ("-m", "control_plane and not mysql and not deep", "tests/stores"),
        ("linux", "go"),
    ),
    Suite(
        "store contract on a real etcd, of one member and of three",
        (
            "-m",
            "etcd and not control_plane and not database and not full_cluster and not mysql and not kill",
            "tests",
        ),
        ("linux", "go"),
    ),
    Suite(
        "AT and the sidecar against a real MariaDB with real clients",
        (
            "-m",
            "database and not clients and not control_plane and not full_cluster and not kill and not mysql",
            "tests",
        ),
        ("linux", "mariadb"),
    ),
    Suite(
        "resources, webhook and operator (two replicas, a killed leader) on a real API server",
        (
            "-m",
            "control_plane and not full_cluster and not kill and not deep and not mysql",
            "tests",
            "--ignore=tests/stores",
        ),
        ("linux", "go", "mariadb"),
    ),
    Suite(
        "killed at ten moments, and every fault of every mode at one step: operator, sidecars, MariaDB",
        ("-m", "kill and not full_cluster and not deep and not mysql", "tests"),
        ("linux", "go", "mariadb"),
    ),
    Suite(
        "the demo in real pods",
        ("-m", "full_cluster and not deep and not mysql", "tests"),
        ("linux", "root", "debian", "go", "mariadb"),
    ),
)


DEEP = (
    *(
        Suite(
            f"deep: killed at ten moments, and every fault of every mode at every step, kept in {where}",
            ("-m", f"kill and deep and not mysql and {marks}", "tests"),
            ("linux", "go", "mariadb"),
        )
        for where, marks in (("Kubernetes", "not etcd"), ("etcd", "etcd"))
    ),
    Suite(
        "deep: guard rows with the other store, on a real API server",
        ("-m", "control_plane and deep and not kill and not full_cluster and not mysql", "tests"),
        ("linux", "go", "mariadb"),
    ),
    Suite(
        "deep: three members of the chart's etcd, and more samples kept in it, in real pods",
        ("-m", "full_cluster and deep", "tests"),
        ("linux", "root", "debian", "go", "mariadb"),
    ),
    Suite(
        "deep: AT and the sidecar against a real MySQL with real clients, the same tests",
        ("-m", "mysql and not clients", "tests", "--ignore=tests/twin"),
        ("linux", "mysql"),
    ),
    Suite(
        "deep: 2,000 random logins, packets and texts each, before a real MariaDB",
        ("-m", "not mysql", "tests/sidecar/mysql/test_fuzz.py", "--sequences=2000", "--timeout=1200"),
        ("linux", "mariadb"),
    ),
    Suite(
        "deep: 1,000 random sequences against the twin, on a real MariaDB",
        ("-m", "database", "tests/twin", "--sequences=1000", "-s"),
        ("linux", "mariadb"),
    ),
    Suite(
        "deep: 1,000 random sequences against the twin, on a real MySQL",
        ("-m", "mysql", "tests/twin", "--sequences=1000", "-s"),
        ("linux", "mysql"),
    ),
    *(
        Suite(
            f"deep: {language}'s drivers at a sidecar before a real {database}",
            (
                "-m",
                f"clients and {'' if database == 'MySQL' else 'not '}mysql",
                "-k",
                chosen,
                "tests/clients",
            ),
            ("linux", database.lower(), *needs),
        )
        for database in ("MariaDB", "MySQL")
        for language, chosen, needs in (
            ("Go", "go- and not django-", ("a go client",)),
            ("Java", "java-", ("java",)),
            ("Node", "node-", ("node",)),
            ("PHP", "php-", ("php",)),
            ("Python", "python-", ()),
        )
    ),
)
"""What takes longer or needs more of the machine; run in addition, when asked for."""


def missing(needs: tuple[str, ...]) -> str | None:
    """Say why a suite cannot run on this machine, or None where it can."""
    installs = install.can()
    checks = {
        "linux": (sys.platform == "linux", "this is not Linux"),
        "root": (os.geteuid() == 0, "not root: a node that runs pods needs root"),
        "debian": (shutil.which("apt-get") is not None, "no apt-get to install containerd and the like with"),
        "go": (shutil.which("go") is not None, "Go is not installed, so Kubernetes cannot be compiled"),
        "a go client": (
            shutil.which("go") is not None,
            "Go is not installed, so its driver cannot be compiled",
        ),
        "java": (
            installs or all(map(shutil.which, ("java", "javac", "mvn"))),
            "no Java compiler or no Maven (Debian: default-jdk-headless maven)",
        ),
        "node": (
            installs or all(map(shutil.which, ("node", "npm"))),
            "Node or npm is not installed (Debian: nodejs npm)",
        ),
        "php": (
            installs or shutil.which("php") is not None,
            "PHP is not installed (Debian: php-cli php-mysql)",
        ),
        "mariadb": (
            installs or shutil.which("mariadbd") is not None,
            "mariadbd is not installed, and without root it cannot be",
        ),
        "mysql": (
            packages.folder().exists() or installs,
            "MySQL is fetched from Debian sid by debootstrap, which needs root",
        ),
    }
    return next((why for need in needs for held, why in [checks[need]] if not held), None)
