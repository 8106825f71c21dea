"""An outcome is told, signed, to a receiver in real pods on a real kubelet: that of the docs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.test_notify import write_receiver
from tests.e2e.banks import FOLDER, Banks
from tests.e2e.sample import deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.places import Place

PROGRAM = """
import json, urllib.request

def ask(path, **body):
    url = f"http://127.0.0.1:15001/v1/transactions{path}"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=30) as answer:
        return json.load(answer)

xid = ask("", notify=[{"name": "worker", "url": "http://desk.NAMESPACE.svc:3000/outcomes"}])["xid"]
ask(f"/{xid}/commit")
print(xid.partition(".")[2])
"""
"""One that no request starts, in the pod of the transfer service."""
HERE = Path(__file__).parent / "told"


class Told(Banks):
    """The banks, and a desk that is told of each transfer."""

    def delivered(self, name: str) -> dict[str, Any]:
        """Wait until all were told of a transaction; what the first of them came to know."""
        named = f"globaltx/{name}"
        self.sample.kubectl(
            *("-n", self.sample.namespace, "wait", "--for=condition=Notified", named, "--timeout=60s"),
            timeout=70,
        )
        (found,) = (each for each in self._told() if each["xid"] == f"{self.sample.namespace}.{name}")
        return found

    def run(self, program: str) -> str:
        """Run a program in the pod of the transfer service, and give what it says."""
        program = program.replace("NAMESPACE", self.sample.namespace)
        pod = ("-n", self.sample.namespace, "exec", "deployment/transfer", "-c", "transfer")
        return self.sample.kubectl(*pod, "--", "python3", "-c", program).strip()

    def notifications(self, name: str) -> Any:
        transaction = self.sample.kubectl.json("-n", self.sample.namespace, "globaltransaction", name)
        return transaction["status"]["notifications"]

    def _told(self) -> list[dict[str, Any]]:
        said = self.sample.kubectl("-n", self.sample.namespace, "logs", "deployment/desk").splitlines()
        return [json.loads(line) for line in said if line.startswith("{")]


@pytest.fixture(scope="module")
def told(place: Place, shop_namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    services = tmp_path_factory.mktemp("desk") / "services"
    services.mkdir()
    write_receiver(services)
    others = (FOLDER, services.parent)
    with deployed(place, HERE, "banks", others=others, databases=shop_namespace) as sample:
        yield Told(sample)


@pytest.mark.parametrize(
    ("query", "status", "outcome", "reason"),
    [("", 200, "Commit", "RequestSucceeded"), ("?fail", 409, "Rollback", "RequestFailed")],
)
def test_the_outcome_of_a_transfer_is_told_once_and_believed(
    told: Told, query: str, status: int, outcome: str, reason: str
) -> None:
    """The receiver refuses what is not signed with its key; the first attempt was not refused."""
    answered, name, _ = told.transfer(1, query)
    assert answered == status, told.said
    assert told.delivered(name) == {
        "xid": f"{told.sample.namespace}.{name}",
        "outcome": outcome,
        "reason": reason,
        "initiator": "transfer",
        "policy": "transfer",
        "notification": "desk",
    }
    assert told.notifications(name) == [{"name": "desk", "state": "Delivered", "attempts": 1}]


def test_the_outcome_of_a_program_s_transaction_is_told(told: Told) -> None:
    name = told.run(PROGRAM)
    found = told.delivered(name)
    assert (found["notification"], found["reason"]) == ("worker", "DecidedByApplication")


def test_what_nobody_signed_is_refused(told: Told) -> None:
    assert told.sample.status("desk", "POST", "/outcomes", {"data": {"xid": "banks.made-up"}}) == 401
