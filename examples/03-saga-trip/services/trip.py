"""Books a trip: flight and hotel side by side, then the payment; all of it or nothing.

It knows nothing of cancelling: it asks each to book, hands the xid on, and answers whether all have.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import waitress
from flask import Flask, jsonify, request

PORT = int(os.environ.get("PORT", "3000"))
FLIGHT_URL = os.environ.get("FLIGHT_URL", "http://flight:3000")
HOTEL_URL = os.environ.get("HOTEL_URL", "http://hotel:3000")
PAYMENT_URL = os.environ.get("PAYMENT_URL", "http://payment:3000")
CALL_SECONDS_MAX = 30

app = Flask(__name__)
Answer = tuple[Any, int]


class CallError(Exception):
    """A provider did not do what it was asked for."""


@app.get("/healthz")
def healthz() -> Answer:
    return jsonify(ok=True), 200


@app.post("/trips")
def trip() -> Answer:
    """Book ``seats`` and ``rooms`` and pay the ``price``; ``?fail`` fails at the end."""
    wanted = request.get_json()
    xid = request.headers.get("globaltx-xid", "")
    if not xid:
        return jsonify(message="the request carries no globaltx-xid: is this pod injected?"), 400
    try:
        with ThreadPoolExecutor(2) as both:
            flight = both.submit(_book, FLIGHT_URL, xid, wanted["seats"])
            hotel = both.submit(_book, HOTEL_URL, xid, wanted["rooms"])
        flight.result()
        hotel.result()
        _book(PAYMENT_URL, xid, wanted["price"])
    except CallError as error:
        return jsonify(message=str(error)), 409
    if "fail" in request.args:
        return jsonify(message="this request always fails, after all is booked and paid"), 409
    return jsonify(booked=True), 200


def _book(url: str, xid: str, amount: int) -> None:
    headers = {"Content-Type": "application/json", "globaltx-xid": xid}
    body = json.dumps({"amount": amount}).encode()
    call = urllib.request.Request(f"{url}/bookings", body, headers, method="POST")  # noqa: S310  our own
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
