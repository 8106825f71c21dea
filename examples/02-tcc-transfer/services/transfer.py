"""Moves money from an account at one bank to an account at another: all of it or nothing.

It knows nothing of confirming and cancelling: it asks both banks to reserve, hands the xid on, and
answers whether both have.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from typing import Any

import waitress
from flask import Flask, jsonify, request

PORT = int(os.environ.get("PORT", "3000"))
FROM_URL = os.environ.get("FROM_URL", "http://bank-a:3000")
TO_URL = os.environ.get("TO_URL", "http://bank-b:3000")
CALL_SECONDS_MAX = 30

app = Flask(__name__)
Answer = tuple[Any, int]


class CallError(Exception):
    """A bank did not do what it was asked for."""


@app.get("/healthz")
def healthz() -> Answer:
    return jsonify(ok=True), 200


@app.post("/transfer")
def transfer() -> Answer:
    """Transfer ``amount`` from account ``debit`` to account ``credit``; ``?fail`` fails at the end."""
    order = request.get_json()
    xid = request.headers.get("globaltx-xid", "")
    if not xid:
        return jsonify(message="the request carries no globaltx-xid: is this pod injected?"), 400
    try:
        _reserve(f"{FROM_URL}/accounts/{order['debit']}/debit", xid, order["amount"])
        _reserve(f"{TO_URL}/accounts/{order['credit']}/credit", xid, order["amount"])
    except CallError as error:
        return jsonify(message=str(error)), 409
    if "fail" in request.args:
        return jsonify(message="this request always fails, after both banks have reserved"), 409
    return jsonify(transferred=order["amount"]), 200


def _reserve(url: str, xid: str, amount: int) -> None:
    headers = {"Content-Type": "application/json", "globaltx-xid": xid}
    body = json.dumps({"amount": amount}).encode()
    call = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310  our own addresses
    try:
        with urllib.request.urlopen(call, timeout=CALL_SECONDS_MAX):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        message = f"{url} answered {error.code}: {error.read(1000).decode(errors='replace').strip()}"
        raise CallError(message) from error
    except (OSError, http.client.HTTPException) as error:
        message = f"{url} did not answer: {error!r}"
        raise CallError(message) from error


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, host="0.0.0.0", port=PORT, threads=8)  # noqa: S104  the pod's address
