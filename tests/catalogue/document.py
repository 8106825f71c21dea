"""docs/at-statements.md: written from what the tests find, and read again to be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.catalogue import run
from tests.catalogue.forms import FORMS
from tests.catalogue.types import SERVERS, TYPES, types_of

if TYPE_CHECKING:
    from tests.twin.pair import Pair

PAGE = Path(__file__).parents[2] / "docs" / "at-statements.md"
_VERSIONS = {"MariaDB": "MariaDB 10.11", "MySQL": "MySQL 9.7"}
_NO_TYPE = "no such type there"
_HEAD = """# AT, statement by statement

Each statement and each type has been run under an xid on a real server and then rolled back: *undone* means
that every table was byte for byte what it was before, and that it does what it does without globaltx when
committed.
*Refused* means error 1105 with that text, and nothing was changed. The tables of the statements stand in
[forms.py](../tests/catalogue/forms.py), the values of the types in [types.py](../tests/catalogue/types.py).

This page is written by `python -m tests.catalogue`, which needs MariaDB and MySQL; the tests compare it with
what they find.
"""


@dataclass
class Found:
    """What became of each entry on one server, by what the page calls it."""

    forms: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)


def find(pair: Pair, server: str) -> Found:
    """Run the whole catalogue."""
    found = Found()
    for form, verdict in run.forms(pair):
        found.forms[form.shown] = verdict
    for kind, column, key in run.types(pair, server):
        found.columns[kind.sql], found.keys[kind.sql] = column, key
    return found


def write(found: dict[str, Found]) -> str:
    """Write the page."""
    parts = [_HEAD]
    for group in dict.fromkeys(form.group for form in FORMS):
        rows = [form.shown for form in FORMS if form.group == group]
        parts += [f"## {group}", _table("statement", rows, {name: found[name].forms for name in SERVERS})]
    kinds = list(dict.fromkeys(kind.sql for kind in TYPES))
    for title, of_server in (
        ("Types of columns", {name: found[name].columns for name in SERVERS}),
        ("Types in the primary key", {name: found[name].keys for name in SERVERS}),
    ):
        parts += [f"## {title}", _table("type", kinds, of_server)]
    return "\n".join(parts) + "\n"


def _table(first: str, rows: list[str], found: dict[str, dict[str, str]]) -> str:
    lines = [
        f"| {first} | {' | '.join(_VERSIONS[name] for name in found)} |",
        "|---" * (1 + len(found)) + "|",
    ]
    for row in rows:
        cells = [found[name].get(row, _NO_TYPE) for name in found]
        lines.append(f"| `{_safe(row)}` | {' | '.join(map(_safe, cells))} |")
    return "\n".join(lines) + "\n"


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def read(text: str, server: str) -> Found:
    """Read what the page says of a server."""
    found = Found()
    into: dict[str, str] = {}
    have = {kind.sql for kind in types_of(server)}
    for line in text.splitlines():
        if line.startswith("## "):
            into = {"Types of columns": found.columns, "Types in the primary key": found.keys}.get(
                line[3:], found.forms
            )
        elif line.startswith("| `"):
            row, *cells = re.split(r" \| ", line[2:-2])
            name = row.strip("`").replace("\\|", "|")
            if into is found.forms or name in have:
                into[name] = cells[SERVERS.index(server)].replace("\\|", "|")
    return found
