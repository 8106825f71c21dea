"""An airline, a hotel or a bank: what is booked is gone at once, and comes back when it is cancelled.

It keeps each booking under the branch that its sidecar names, so that every call may be repeated.
Its database is its own affair (SQLite here): globaltx does not see it.
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
DATABASE = os.environ.get("DATABASE", "/data/bookings.db")
STOCK = int(os.environ.get("STOCK", "1000"))
SCHEMA = """
    CREATE TABLE IF NOT EXISTS stock (only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
                                      free INTEGER NOT NULL CHECK (free >= 0));
    CREATE TABLE IF NOT EXISTS booking (
        branch TEXT PRIMARY KEY, amount INTEGER, state TEXT NOT NULL, changed_at INTEGER NOT NULL
    );
"""

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


@app.get("/bookings")
def bookings() -> Answer:
    """What is free, how many bookings stand so, and when the last one was changed (ns)."""
    with transaction() as db:
        (free,) = db.execute("SELECT free FROM stock").fetchone()
        states = db.execute("SELECT state, COUNT(*) FROM booking GROUP BY state").fetchall()
        (changed_at,) = db.execute("SELECT MAX(changed_at) FROM booking").fetchone()
    return jsonify(free=free, bookings=dict(states), changed_at=changed_at or 0), 200


@app.post("/bookings")
def book() -> Answer:
    """Book so much, for good."""
    branch, amount = request.headers["globaltx-branch"], _amount()
    with transaction() as db:
        known = db.execute("SELECT state FROM booking WHERE branch = ?", (branch,)).fetchone()
        if known is not None:
            return jsonify(state=known[0]), 200 if known[0] == "booked" else 409
        (free,) = db.execute("SELECT free FROM stock").fetchone()
        if free < amount:
            return jsonify(message=f"only {free} are left"), 409
        db.execute("UPDATE stock SET free = free - ?", (amount,))
        db.execute("INSERT INTO booking VALUES (?, ?, 'booked', ?)", (branch, amount, time.time_ns()))
    return jsonify(state="booked"), 200


@app.post("/bookings/cancel")
def cancel() -> Answer:
    """Take a booking back once; a repeat finds it taken back."""
    branch = request.headers["globaltx-branch"]
    with transaction() as db:
        known = db.execute("SELECT state, amount FROM booking WHERE branch = ?", (branch,)).fetchone()
        if known is None:
            # The booking was refused, or never came: remember that it must not come any more.
            db.execute("INSERT INTO booking VALUES (?, 0, 'cancelled', ?)", (branch, time.time_ns()))
        elif known[0] == "booked":
            change = (time.time_ns(), branch)
            db.execute("UPDATE booking SET state = 'cancelled', changed_at = ? WHERE branch = ?", change)
            db.execute("UPDATE stock SET free = free + ?", (known[1],))
    return jsonify(state="cancelled"), 200


def _amount() -> int:
    amount = request.get_json()["amount"]
    if not isinstance(amount, int) or isinstance(amount, bool) or amount <= 0:
        message = "amount must be a whole number above 0"
        raise ValueError(message)
    return amount


@app.errorhandler(KeyError)
@app.errorhandler(ValueError)
def bad_request(error: Exception) -> Answer:
    return jsonify(message=f"bad request: {error!r}"), 400


def open_for_business() -> None:
    """Make the tables and the first stock, unless they are there."""
    with closing(sqlite3.connect(DATABASE, timeout=30)) as connection:
        connection.executescript(SCHEMA)
        connection.execute("INSERT OR IGNORE INTO stock VALUES (1, ?)", (STOCK,))
        connection.commit()


if __name__ == "__main__":
    open_for_business()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, host="0.0.0.0", port=PORT, threads=8)  # noqa: S104  the pod's address
