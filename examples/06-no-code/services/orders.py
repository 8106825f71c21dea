"""Takes orders: two rows in its own database, and a call to the stock."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from typing import Any

import requests
import waitress
from database import connect
from flask import Flask, jsonify, request

PORT = int(os.environ.get("PORT", "3000"))
STOCK_URL = os.environ.get("STOCK_URL", "http://stock:3000")
CALL_SECONDS_MAX = 30
INSERT = (
    "INSERT INTO so_item (so_sysno, product_sysno, product_name, deal_price, quantity) "
    "VALUES (%s, %s, %s, %s, %s)"
)

app = Flask(__name__)
Answer = tuple[Any, int]


@app.get("/healthz")
def healthz() -> Answer:
    return jsonify(ok=True), 200


@app.get("/orders")
def orders() -> Answer:
    """How many items were ordered."""
    with closing(connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("SELECT COUNT(*) FROM so_item")
        (items,) = cursor.fetchone()
    return jsonify(items=items), 200


@app.post("/orders")
def order() -> Answer:
    """Order ``quantity`` of a product and its case; ``?fail`` fails when all is written."""
    quantity = request.get_json()["quantity"]
    with closing(connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(INSERT, (1, 1, "phone", "6799", quantity))
        cursor.execute(INSERT, (1, 2, "case; 'blue'", "19", quantity))
        connection.commit()
    taken = requests.post(f"{STOCK_URL}/stock/take", json={"quantity": quantity}, timeout=CALL_SECONDS_MAX)
    if not taken.ok:
        return jsonify(message=f"the stock answered {taken.status_code}"), 409
    if "fail" in request.args:
        return jsonify(message="this request always fails, after all is written"), 409
    return jsonify(ordered=quantity), 200


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, host="0.0.0.0", port=PORT, threads=8)  # noqa: S104  the pod's address
