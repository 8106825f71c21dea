"""A participant that hands nothing on, to be run with OpenTelemetry's stock instrumentation.

Half of its work is in autocommit, as many frameworks have it: confirms and what takes back.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing

import mysql.connector
import waitress  # type: ignore[import-untyped]
from flask import Flask

from tests.sidecar.guarded.work import WORK

AUTOCOMMIT = {"confirm", "compensate"}
app = Flask(__name__)


@app.get("/")
def up() -> str:
    return "up"


@app.post("/<_>/<operation>")
def work(_: str, operation: str) -> tuple[str, int]:
    """Move money as often as it is asked to."""
    try:
        with (
            closing(
                mysql.connector.connect(
                    host="127.0.0.1",
                    port=int(os.environ["DATABASE_PORT"]),
                    user="account",
                    password="secret",
                    database=os.environ["DATABASE_NAME"],
                    collation="utf8mb4_unicode_ci",
                    autocommit=operation in AUTOCOMMIT,
                )
            ) as connection,
            closing(connection.cursor()) as cursor,
        ):
            cursor.execute("SELECT balance FROM account WHERE id = 1")
            cursor.fetchall()
            cursor.execute(WORK[operation].format(hint=""))
            connection.commit()
    except mysql.connector.Error as error:
        app.logger.info("%s: %s", operation, error)
        return "", 500
    return "", 200


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, host="127.0.0.1", port=int(os.environ["PORT"]), threads=8)
