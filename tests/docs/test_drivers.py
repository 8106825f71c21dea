"""The page of drivers names what is tested, at the versions that are tested."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.clients.programs import DRIVERS, Driver

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "tests" / "clients"
_MAVEN = "{http://maven.apache.org/POM/4.0.0}"
_OURS = {"com.google.code.gson:gson"}
"""What the programs need besides."""


def rows() -> list[list[str]]:
    """The cells of each row of the first table."""
    page = (ROOT / "docs" / "drivers.md").read_text().partition("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("| ") and not line.startswith("| driver ")
    ]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def pinned() -> dict[str, set[str]]:
    """The versions of drivers, pools and mappers by the client program that uses them."""
    maven = ET.parse(CLIENTS / "java" / "pom.xml").getroot()  # noqa: S314  our own file
    return {
        "go": _found(r"^require \S+/mysql v(\S+)$", "go/go.mod"),
        "java": {
            str(each.findtext(f"{_MAVEN}version"))
            for each in maven.iter(f"{_MAVEN}dependency")
            if f"{each.findtext(f'{_MAVEN}groupId')}:{each.findtext(f'{_MAVEN}artifactId')}" not in _OURS
        },
        "node": set(json.loads((CLIENTS / "node" / "package.json").read_text())["dependencies"].values()),
        "php": {"8.2"},  # Debian's
        "python": _found(r"^[\w-]+==([\w.]+)", "python/requirements.txt"),
        "django": _found(r"^[\w-]+==([\w.]+)", "django/requirements.txt"),
    }


def _found(pattern: str, file: str) -> set[str]:
    return set(re.findall(pattern, (CLIENTS / file).read_text(), re.MULTILINE))


def _language(cell: str) -> str:
    by_name: dict[str, Driver] = {driver.name: driver for driver in DRIVERS}
    return by_name[names(cell)[0]].language.name


def test_every_driver_stands_in_one_row() -> None:
    told = [name for row in rows() for name in names(row[-1])]
    assert sorted(told) == sorted(driver.name for driver in DRIVERS)


def test_the_versions_are_those_that_are_tested() -> None:
    told: dict[str, set[str]] = {language: set() for language in pinned()}
    for _, versions, _, tested in rows():
        told[_language(tested)] |= set(versions.split("; "))
    assert told == pinned()


def test_drivers_whose_batches_are_refused_are_told_to_see_below() -> None:
    told = {name for row in rows() if "see below" in row[2] for name in names(row[-1])}
    refused = {driver.name for driver in DRIVERS if driver.in_bulk}
    assert refused <= told, refused - told
