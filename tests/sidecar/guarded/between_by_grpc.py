"""Stands between a sidecar and its application that speak gRPC, and spoils what the tests of HTTP/1.1 spoil.

It reads calls and gives answers with `h2`, so that it can break off like a network does, and calls the
application with gRPC's own client. A grpc-status is given as the status of HTTP that means the same.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from contextlib import suppress
from typing import Self

import grpc
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from tests.sidecar.bank.between import OPERATION, SECONDS, Answer, Between

STATUSES = {0: 200, 1: 499, 3: 400, 4: 504, 8: 413, 10: 409, 12: 501, 13: 500, 14: 502}
"""What the codes of gRPC are over HTTP/1.1, as far as they come up."""
PREFIX_BYTES = 5
_NOT_PASSED_ON = frozenset({"te", "content-type", "grpc-timeout", "user-agent", "grpc-accept-encoding"})


class GrpcBetween(Between):
    """The same over HTTP/2, in an event loop of its own; each call is worked for in a thread."""

    def __init__(self, port: int, upstream_port: int) -> None:
        self._channel = grpc.insecure_channel(
            f"127.0.0.1:{upstream_port}", options=[("grpc.enable_retries", 0)]
        )
        self._loop = asyncio.new_event_loop()
        self._running: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()
        super().__init__(port, upstream_port)
        self._server.server_close()  # that of HTTP/1.1
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._running = asyncio.run_coroutine_threadsafe(serving, self._loop).result(SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._channel.close()

    async def _stop(self) -> None:
        self._running.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._loop.shutdown_default_executor()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        heads: dict[int, dict[str, str]] = {}
        bodies: defaultdict[int, bytes] = defaultdict(bytes)
        under_way = set()
        self._writers.add(writer)
        with suppress(OSError):
            writer.write(connection.data_to_send())
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, RequestReceived):
                        heads[event.stream_id] = dict(event.headers)  # type: ignore[arg-type]  # as text
                    elif isinstance(event, DataReceived):
                        bodies[event.stream_id] += event.data
                    elif isinstance(event, StreamEnded):
                        stream = event.stream_id
                        work = self._answer(connection, writer, stream, heads.pop(stream), bodies.pop(stream))
                        under_way.add(asyncio.ensure_future(work))
                writer.write(connection.data_to_send())
        writer.close()
        self._writers.discard(writer)
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _answer(
        self,
        connection: H2Connection,
        writer: asyncio.StreamWriter,
        stream: int,
        head: dict[str, str],
        body: bytes,
    ) -> None:
        message = body[PREFIX_BYTES:]
        answer = await asyncio.to_thread(
            self._told, head.get(OPERATION, ""), lambda: self._forward(head, message)
        )
        if answer is None:
            writer.transport.abort()
            return
        code = next(code for code, status in STATUSES.items() if status == answer.status)
        connection.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        connection.send_data(stream, b"\0" + len(answer.body).to_bytes(4, "big") + answer.body)
        connection.send_headers(stream, [("grpc-status", str(code))], end_stream=True)
        writer.write(connection.data_to_send())

    def _forward(self, head: dict[str, str], message: bytes) -> Answer:
        metadata = [
            (name, value)
            for name, value in head.items()
            if not name.startswith(":") and name not in _NOT_PASSED_ON
        ]
        call = self._channel.unary_unary(head[":path"])
        try:
            return Answer(200, [], call(message, metadata=metadata, timeout=SECONDS, wait_for_ready=False))
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError(error.details()) from error
            return Answer(STATUSES[code.value[0]], [], b"")
