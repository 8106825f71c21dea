"""The loop of a client program: a line asks, a line answers."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from typing import Any, Protocol


class Program(Protocol):
    """What carries requests out: a method for each of them, named as it."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises when something is wrong with the database or the way to it."""


def answer_all(program: Program) -> None:
    """Answer each line of the input."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = getattr(program, asked.pop("do"))(**asked)
        except program.errors as error:
            answer = {"error": _told(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def address() -> dict[str, Any]:
    """Where to connect, as most drivers call it."""
    given = {name: os.environ[f"DB_{name.upper()}"] for name in ("host", "user", "password")}
    return given | {"port": int(os.environ["DB_PORT"]), "database": os.environ["DB_SCHEMA"]}


def values(parameters: list[Any]) -> tuple[Any, ...]:
    """Parameters as a driver takes them."""
    return tuple(base64.b64decode(each["base64"]) if isinstance(each, dict) else each for each in parameters)


def formatted(sql: str) -> str:
    """Put the drivers' own placeholders for ours."""
    return sql.replace("%", "%%").replace("?", "%s")


def texts(rows: Any) -> dict[str, Any]:
    """The answer to a query."""
    return {"rows": [[_text(cell) for cell in row] for row in rows]}


def digest(rows: Any) -> dict[str, Any]:
    """The answer that stands for one large cell."""
    [[cell]] = rows
    data = cell.encode() if isinstance(cell, str) else bytes(cell)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _text(cell: Any) -> str | None:
    if cell is None:
        return None
    return bytes(cell).decode() if isinstance(cell, bytes | bytearray) else str(cell)


def _told(error: Any) -> dict[str, Any]:
    cause = getattr(error, "orig", None) or error.__cause__ or error
    if hasattr(cause, "errno"):
        return {"code": cause.errno or 0, "state": cause.sqlstate or "", "message": str(cause.msg)}
    code, *rest = cause.args or (0,)
    return {
        "code": code if isinstance(code, int) else 0,
        "state": "",
        "message": " ".join(map(str, rest or [code])),
    }
