"""The order sample as it runs in a cluster: its requests, its transactions, its pods."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dev.errors import ToolError
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.kubectl import Kubectl
    from dev.demo.rows import Database

AGGREGATION_PORT = 13000
ANSWER_SECONDS = 90
SETTLE_SECONDS = 120
SHOW_SECONDS = 20
ENDS = frozenset({"Committed", "RolledBack", "Conflict"})


@dataclass(frozen=True)
class Answer:
    """What the client got."""

    status: int
    body: str


@dataclass(frozen=True)
class Shop:
    """The sample in one namespace."""

    kubectl: Kubectl
    namespace: str
    database: Database

    def post(self, path: str) -> Answer:
        """Send a request as a client does: to the Service of aggregation, so to its sidecar."""
        with self._connected() as connection:
            connection.request("POST", path, headers={"Content-Length": "0"})
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace").strip())

    @contextmanager
    def posting(self, path: str) -> Iterator[PendingAnswer]:
        """Send a request whose answer is awaited later."""
        pending = PendingAnswer(self, path)
        pending.start()
        try:
            yield pending
        finally:
            pending.join(ANSWER_SECONDS)

    def transactions(self) -> dict[str, dict[str, Any]]:
        """All GlobalTransactions of the namespace by name."""
        items = self.kubectl.json("-n", self.namespace, "globaltransactions")["items"]
        return {each["metadata"]["name"]: each for each in items}

    def new_transaction(self, before: set[str]) -> str:
        """The one transaction that was not there before; one in an etcd is shown a moment later."""
        new = wait_for(
            "a new global transaction", lambda: set(self.transactions()) - before, seconds=SHOW_SECONDS
        )
        if len(new) != 1:
            message = f"one request should begin one global transaction, it began {sorted(new)}"
            raise ToolError(message)
        return new.pop()

    def settled(self, name: str, *, seconds: float = SETTLE_SECONDS) -> str:
        """Wait until a transaction has ended, and say how."""
        return wait_for(
            f"globaltx/{name} to settle",
            lambda: _end(self.kubectl.json("-n", self.namespace, f"globaltransaction/{name}")),
            seconds=seconds,
            every=0.2,
        )

    def quiet(self) -> None:
        """Wait until no transaction of an earlier run is under way."""
        wait_for(
            "transactions of an earlier run to settle",
            lambda: all(_end(each) for each in self.transactions().values()),
            seconds=SETTLE_SECONDS,
            every=0.5,
        )

    def pod(self, app: str) -> str:
        """The name of the one pod of an app that is not about to go."""
        pods = self.kubectl.json("-n", self.namespace, "pods", "-l", f"app.kubernetes.io/name={app}")["items"]
        names = [each["metadata"]["name"] for each in pods if "deletionTimestamp" not in each["metadata"]]
        if len(names) != 1:
            message = f"expected one pod of {app}, found {names}"
            raise ToolError(message)
        return str(names[0])

    def kill(self, pod: str) -> None:
        """Take a pod away without asking it."""
        self.kubectl("-n", self.namespace, "delete", "pod", pod, "--grace-period=0", "--force", timeout=60)

    @contextmanager
    def _connected(self) -> Iterator[http.client.HTTPConnection]:
        with self.kubectl.forwarded(self.namespace, "service/aggregation-svc", AGGREGATION_PORT) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
            try:
                yield connection
            except (OSError, http.client.HTTPException) as error:
                message = f"aggregation-svc gave no answer: {error!r}"
                raise ToolError(message) from error
            finally:
                connection.close()


class PendingAnswer(threading.Thread):
    """A request under way."""

    def __init__(self, shop: Shop, path: str) -> None:
        super().__init__(daemon=True)
        self._shop = shop
        self._path = path
        self._answer: Answer | ToolError | None = None

    def run(self) -> None:
        """Send it and keep the answer."""
        try:
            self._answer = self._shop.post(self._path)
        except ToolError as error:
            self._answer = error

    def answer(self) -> Answer:
        """Wait for the answer."""
        self.join(ANSWER_SECONDS)
        if isinstance(self._answer, Answer):
            return self._answer
        raise self._answer or ToolError(f"{self._path} was not answered within {ANSWER_SECONDS} s")

    def early(self) -> Answer | None:
        """The answer, if it is there already."""
        return None if self.is_alive() else self.answer()


def _end(transaction: dict[str, Any]) -> str | None:
    state = (transaction.get("status") or {}).get("state")
    return state if state in ENDS else None


def shown(answer: Answer) -> str:
    """The answer's sentence, for a person."""
    try:
        return str(json.loads(answer.body)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.body
