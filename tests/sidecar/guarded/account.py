"""A participant that remembers nothing, asked by HTTP/1.1."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath

import pymysql

from tests.sidecar.guarded.work import work


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            work(PurePosixPath(self.path).name, self.headers["globaltx-guard"])
        except pymysql.MySQLError as error:
            self.log_error("%s: %s", self.path, error)
            self.answer(500)  # it knows nothing of guards
        else:
            self.answer(200)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
