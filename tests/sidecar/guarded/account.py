"""A participant that remembers nothing: each of its calls moves money as often as it is made.

What keeps it from doing so twice is the hint that it hands on to its database, unless GUARD is 0.
"""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath

import pymysql

GUARD = os.environ.get("GUARD") != "0"
WORK = {
    "try": "UPDATE {hint} account SET balance = balance - 30, reserved = reserved + 30 WHERE id = 1",
    "confirm": "UPDATE {hint} account SET reserved = reserved - 30, spent = spent + 30 WHERE id = 1",
    "cancel": "UPDATE {hint} account SET reserved = reserved - 30, balance = balance + 30 WHERE id = 1",
    "step": "UPDATE {hint} account SET balance = balance - 30, spent = spent + 30 WHERE id = 1",
    "compensate": "UPDATE {hint} account SET spent = spent - 30, balance = balance + 30 WHERE id = 1",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hint = f"/*+ XidGuard('{self.headers['globaltx-guard']}') */" if GUARD else ""
        try:
            work(WORK[PurePosixPath(self.path).name].format(hint=hint))
        except pymysql.MySQLError as error:
            self.log_error("%s: %s", self.path, error)
            self.answer(500)  # it knows nothing of guards
        else:
            self.answer(200)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def work(sql: str) -> None:
    port = int(os.environ["DATABASE_PORT"])
    name = os.environ["DATABASE_NAME"]
    with pymysql.connect(
        host="127.0.0.1", port=port, user="account", password="secret", database=name
    ) as connection:
        connection.cursor().execute(sql)
        connection.commit()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
