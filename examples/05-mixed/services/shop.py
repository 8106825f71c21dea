"""Sells: a row in its own database, a payment that the bank reserves, a parcel that the carrier books.

Each is undone in its own way when one of them fails. The shop writes the xid into its SQL and hands it on.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from contextlib import closing
from typing import Any

import mysql.connector
import waitress
from flask import Flask, jsonify, request

PORT = int(os.environ.get("PORT", "3000"))
BANK_URL = os.environ.get("BANK_URL", "http://bank:3000")
CARRIER_URL = os.environ.get("CARRIER_URL", "http://carrier:3000")
CALL_SECONDS_MAX = 30
INSERT = (
    "INSERT /*+ XID('{xid}') */ INTO so_item (so_sysno, product_sysno, product_name, deal_price, quantity) "
    "VALUES (%s, %s, %s, %s, %s)"
)
XID = re.compile(r"[a-z0-9.-]{3,127}")

app = Flask(__name__)
Answer = tuple[Any, int]


class CallError(Exception):
    """Bank or carrier did not do what it was asked for."""


@app.get("/healthz")
def healthz() -> Answer:
    return jsonify(ok=True), 200


@app.get("/sales")
def sales() -> Answer:
    """How many rows there are."""
    with closing(_connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("SELECT COUNT(*) FROM so_item")
        (rows,) = cursor.fetchone()
    return jsonify(rows=rows), 200


@app.post("/sales")
def sell() -> Answer:
    """Sell ``parcels`` for the ``price``; ``?fail`` fails at the end."""
    wanted, xid = request.get_json(), request.headers.get("globaltx-xid", "")
    if XID.fullmatch(xid) is None:
        return jsonify(message="the request carries no globaltx-xid: is this pod injected?"), 400
    try:
        _write(xid, wanted["price"], wanted["parcels"])
        _ask(f"{BANK_URL}/accounts/1/debit", xid, wanted["price"])
        _ask(f"{CARRIER_URL}/bookings", xid, wanted["parcels"])
    except CallError as error:
        return jsonify(message=str(error)), 409
    if "fail" in request.args:
        return jsonify(message="this request always fails, after all is done"), 409
    return jsonify(sold=True), 200


def _write(xid: str, price: int, parcels: int) -> None:
    with closing(_connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(INSERT.format(xid=xid), (1, 1, "phone", price, parcels))
        connection.commit()


def _ask(url: str, xid: str, amount: int) -> None:
    headers = {"Content-Type": "application/json", "globaltx-xid": xid}
    body = json.dumps({"amount": amount}).encode()
    call = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310  our own
    try:
        with urllib.request.urlopen(call, timeout=CALL_SECONDS_MAX):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        message = f"{url} answered {error.code}: {error.read(1000).decode(errors='replace').strip()}"
        raise CallError(message) from error
    except (OSError, http.client.HTTPException) as error:
        message = f"{url} did not answer: {error!r}"
        raise CallError(message) from error


def _connect() -> Any:
    return mysql.connector.connect(
        host=os.environ["DATABASE_HOST"],
        port=int(os.environ["DATABASE_PORT"]),
        database=os.environ["DATABASE_NAME"],
        user=os.environ["DATABASE_USER"],
        password=os.environ["DATABASE_PASSWORD"],
        charset="utf8mb4",
        collation="utf8mb4_unicode_ci",  # MariaDB does not know the client's default
        connection_timeout=10,
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, host="0.0.0.0", port=PORT, threads=8)  # noqa: S104  the pod's address
