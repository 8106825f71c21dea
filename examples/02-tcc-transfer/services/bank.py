"""A bank: debits and credits that are tried, then confirmed or cancelled.

It keeps each reservation under the branch that its sidecar names, so that every call may be repeated.
Its database is its own affair (SQLite here): globaltx does not see it.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import waitress
from flask import Flask, jsonify, request

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = int(os.environ.get("PORT", "3000"))
DATABASE = os.environ.get("DATABASE", "/data/bank.db")
ACCOUNTS = os.environ.get("ACCOUNTS", "1=100,2=100")
SCHEMA = """
    CREATE TABLE IF NOT EXISTS account (id TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0));
    CREATE TABLE IF NOT EXISTS reservation (
        branch TEXT PRIMARY KEY, account TEXT, amount INTEGER, state TEXT NOT NULL
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


@app.get("/accounts")
def accounts() -> Answer:
    """What is in every account, and what became of every reservation."""
    with transaction() as db:
        balances = dict(db.execute("SELECT id, balance FROM account").fetchall())
        states = db.execute("SELECT state, COUNT(*) FROM reservation GROUP BY state").fetchall()
    return jsonify(balances=balances, reservations=dict(states)), 200


@app.post("/accounts/<account>/debit")
def try_debit(account: str) -> Answer:
    """Take the amount out of the balance, so that nobody else spends it."""
    return _try(account, -_amount())


@app.post("/accounts/<account>/credit")
def try_credit(account: str) -> Answer:
    """Make sure that the account can be paid into; the money comes with the confirmation."""
    return _try(account, 0)


def _try(account: str, change: int) -> Answer:
    branch, amount = request.headers["globaltx-branch"], _amount()
    with transaction() as db:
        known = db.execute("SELECT state FROM reservation WHERE branch = ?", (branch,)).fetchone()
        if known is not None:
            return jsonify(state=known[0]), 200 if known[0] == "tried" else 409
        found = db.execute("SELECT balance FROM account WHERE id = ?", (account,)).fetchone()
        if found is None or found[0] + change < 0:
            return jsonify(message=f"account {account}: no such account, or not enough in it"), 409
        db.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (change, account))
        db.execute("INSERT INTO reservation VALUES (?, ?, ?, 'tried')", (branch, account, amount))
    return jsonify(state="tried"), 200


@app.post("/accounts/<account>/debit/confirm")
def confirm_debit(account: str) -> Answer:
    """The money is out already."""
    return _end(account, "confirmed", 0)


@app.post("/accounts/<account>/debit/cancel")
def cancel_debit(account: str) -> Answer:
    """Give it back."""
    return _end(account, "cancelled", 1)


@app.post("/accounts/<account>/credit/confirm")
def confirm_credit(account: str) -> Answer:
    """Pay it in."""
    return _end(account, "confirmed", 1)


@app.post("/accounts/<account>/credit/cancel")
def cancel_credit(account: str) -> Answer:
    """Nothing was paid in yet."""
    return _end(account, "cancelled", 0)


def _end(account: str, state: str, sign: int) -> Answer:
    """Bring a reservation to its end once; a repeat finds it there."""
    branch = request.headers["globaltx-branch"]
    with transaction() as db:
        known = db.execute("SELECT state, amount FROM reservation WHERE branch = ?", (branch,)).fetchone()
        if known is None:
            if state == "confirmed":
                return jsonify(message=f"nothing is reserved for {branch}"), 404
            # The try was refused, or never came: remember that it must not come any more.
            db.execute("INSERT INTO reservation VALUES (?, ?, 0, 'cancelled')", (branch, account))
        elif known[0] == "tried":
            db.execute("UPDATE reservation SET state = ? WHERE branch = ?", (state, branch))
            change = (sign * known[1], account)
            db.execute("UPDATE account SET balance = balance + ? WHERE id = ?", change)
        elif known[0] != state:
            return jsonify(message=f"{branch} is {known[0]} already"), 409
    return jsonify(state=state), 200


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


def open_accounts() -> None:
    """Make the tables and the first customers, unless they are there."""
    with closing(sqlite3.connect(DATABASE, timeout=30)) as connection:
        connection.executescript(SCHEMA)
        for each in ACCOUNTS.split(","):
            account, _, balance = each.partition("=")
            connection.execute("INSERT OR IGNORE INTO account VALUES (?, ?)", (account, int(balance)))
        connection.commit()


if __name__ == "__main__":
    open_accounts()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, host="0.0.0.0", port=PORT, threads=8)  # noqa: S104  the pod's address
