"""A bank: debits and credits that are tried, then confirmed or cancelled.

Each call moves money as often as it is made. That it is worked for once, and that nothing is given back
that was not taken, is seen to by the guard row that its sidecar writes in the same local transaction: the
statement hands the header ``globaltx-guard`` on, and an error ends the work like any other.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import closing
from typing import Any

import mysql.connector
import waitress
from flask import Flask, jsonify, request

PORT = int(os.environ.get("PORT", "3000"))
GUARD = re.compile(r"[a-z0-9./-]{3,400}")
UPDATE = "UPDATE /*+ XidGuard('{guard}') */ account SET {change} WHERE id = %(account)s"
AMOUNT_MAX = 10**12
CHECK_VIOLATED = {3819, 4025}
"""On MySQL and on MariaDB."""

app = Flask(__name__)
Answer = tuple[Any, int]


@app.get("/healthz")
def healthz() -> Answer:
    return jsonify(ok=True), 200


@app.get("/accounts")
def accounts() -> Answer:
    """What is in every account, and how much of all is neither confirmed nor cancelled."""
    with closing(_connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("SELECT id, balance, outgoing + incoming FROM account")
        rows = cursor.fetchall()
    balances = {account: balance for account, balance, _ in rows}
    return jsonify(balances=balances, reserved=sum(int(reserved) for *_, reserved in rows)), 200


@app.post("/accounts/<account>/debit")
def try_debit(account: str) -> Answer:
    """Take the amount out of the balance, so that nobody else spends it."""
    return _work(account, "balance = balance - %(amount)s, outgoing = outgoing + %(amount)s")


@app.post("/accounts/<account>/debit/confirm")
def confirm_debit(account: str) -> Answer:
    """It is gone."""
    return _work(account, "outgoing = outgoing - %(amount)s")


@app.post("/accounts/<account>/debit/cancel")
def cancel_debit(account: str) -> Answer:
    """Give it back."""
    return _work(account, "outgoing = outgoing - %(amount)s, balance = balance + %(amount)s")


@app.post("/accounts/<account>/credit")
def try_credit(account: str) -> Answer:
    """Make sure that the account can be paid into; the money comes with the confirmation."""
    return _work(account, "incoming = incoming + %(amount)s")


@app.post("/accounts/<account>/credit/confirm")
def confirm_credit(account: str) -> Answer:
    """Pay it in."""
    return _work(account, "incoming = incoming - %(amount)s, balance = balance + %(amount)s")


@app.post("/accounts/<account>/credit/cancel")
def cancel_credit(account: str) -> Answer:
    """Nothing was paid in yet."""
    return _work(account, "incoming = incoming - %(amount)s")


def _work(account: str, change: str) -> Answer:
    """Change the account in one local transaction, which begins with the guarded statement."""
    statement = UPDATE.format(guard=_guard(), change=change)
    with closing(_connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(statement, {"account": account, "amount": _amount()})
        if cursor.rowcount != 1:
            return jsonify(message=f"there is no account {account}"), 409  # closing it rolls back
        connection.commit()
    return jsonify(done=True), 200


def _guard() -> str:
    """The header, which comes from outside and lands in SQL: whatever is no guard is refused."""
    guard = request.headers["globaltx-guard"]
    if GUARD.fullmatch(guard) is None:
        message = f"the header globaltx-guard holds no guard: {guard[:80]!r}"
        raise ValueError(message)
    return guard


def _amount() -> int:
    amount = request.get_json()["amount"]
    if not isinstance(amount, int) or isinstance(amount, bool) or not 0 < amount <= AMOUNT_MAX:
        message = f"amount must be a whole number from 1 to {AMOUNT_MAX}"
        raise ValueError(message)
    return amount


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


@app.errorhandler(KeyError)
@app.errorhandler(ValueError)
def bad_request(error: Exception) -> Answer:
    return jsonify(message=f"bad request: {error!r}"), 400


@app.errorhandler(mysql.connector.Error)
def refused(error: mysql.connector.Error) -> Answer:
    """The account does not hold so much; else the guard has spoken, or the database is away."""
    return jsonify(message=str(error)), 409 if error.errno in CHECK_VIOLATED else 503


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, host="0.0.0.0", port=PORT, threads=8)  # noqa: S104  the pod's address
