"""What stands between a bank and its sidecar, and loses, holds and repeats what goes through."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    Forward = Callable[[], "Answer"]
    Fault = Callable[[Forward], "Answer | None"]
    """Does with one request what it likes; None loses the answer."""

OPERATION = "globaltx-operation"
SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Between:
    """A proxy in threads; ``fault`` holds for the next request of its operation and is then used up."""

    def __init__(self, port: int, upstream_port: int) -> None:
        self.calls: Counter[str] = Counter()
        """What came from the sidecar, by operation."""
        self._faults: dict[str, list[Fault]] = {}
        self._lock = threading.Lock()
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                between._handle(self)

            do_GET = do_POST = handle_any  # noqa: N815  the library's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.port = port
        self._upstream_port = upstream_port
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fault(self, operation: str, fault: Fault) -> None:
        """Let the next request of an operation meet a fault."""
        with self._lock:
            self._faults.setdefault(operation, []).append(fault)

    def clear(self) -> None:
        """Let everything through again."""
        with self._lock:
            self._faults.clear()
            self.calls.clear()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        operation = handler.headers.get(OPERATION, "")
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))

        def forward() -> Answer:
            return _forward(self._upstream_port, handler, body)

        answer = self._told(operation, forward)
        if answer is None:
            handler.close_connection = True
            return
        handler.send_response_only(answer.status)
        for name, value in answer.headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(answer.body)

    def _told(self, operation: str, forward: Forward) -> Answer | None:
        """What the sidecar is told, by the fault that waits for such a request if there is one."""
        with self._lock:
            self.calls[operation] += 1
            waiting = self._faults.get(operation)
            fault = waiting.pop(0) if waiting else None
        try:
            return forward() if fault is None else fault(forward)
        except (OSError, http.client.HTTPException):
            return None


def _forward(port: int, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        kept = {name: value for name, value in handler.headers.items() if name.lower() != "connection"}
        connection.request(handler.command, handler.path, body, kept)
        response = connection.getresponse()
        read = response.read()
        dropped = {"transfer-encoding", "connection", "content-length"}
        headers = [each for each in response.getheaders() if each[0].lower() not in dropped]
        return Answer(response.status, [*headers, ("Content-Length", str(len(read)))], read)
    finally:
        connection.close()


def lost_request(_forward: Forward) -> Answer | None:
    """The request never reaches the bank."""
    return None


def lost_answer(forward: Forward) -> Answer | None:
    """The bank does its work, and nobody hears of it."""
    forward()
    return None


def repeated(forward: Forward) -> Answer | None:
    """The network delivers the request twice."""
    forward()
    return forward()


def answered(status: int) -> Fault:
    """Something else answers in the bank's place."""

    def fault(_forward: Forward) -> Answer | None:
        return Answer(status, [("Content-Length", "0")], b"")

    return fault
