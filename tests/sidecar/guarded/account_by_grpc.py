"""The same participant, asked by gRPC; at READY_PORT it tells by HTTP that it is up."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import grpc
import pymysql

from tests.sidecar.guarded.work import work

MESSAGE = b"thirty"


class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library is not typed
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        name = str(handler_call_details.method).rpartition("/")[2]

        def answer(request: bytes, context: Any) -> bytes:
            guard = dict(context.invocation_metadata())["globaltx-guard"]
            if request != MESSAGE:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"unexpected: {request!r}")
            try:
                work(name.lower(), guard)
            except pymysql.MySQLError as error:
                context.abort(grpc.StatusCode.INTERNAL, str(error))  # it knows nothing of guards
            return b"done"

        return grpc.unary_unary_rpc_method_handler(answer)


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Handlers(),))
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    server.start()
    HTTPServer(("127.0.0.1", int(os.environ["READY_PORT"])), Ready).serve_forever()
