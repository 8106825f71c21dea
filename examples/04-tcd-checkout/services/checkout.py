"""Sells a product: an amount is reserved on the account, the product in the shop, or nothing happens.

It knows nothing of confirming: it asks both to reserve, hands the xid on, and answers whether both have.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import waitress
from flask import Flask, jsonify, request

PORT = int(os.environ.get("PORT", "3000"))
ACCOUNT_URL = os.environ.get("ACCOUNT_URL", "http://account:3000")
PRODUCT_URL = os.environ.get("PRODUCT_URL", "http://product:3000")
CALL_SECONDS_MAX = 30
LATE_SECONDS_MAX = 50

app = Flask(__name__)
Answer = tuple[Any, int]


class CallError(Exception):
    """Somebody did not do what was asked for."""


@app.get("/healthz")
def healthz() -> Answer:
    return jsonify(ok=True), 200


@app.post("/checkout")
def checkout() -> Answer:
    """Buy ``amount``; ``?fail`` fails at the end, ``?late`` answers when the account keeps it no more.

    ``?broken`` answers then too, but the account keeps it for a second only, whatever its policy says.
    """
    amount = request.get_json()["amount"]
    xid = request.headers.get("globaltx-xid", "")
    if not xid:
        return jsonify(message="the request carries no globaltx-xid: is this pod injected?"), 400
    try:
        broken = {"keep_seconds": 1} if "broken" in request.args else {}
        kept = _reserve(f"{ACCOUNT_URL}/reserve", xid, {"amount": amount, **broken})
        _reserve(f"{PRODUCT_URL}/reserve", xid, {"amount": amount})
        if {"late", "broken"} & set(request.args):
            _wait_until_it_has_run_out(kept["branch"])
    except CallError as error:
        return jsonify(message=str(error)), 409
    if "fail" in request.args:
        return jsonify(message="this request always fails, after both have reserved"), 409
    return jsonify(bought=amount), 200


def _reserve(url: str, xid: str, wanted: dict[str, int]) -> Any:
    headers = {"Content-Type": "application/json", "globaltx-xid": xid}
    body = json.dumps(wanted).encode()
    return _answer(urllib.request.Request(url, body, headers, method="POST"))  # noqa: S310  our own addresses


def _wait_until_it_has_run_out(branch: str) -> None:
    """Be as slow as an initiator can be."""
    until = time.monotonic() + LATE_SECONDS_MAX
    asked = urllib.request.Request(f"{ACCOUNT_URL}/reserve/state", headers={"globaltx-branch": branch})  # noqa: S310
    while time.monotonic() < until and _answer(asked)["state"] == "RESERVED":
        time.sleep(0.5)


def _answer(call: urllib.request.Request) -> Any:
    try:
        with urllib.request.urlopen(call, timeout=CALL_SECONDS_MAX) as answer:  # noqa: S310
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        told = error.read(1000).decode(errors="replace").strip()
        message = f"{call.full_url} answered {error.code}: {told}"
        raise CallError(message) from error
    except (OSError, http.client.HTTPException) as error:
        message = f"{call.full_url} did not answer: {error!r}"
        raise CallError(message) from error


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, host="0.0.0.0", port=PORT, threads=8)  # noqa: S104  the pod's address
