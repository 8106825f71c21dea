"""The clients: send requests until the time is over, and keep what they were told."""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import pymysql

from tests.chaos.bank import APP
from tests.chaos.plans import BANKS, draw
from tests.ports import LOOPBACK

if TYPE_CHECKING:
    from tests.chaos.bank import Bank

SECONDS = 40.0
PLAIN_EVERY = 0.02


class Clients:
    """So many clients at once; ``answers`` holds the status by the request's number, 0 for none."""

    def __init__(self, bank: Bank, seed: int, clients: int) -> None:
        self.bank = bank
        self.seed = seed
        self.answers: dict[int, int] = {}
        self.plain: dict[str, tuple[int, int]] = {}
        """For each bank how many plain statements were answered, and how many more may have run."""
        self._numbers = count(1)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._go_on) for _ in range(clients)]
        self._threads += [threading.Thread(target=self._count, args=(name,)) for name in BANKS]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self) -> None:
        while not self._over.is_set():
            number = next(self._numbers)
            self.answers[number] = self._ask(number)
            if not self.answers[number]:
                self._over.wait(0.2)

    def _ask(self, number: int) -> int:
        hang_up_after = draw(self.seed, number).hang_up_after
        url = urlsplit(self.bank.url)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=SECONDS)
        try:
            connection.connect()
            connection.request("POST", url.path, body=str(number))
            if hang_up_after is not None:
                connection.sock.settimeout(hang_up_after)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def _count(self, bank: str) -> None:
        """Plain statements, without an xid, through the same sidecars."""
        done = unknown = 0
        connection = None
        while not self._over.wait(PLAIN_EVERY):
            try:
                if connection is None:
                    connection = self._connect(bank)
                with connection.cursor() as cursor:
                    unknown += 1
                    cursor.execute("UPDATE plain SET count = count + 1 WHERE id = 1")
                    done, unknown = done + 1, unknown - 1
            except (pymysql.Error, OSError):
                if connection is not None:
                    with suppress(pymysql.Error):
                        connection.close()
                connection = None
        if connection is not None:
            connection.close()
        self.plain[bank] = (done, unknown)

    def _connect(self, bank: str) -> pymysql.Connection:
        return pymysql.connect(
            host=LOOPBACK,
            port=self.bank.port_of(f"{bank}-0"),
            user=APP.user,
            password=APP.password,
            database=bank,
            autocommit=True,
            connect_timeout=5,
            read_timeout=15,
        )


def wait(seconds: float) -> None:
    """Let the time of a run pass."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))
