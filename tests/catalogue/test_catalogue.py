from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.catalogue.document import PAGE, Found, find, read, write
from tests.catalogue.run import WRONG
from tests.catalogue.types import SERVERS
from tests.twin.places import pair_in

if TYPE_CHECKING:
    from pathlib import Path

    from dev.databases import Server


@pytest.mark.timeout(1200)
def test_the_page_says_what_happens(server: Server, tmp_path: Path) -> None:
    """``python -m tests.catalogue`` writes it anew."""
    with pair_in(server, tmp_path) as pair:
        found = find(pair, server.kind)
    told = read(PAGE.read_text(), server.kind)
    for part in ("forms", "columns", "keys"):
        assert getattr(found, part) == getattr(told, part), part


def test_nothing_is_wrong_and_nothing_is_missing() -> None:
    text = PAGE.read_text()
    assert WRONG not in text
    assert write({server: read(text, server) for server in SERVERS}) == text


def test_a_page_comes_back_as_it_was_written() -> None:
    found = Found({"UPDATE t SET a = 1 || 2": "undone"}, {"INT": "refused (X): a|b"}, {"INT": "undone"})
    page = write({"MariaDB": found, "MySQL": found})
    assert "refused (X): a\\|b" in page
    assert read(page, "MySQL").columns["INT"] == "refused (X): a|b"
