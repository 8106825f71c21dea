"""The matrices of docs/modes.md: which cells there are, which are quick, and what was found in each."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.site import IN_ETCD, IN_KUBERNETES, STORES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tests.sidecar.bank.cases import Case

PAGE = Path(__file__).parents[3] / "docs" / "modes.md"
NAMES = {IN_KUBERNETES: "Kubernetes", IN_ETCD: "etcd"}
UNTRIED = "not tried"


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A case at a step; no two are equal, so that pytest groups by stores and not by cells."""

    case: Case
    step: str


class Matrix:
    """One of them: what happens (rows) at which step (columns), in which store (two columns each)."""

    def __init__(self, name: str, where: str, cases: Sequence[Case], steps: Sequence[str]) -> None:
        self._name = name
        self._where = where
        self._cases = [case.name for case in cases]
        self._steps = steps
        self._of = {case.name: case for case in cases}
        self._marked = re.compile(
            rf"(?<=<!-- {name}: generated)([^\n]*-->\n)(.*)(?=<!-- {name}: end -->)", re.DOTALL
        )

    def cells(self) -> list[Any]:
        """All of them, as parameters (store, cell); the deep ones are marked.

        Quick ones are in etcd, where they take less: each case at one of the steps, one after the other.
        """
        return [
            pytest.param(
                *(store, Cell(self._of[case], step)),
                marks=self._marks(store, row, column),
                id=f"{store}-{case}-{step}",
            )
            for store in STORES
            for row, case in enumerate(self._cases)
            for column, step in enumerate(self._steps)
        ]

    def _marks(self, store: str, row: int, column: int) -> list[pytest.MarkDecorator]:
        quick = store == IN_ETCD and row % len(self._steps) == column
        return [
            *([pytest.mark.etcd] if store == IN_ETCD else []),
            *([] if quick else [pytest.mark.deep]),
        ]

    def note(self, store: str, cell: Cell, outcome: str) -> None:
        """Compare the page with what became of a cell; REWRITE=1 puts that on the page."""
        key = cell.case.name, cell.step, store
        if os.environ.get("REWRITE"):
            PAGE.write_text(self._page({key: outcome}))
        assert self._said().get(key) == outcome, f"{PAGE.name} says otherwise; REWRITE=1 puts this on it"

    def check(self) -> None:
        """The page shows all cells, and nothing else, as they are made here."""
        assert PAGE.read_text() == self._page({})
        assert UNTRIED not in self._said().values()

    def _page(self, found: dict[tuple[str, str, str], str]) -> str:
        table = self._table(self._said() | found)
        return self._marked.sub(lambda match: match[1] + table, PAGE.read_text())

    def _said(self) -> dict[tuple[str, str, str], str]:
        """What the page says; a table of another shape says nothing."""
        marked = self._marked.search(PAGE.read_text())
        assert marked is not None, f"{PAGE.name} has no {self._name}"
        lines = [[each.strip() for each in line.strip("|").split("|")] for line in marked[2].splitlines()]
        columns = self._columns()
        return {
            (line[0], *column): said
            for line in lines[2:]
            if len(line) == len(columns) + 1
            for column, said in zip(columns, line[1:], strict=True)
        }

    def _columns(self) -> list[tuple[str, str]]:
        return [(step, store) for step in self._steps for store in STORES]

    def _table(self, cells: dict[tuple[str, str, str], str]) -> str:
        columns = self._columns()
        heads = [f"{step}, {NAMES[store]}" for step, store in columns]
        rows = [[case, *(cells.get((case, *column), UNTRIED) for column in columns)] for case in self._cases]
        lines = [[f"what happens at {self._where}", *heads], *rows]
        first, *others = [f"| {' | '.join(line)} |" for line in lines]
        return "\n".join([first, "|---|" + "---|" * len(columns), *others, ""])
