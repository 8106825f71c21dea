"""Datasources behind sidecars, and as many schemas without, in a real server."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.sidecar.mysql.harness import Place, write_credentials
from tests.twin.mesh import Mesh
from tests.twin.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.databases import Server

BRANCHES_MAX = 3


@contextmanager
def pair_in(server: Server, folder: Path) -> Iterator[Pair]:
    """Make them; they are gone at the end."""
    schemas = [f"t_{secrets.token_hex(6)}" for _ in range(2 * BRANCHES_MAX)]
    # An account without the right SUPER makes the triggers.
    server.execute("SET GLOBAL log_bin_trust_function_creators = 1")
    for schema in schemas:
        server.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    places = [Place.made(server, schema, "SELECT 1") for schema in schemas]
    with Mesh(places[:BRANCHES_MAX], write_credentials(folder)) as mesh:
        made = Pair(mesh, places[BRANCHES_MAX:])
        yield made
        made.close()
    for schema in schemas:
        server.execute(f"DROP DATABASE {schema}")
