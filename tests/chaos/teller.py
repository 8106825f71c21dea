"""The application: takes a request, does its legs in the banks, answers. It is not ours to trust.

It is written as applications are: it keeps connections, tries again after errors that say so,
gives up on others, and now and then answers before its work is done.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import mysql.connector
import pymysql
from pymysql.constants import COMMAND

from tests.chaos.bank import APP, REPLICAS
from tests.chaos.plans import Drop, Ending, Leg, Style, draw
from tests.ports import LOOPBACK

if TYPE_CHECKING:
    from tests.chaos.bank import Bank
    from tests.chaos.plans import Plan

FAILED, GAVE_UP = 409, 418
"""Statuses that only the application gives."""
PAUSE_SECONDS = 0.1
"""Before the second attempt; each later one comes after a longer pause."""
DUPLICATE = 1062
SECONDS = 12.0
ERRORS = (pymysql.Error, mysql.connector.Error, OSError, EOFError)


@dataclass(slots=True)
class Told:
    """What the application knows of one request."""

    plan: Plan
    xid: str
    began: float
    steps: list[str] = field(default_factory=list)
    status: int = 0


class Teller:
    """A server in threads of this process; ``told`` holds what it did, by the request's number."""

    def __init__(self, bank: Bank, seed: int) -> None:
        self.bank = bank
        self.seed = seed
        self.told: dict[int, Told] = {}
        self._chance = random.Random(f"teller/{seed}")  # noqa: S311  to be repeated
        self._idle: dict[tuple[str, bool], list[Any]] = {}
        self._lock = threading.Lock()
        self._late: list[threading.Thread] = []
        self._server = _Server((LOOPBACK, bank.teller_port), _Handler)
        self._server.teller = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for late in self._late:
            late.join()

    def serve(self, number: int, xid: str) -> int | None:
        """Do a request's work; the status to answer, None to break the connection."""
        plan = draw(self.seed, number)
        told = self.told[number] = Told(plan, xid, time.monotonic())
        for leg in plan.legs:
            if not self._insist(told, leg):
                told.status = GAVE_UP
                return GAVE_UP
        if plan.late is not None:
            late = threading.Thread(target=self._insist, args=(told, plan.late))
            self._late.append(late)
            late.start()
        told.status = {Ending.FAIL: FAILED, Ending.BREAK: 0}.get(plan.ending, 200)
        return told.status or None

    def _insist(self, told: Told, leg: Leg) -> bool:
        """Try a leg as often as it says, after errors that say that nothing stays."""
        for number in range(leg.tries):
            time.sleep(number * PAUSE_SECONDS)
            done = self._attempt(told, leg, leg.drop if number == 0 else Drop.NOT)
            if done is not None:
                return done
        return False

    def _attempt(self, told: Told, leg: Leg, drop: Drop) -> bool | None:
        """True: done. False: failed. None: it may be tried again."""
        connection: Any = None
        try:
            connection = self._borrow(leg)
            _do(connection, told, leg)
            _end(connection, leg, drop)
        except ERRORS as error:
            code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
            told.steps.append(f"{leg.name}: {str(error)[:160]}")
            if connection is not None:
                with suppress(*ERRORS):
                    connection.close()
            if leg.style is Style.AUTOCOMMIT:
                return False  # a part of it may have happened
            if code == DUPLICATE:
                told.steps.append(f"{leg.name}: was committed by an earlier attempt")
                return True
            return None  # what is done twice meets its own entry
        told.steps.append(f"{leg.name}: committed")
        self._give_back(leg, connection)
        return True

    def _borrow(self, leg: Leg) -> Any:
        with self._lock:
            pod = f"{leg.bank}-{self._chance.randrange(REPLICAS[leg.bank])}"
            fresh = self._chance.random() < 0.2
            idle = self._idle.setdefault((leg.bank, leg.style is Style.PREPARED), [])
            if idle and not fresh:
                return idle.pop()
        where: dict[str, Any] = {
            "host": LOOPBACK,
            "port": self.bank.port_of(pod),
            "database": leg.bank,
            "user": APP.user,
            "password": APP.password,
            "autocommit": True,
        }
        if leg.style is Style.PREPARED:
            return mysql.connector.connect(
                **where, use_pure=True, connection_timeout=SECONDS, ssl_disabled=True
            )
        return pymysql.connect(**where, connect_timeout=5, read_timeout=SECONDS, write_timeout=SECONDS)

    def _give_back(self, leg: Leg, connection: Any) -> None:
        with self._lock:
            self._idle.setdefault((leg.bank, leg.style is Style.PREPARED), []).append(connection)


def _do(connection: Any, told: Told, leg: Leg) -> None:
    """Run one attempt of a leg up to its end."""
    prepared = leg.style is Style.PREPARED
    cursor = connection.cursor(prepared=True) if prepared else connection.cursor()
    plain = connection.cursor() if prepared else cursor
    hint = f"/*+ XID('{told.xid}') */"
    if leg.style in {Style.LOCAL, Style.PREPARED}:
        plain.execute("BEGIN")
    elif leg.style is Style.IMPLICIT:
        plain.execute("SET autocommit = 0")
    for part, move in enumerate(leg.moves):
        cursor.execute(
            f"INSERT {hint} INTO entry (request, leg, part, account, amount) VALUES (%s, %s, %s, %s, %s)",
            (told.plan.number, leg.name, part, move.account, move.amount),
        )
        if leg.detour and leg.style is not Style.AUTOCOMMIT:
            plain.execute("SAVEPOINT detour")
            cursor.execute(f"UPDATE {hint} account SET balance = balance + 7 WHERE id = %s", (move.account,))
            plain.execute("ROLLBACK TO detour")
        cursor.execute(
            f"UPDATE {hint} account SET balance = balance + %s WHERE id = %s", (move.amount, move.account)
        )
    if leg.order:
        _order(cursor, told, leg, hint)


def _end(connection: Any, leg: Leg, drop: Drop) -> None:
    """Commit, if that is to be done, or let the connection go instead."""
    last = "SELECT 1" if leg.style is Style.AUTOCOMMIT else "COMMIT"
    if drop is Drop.WITH:
        connection._execute_command(COMMAND.COM_QUERY, last)
    if drop is not Drop.NOT:
        connection._force_close()
        message = f"the application let go {drop}"
        raise ConnectionError(message)
    cursor = connection.cursor()
    cursor.execute(last)
    if leg.style is Style.AUTOCOMMIT:
        cursor.fetchall()
    if leg.style is Style.IMPLICIT:
        cursor.execute("SET autocommit = 1")


def _order(cursor: Any, told: Told, leg: Leg, hint: str) -> None:
    """An order and its draft: insert both, change one, delete the other."""
    ids = []
    for state in ("new", "draft"):
        cursor.execute(
            f"INSERT {hint} INTO orders (request, leg, state, note) VALUES (%s, %s, %s, %s)",
            (told.plan.number, leg.name, state, 'it\'s; a "note" with \\ and ü'),
        )
        ids.append(cursor.lastrowid)
    cursor.execute(f"UPDATE {hint} orders SET state = %s WHERE id = %s", ("paid", ids[0]))
    cursor.execute(f"DELETE {hint} FROM orders WHERE id = %s", (ids[1],))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    teller: Teller

    def handle_error(self, *_: object) -> None:
        """A connection that broke is nothing to be told."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        number = int(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.teller.serve(number, self.headers["globaltx-xid"])
        if status is None:
            self.close_connection = True
            return
        self._answer(status)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""
