"""``python -m tests.catalogue``: write docs/at-statements.md anew."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dev.databases import MariaDB, MySQL
from tests.catalogue.document import PAGE, find, write
from tests.twin.places import pair_in


def main() -> None:
    """Run the catalogue on both servers."""
    found = {}
    for kind in (MariaDB, MySQL):
        with (
            kind.up("catalogue", durable=False) as server,
            tempfile.TemporaryDirectory() as folder,
            pair_in(server, Path(folder)) as pair,
        ):
            found[server.kind] = find(pair, server.kind)
    PAGE.write_text(write(found))


if __name__ == "__main__":
    main()
