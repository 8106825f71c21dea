"""The figures of the last whole run, as they stand in docs/performance.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
_BLOCK = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)
_HEAD = "| figure | median | least to most | bound | |\n|---|---|---|---|---|\n"


def filled(page: str, results: dict[str, Any]) -> str:
    """Put the figures of a results.json between the page's two marks."""
    return _BLOCK.sub(lambda _: block(results), page, count=1)


def block(results: dict[str, Any]) -> str:
    """Write the figures as one table a row of the benchmark."""
    machine = results["machine"]
    # Nothing is said of results that do not tell, which are older.
    built = "" if machine.get("optimised", True) else " (built without its optimisations)"
    python = f"Python {machine['python']}{built}"
    text = f"Version {results['version']}, {python}, {machine['processors']} processors.\n"
    row = ""
    for figure in results["figures"]:
        if figure["row"] != row:
            row = figure["row"]
            text += f"\n`{row}`\n\n{_HEAD}"
        text += _line(figure)
    return text


def _line(figure: dict[str, Any]) -> str:
    unit, rounds, bound = figure["unit"], figure["rounds"], figure["bound"]
    median = f"{figure['median']:.4g} {unit}".strip()
    spread = f"{min(rounds):.4g} to {max(rounds):.4g}" if len(rounds) > 1 else ""
    return f"| {figure['name']} | {median} | {spread} | {_bound(figure)} | {_kept(figure, bound)} |\n"


def _bound(figure: dict[str, Any]) -> str:
    if figure["bound"] is None:
        return ""
    return f"{'at least' if figure['more_is_better'] else 'at most'} {figure['bound']:g}"


def _kept(figure: dict[str, Any], bound: float | None) -> str:
    if bound is None:
        return str(figure["note"])
    median = figure["median"]
    kept = median >= bound if figure["more_is_better"] else median <= bound
    said = "kept" if kept else f"**not kept**: {median / bound:.2g} of the bound"
    return f"{said} {figure['note']}".strip()
