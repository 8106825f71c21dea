"""Keeps the stock: one row in its own database."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from typing import Any

import waitress
from database import connect
from flask import Flask, jsonify, request

PORT = int(os.environ.get("PORT", "3000"))
TAKE = (
    "UPDATE inventory SET available_qty = available_qty - %s, allocated_qty = allocated_qty + %s "
    "WHERE product_sysno = 1 AND available_qty >= %s"
)

app = Flask(__name__)
Answer = tuple[Any, int]


@app.get("/healthz")
def healthz() -> Answer:
    return jsonify(ok=True), 200


@app.get("/stock")
def stock() -> Answer:
    """What is left."""
    with closing(connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("SELECT available_qty FROM inventory WHERE product_sysno = 1")
        (left,) = cursor.fetchone()
    return jsonify(left=left), 200


@app.post("/stock/take")
def take() -> Answer:
    """Take so many, if there are."""
    quantity = request.get_json()["quantity"]
    with closing(connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(TAKE, (quantity, quantity, quantity))
        found = cursor.rowcount
        connection.commit()
    if not found:
        return jsonify(message="there are not so many left"), 409
    return jsonify(taken=quantity), 200


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, host="0.0.0.0", port=PORT, threads=8)  # noqa: S104  the pod's address
