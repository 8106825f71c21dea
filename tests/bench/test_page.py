from __future__ import annotations

import json

import pytest

from bench.figures import Figure
from bench.page import PAGE, block, filled

RESULTS = PAGE.parent.parent / "bench" / "results.json"
FOUND = {
    "version": "1.2.3",
    "machine": {"python": "3.11.7", "system": "Linux", "processors": 2},
    "figures": [
        Figure("rate", "/s", (1.0, 3.0, 2.0), 4.0, more_is_better=True, row="order").to_json(),
        Figure("memory", "MiB", (40.0,), 50.0, "at rest", row="order").to_json(),
        Figure("p50", "ms", (5.0, 6.0, 7.0), row="hot").to_json(),
    ],
}


def test_each_figure_is_a_line_that_says_whether_its_bound_is_kept() -> None:
    lines = block(FOUND).splitlines()
    assert "| rate | 2 /s | 1 to 3 | at least 4 | **not kept**: 0.5 of the bound |" in lines
    assert "| memory | 40 MiB |  | at most 50 | kept at rest |" in lines
    assert "| p50 | 6 ms | 5 to 7 |  |  |" in lines
    assert lines.index("`order`") < lines.index("`hot`")


def test_the_page_is_filled_between_its_marks_however_often() -> None:
    once = filled(PAGE.read_text(), FOUND)
    assert "1.2.3" in once
    assert filled(once, FOUND) == once
    assert once.startswith("# Performance\n")
    assert once.endswith("<!-- end of figures -->\n")


def test_a_python_without_its_optimisations_is_told() -> None:
    slow = FOUND | {"machine": {"python": "3.11.7", "optimised": False, "processors": 2}}
    assert "Python 3.11.7 (built without its optimisations), 2 processors." in block(slow)
    assert "optimisations" not in block(FOUND)


def test_the_page_tells_what_was_measured_last() -> None:
    if not RESULTS.exists():
        pytest.skip("nothing was measured here")
    assert filled(PAGE.read_text(), json.loads(RESULTS.read_text())) == PAGE.read_text()
