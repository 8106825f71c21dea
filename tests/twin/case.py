"""One sequence: tables, rows, and what connections send, as a text that can be kept and played again.

    # why it is kept
    branch                              tables and rows of the next branch (a datasource), one statement
      CREATE TABLE t0 (...)             a line, indented
    connection 0 found_rows             the next connection: its branch, its capabilities
    0: UPDATE {xid} t0 SET a = 1        connection 0 sends a text
    0! [1, "x"] DELETE {xid} ...        connection 0 prepares and executes, the parameters as JSON

``{xid}`` stands for the hint, ``{name}`` for the xid alone; in the run without globaltx for
nothing. A parameter is a JSON string, number or null, or ``{"hex": "00ff"}`` for bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeAlias

Parameter: TypeAlias = "str | int | float | bytes | None"


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection of an application to the datasource of a branch."""

    branch: int
    found_rows: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A statement; ``parameters`` is None for a text, else it is prepared and executed with them."""

    connection: int
    sql: str
    parameters: tuple[Parameter, ...] | None = None

    def text(self) -> str:
        """Write it as a line of a case."""
        if self.parameters is None:
            return f"{self.connection}: {self.sql}"
        return f"{self.connection}! {json.dumps([_written(each) for each in self.parameters])} {self.sql}"


@dataclass(frozen=True, slots=True)
class Case:
    """Statements that make the tables of each branch, the connections, and what they send in order."""

    branches: tuple[tuple[str, ...], ...]
    connections: tuple[Connection, ...]
    steps: tuple[Step, ...]

    def text(self) -> str:
        """Write it so that `parse` reads it again."""
        lines = []
        for tables in self.branches:
            lines += ["branch", *(f"  {each}" for each in tables)]
        lines += [f"connection {each.branch}{' found_rows' * each.found_rows}" for each in self.connections]
        return "\n".join([*lines, *(step.text() for step in self.steps)]) + "\n"


def parse(text: str) -> Case:
    """Read a case; what it does not understand is an error."""
    branches: list[list[str]] = []
    connections: list[Connection] = []
    steps: list[Step] = []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if not line.strip() or word == "#":
            continue
        if line.startswith("  "):
            branches[-1].append(line.strip())
        elif word == "branch":
            branches.append([])
        elif word == "connection":
            branch, *options = rest.split()
            connections.append(Connection(int(branch), found_rows="found_rows" in options))
        else:
            steps.append(_step(word, rest))
    return Case(tuple(map(tuple, branches)), tuple(connections), tuple(steps))


def _step(word: str, rest: str) -> Step:
    connection, kind = int(word[:-1]), word[-1]
    if kind == ":":
        return Step(connection, rest)
    assert kind == "!", word
    parameters, end = json.JSONDecoder().raw_decode(rest)
    return Step(connection, rest[end:].lstrip(), tuple(_read(each) for each in parameters))


def _written(value: Parameter) -> object:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _read(value: object) -> Parameter:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    assert value is None or isinstance(value, str | int | float)
    return value
