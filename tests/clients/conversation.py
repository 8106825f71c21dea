"""What a test and a client program say to each other: one JSON object a line, a request and its answer.

Requests, by ``do``: ``connect`` (anew, to where the environment says: DB_HOST, DB_PORT, DB_USER,
DB_PASSWORD, DB_SCHEMA), ``begin``, ``commit``, ``rollback`` (a local transaction, by the driver's own
means), ``execute`` and ``query`` (``sql`` with ``?``, ``parameters``), ``batch`` (``sql``, ``rows`` of
parameters, by the driver's batches where it has them), ``digest`` (a query for one large cell),
``pooled`` (as ``execute``, in a local transaction of its own on the connection of a pool of one, or on
what the driver has instead), ``orm`` (a unit of work by mapped objects, with the ``xid`` or null). A
parameter is a text, an integer, null, or ``{"base64": ...}`` for bytes.

Answers: ``rows`` of texts and nulls to a query; ``bytes`` and ``sha256`` to a digest, of the cell as the
driver has given it; ``affected`` and ``id`` to the others, and whatever
else the driver tells about a statement, since answers are only compared with answers of the same
program; or ``error`` with ``code``, ``state`` and ``message``.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.clients.programs import Driver

_ANSWER_SECONDS = 120
_STOP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Address:
    """Where a client connects to."""

    host: str
    port: int
    user: str
    password: str
    schema: str


class ClientError(Exception):
    """The driver told of an error."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.code = int(told["code"])
        self.state = str(told["state"])
        self.message = str(told["message"])
        super().__init__(f"{self.code} ({self.state}): {self.message}")


class Client:
    """A running client program, connected."""

    def __init__(self, driver: Driver, address: Address) -> None:
        command, folder = driver.command()
        environment = {f"DB_{name.upper()}": str(getattr(address, name)) for name in Address.__slots__}
        self._process = subprocess.Popen(
            command, cwd=folder, env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            self.connect()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Make a request and give the answer; a `ClientError` if that is an error."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do} | more).encode() + b"\n")
        self._process.stdin.flush()
        line = self._answers.get(timeout=_ANSWER_SECONDS)
        assert line, "the program ended; it has said why above"
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer

    def connect(self) -> None:
        """Connect, again if need be."""
        self.ask("connect")

    def begin(self) -> None:
        """Begin a local transaction."""
        self.ask("begin")

    def commit(self) -> None:
        """Commit the local transaction."""
        self.ask("commit")

    def rollback(self) -> None:
        """Roll the local transaction back."""
        self.ask("rollback")

    def execute(self, sql: str, *parameters: Any) -> dict[str, Any]:
        """Execute a statement that changes rows."""
        return self.ask("execute", sql=sql, parameters=_plain(parameters))

    def batch(self, sql: str, *rows: tuple[Any, ...]) -> dict[str, Any]:
        """Execute a statement once for each row of parameters."""
        return self.ask("batch", sql=sql, rows=[_plain(row) for row in rows])

    def query(self, sql: str, *parameters: Any) -> list[list[str | None]]:
        """Ask for rows."""
        rows: list[list[str | None]] = self.ask("query", sql=sql, parameters=_plain(parameters))["rows"]
        return rows

    def digest(self, sql: str, *parameters: Any) -> tuple[int, str]:
        """Ask for one large cell; give its length in bytes and their SHA-256."""
        answer = self.ask("digest", sql=sql, parameters=_plain(parameters))
        return answer["bytes"], answer["sha256"]

    def pooled(self, sql: str, *parameters: Any) -> dict[str, Any]:
        """Execute a statement in a local transaction on the pool's connection."""
        return self.ask("pooled", sql=sql, parameters=_plain(parameters))


def _plain(parameters: tuple[Any, ...]) -> list[Any]:
    return [
        {"base64": base64.b64encode(each).decode()} if isinstance(each, bytes) else each
        for each in parameters
    ]
