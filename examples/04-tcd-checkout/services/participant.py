"""Keeps reservations for a time: an account its amounts, a shop its products.

What is not confirmed runs out by itself after KEEP_SECONDS; nobody cancels. Its database is its own
affair (SQLite here): globaltx does not see it.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import waitress
from flask import Flask, jsonify, request

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = int(os.environ.get("PORT", "3000"))
DATABASE = os.environ.get("DATABASE", "/data/participant.db")
KEEP_SECONDS = float(os.environ.get("KEEP_SECONDS", "60"))
STOCK = int(os.environ.get("STOCK", "1000"))
SCHEMA = """
    CREATE TABLE IF NOT EXISTS reservation (
        branch TEXT PRIMARY KEY, amount INTEGER, until REAL NOT NULL, confirmed INTEGER NOT NULL DEFAULT 0
    );
"""
FREE = "SELECT ? - COALESCE(SUM(amount), 0) FROM reservation WHERE confirmed OR until > ?"

app = Flask(__name__)
Answer = tuple[Any, int]


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """One local transaction, alone in the database; an exception rolls it back."""
    with closing(sqlite3.connect(DATABASE, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


@app.get("/healthz")
def healthz() -> Answer:
    return jsonify(ok=True), 200


@app.get("/free")
def free() -> Answer:
    """What is neither sold nor kept for anybody."""
    with transaction() as db:
        return jsonify(free=db.execute(FREE, (STOCK, time.time())).fetchone()[0]), 200


@app.post("/reserve")
def reserve() -> Answer:
    """Try: keep an amount for a time; the same branch once more finds what it has.

    ``keep_seconds`` breaks the promise that the policy has made, to show what comes of it.
    """
    asked, now = request.get_json(), time.time()
    branch, amount = request.headers["globaltx-branch"], asked["amount"]
    keep_seconds = min(KEEP_SECONDS, asked.get("keep_seconds", KEEP_SECONDS))
    with transaction() as db:
        known = _state(db, branch)
        if known is None:
            if not 0 < amount <= db.execute(FREE, (STOCK, now)).fetchone()[0]:
                return jsonify(message=f"{amount} is not to be had"), 409
            row = (branch, amount, now + keep_seconds)
            db.execute("INSERT INTO reservation (branch, amount, until) VALUES (?, ?, ?)", row)
    return jsonify(branch=branch, state=known or "RESERVED"), 200


@app.post("/reserve/confirm")
def confirm() -> Answer:
    """Make it real, as long as it is kept; a repeat finds it done."""
    branch = request.headers["globaltx-branch"]
    with transaction() as db:
        known = _state(db, branch)
        if known in {None, "CANCELLED"}:
            return jsonify(state="CANCELLED", message="the reservation has run out"), 410
        db.execute("UPDATE reservation SET confirmed = 1 WHERE branch = ?", (branch,))
    return jsonify(state="CONFIRMED"), 200


@app.get("/reserve/state")
def state() -> Answer:
    """Tell how the reservation of a branch stands, now or long afterwards."""
    with transaction() as db:
        known = _state(db, request.headers["globaltx-branch"])
    return jsonify(state=known or "UNKNOWN"), 200


def _state(db: sqlite3.Connection, branch: str) -> str | None:
    found = db.execute("SELECT confirmed, until FROM reservation WHERE branch = ?", (branch,)).fetchone()
    if found is None:
        return None
    if found[0]:
        return "CONFIRMED"
    return "RESERVED" if found[1] > time.time() else "CANCELLED"


@app.errorhandler(KeyError)
def bad_request(error: Exception) -> Answer:
    return jsonify(message=f"bad request: {error!r}"), 400


if __name__ == "__main__":
    with closing(sqlite3.connect(DATABASE, timeout=30)) as connection:
        connection.executescript(SCHEMA)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, host="0.0.0.0", port=PORT, threads=8)  # noqa: S104  the pod's address
