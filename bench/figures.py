"""A measured figure: its rounds, and the bound that it must keep."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured in several rounds; ``bound`` is None where nothing was promised."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    bound: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the most of all rounds."""
        return min(self.rounds), max(self.rounds)

    @property
    def kept(self) -> bool:
        """Whether the median keeps the bound."""
        return self.bound is None or self.median < self.bound

    def to_json(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": round(self.median, 3),
            "rounds": [round(each, 3) for each in self.rounds],
            "bound": self.bound,
            "note": self.note,
        }


def table(figures: list[Figure]) -> str:
    """All figures, one a line."""
    line = "{:50} {:>9} {:>19} {:>7} {:>8}  {}\n"
    text = line.format("", "median", "spread", "rounds", "bound", "")
    for each in figures:
        low, high = each.spread
        bound = "" if each.bound is None else f"{each.bound:g}"
        text += line.format(
            f"{each.name} ({each.unit})",
            f"{each.median:.2f}",
            f"{low:.2f} to {high:.2f}",
            len(each.rounds),
            bound,
            each.note if each.kept else f"NOT KEPT {each.note}",
        )
    return text
