"""A measured figure: its rounds, and the bound that it must keep."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured in several rounds; ``bound`` is None where nothing was promised."""

    name: str
    unit: str
    rounds: tuple[float, ...]
    bound: float | None = None
    note: str = ""
    more_is_better: bool = False
    """The bound is the least, instead of the most."""
    row: str = ""

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
        if self.bound is None:
            return True
        return self.median >= self.bound if self.more_is_better else self.median <= self.bound

    def to_json(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return {
            "row": self.row,
            "name": self.name,
            "unit": self.unit,
            "median": round(self.median, 3),
            "rounds": [round(each, 3) for each in self.rounds],
            "bound": self.bound,
            "more_is_better": self.more_is_better,
            "note": self.note,
        }


def ratio(name: str, ours: Sequence[float], direct: Sequence[float], *, least: float | None = None) -> Figure:
    """How much of a throughput is left; each round is held against the direct one beside it."""
    rounds = tuple(mine / theirs for mine, theirs in zip(ours, direct, strict=True))
    return Figure(name, "x", rounds, least, more_is_better=True)


def slowdown(
    name: str, ours: Sequence[float], direct: Sequence[float], *, most: float | None = None
) -> Figure:
    """How many times longer something takes; each round is held against the direct one beside it."""
    return Figure(name, "x", tuple(mine / theirs for mine, theirs in zip(ours, direct, strict=True)), most)


def table(figures: Iterable[Figure]) -> str:
    """All figures, one a line, under the name of their row."""
    line = "  {:56} {:>10} {:>23} {:>4} {:>9}  {}\n"
    text, row = line.format("", "median", "spread", "n", "bound", ""), ""
    for each in figures:
        if each.row != row:
            row = each.row
            text += f"{row}\n"
        low, high = each.spread
        sign = ">=" if each.more_is_better else "<="
        bound = "" if each.bound is None else f"{sign} {each.bound:g}"
        text += line.format(
            f"{each.name} ({each.unit})",
            f"{each.median:.5g}",
            f"{low:.5g} to {high:.5g}",
            len(each.rounds),
            bound,
            each.note if each.kept else f"NOT KEPT {each.note}",
        )
    return text
