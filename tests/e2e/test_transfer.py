"""A transfer between two banks (TCC), in real pods on a real kubelet.

The programs are those of the example, from a ConfigMap, in the order sample's image: it has all that they
need, and is there already.
"""

from __future__ import annotations

import http.client
import json
import secrets
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dev.demo import manifests
from dev.demo.rollout import rolled_out
from dev.demo.shop import ENDS
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.kubectl import Kubectl
    from dev.demo.places import Place

SAMPLE = Path(__file__).parents[2] / "examples" / "02-tcc-transfer"
PORT = 3000
SECONDS = 60


class Banks:
    """The example in one namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self.kubectl, self.namespace = kubectl, namespace

    def ask(self, service: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with (
            self.kubectl.forwarded(self.namespace, f"service/{service}", PORT) as port,
            closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection,
        ):
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def transfer(self, amount: int, query: str = "") -> tuple[int, str]:
        """Transfer from account 1 to account 2 of the banks; the status, and how it ended."""
        known = set(self._transactions())
        asked = {"debit": "1", "credit": "2", "amount": amount}
        status, _ = self.ask("transfer", "POST", f"/transfer{query}", asked)
        wait_for("the transfer to be settled", lambda: self._ended(known), seconds=SECONDS, every=0.2)
        (state,) = (state for name, state in self._transactions().items() if name not in known)
        return status, state

    def balances(self) -> tuple[int, int]:
        a, b = (self.ask(bank, "GET", "/accounts")[1]["balances"] for bank in ("bank-a", "bank-b"))
        return a["1"], b["2"]

    def _transactions(self) -> dict[str, str]:
        items = self.kubectl.json("-n", self.namespace, "globaltransactions")["items"]
        return {each["metadata"]["name"]: each["status"]["state"] for each in items}

    def _ended(self, known: set[str]) -> bool:
        new = [state for name, state in self._transactions().items() if name not in known]
        return len(new) == 1 and new[0] in ENDS


@pytest.fixture(scope="module")
def banks(place: Place) -> Iterator[Banks]:
    namespace, kubectl = f"banks-{secrets.token_hex(3)}", place.kubectl
    text = kubectl.kustomize(SAMPLE / "manifests").replace("namespace: banks\n", f"namespace: {namespace}\n")
    parts = manifests.documents(text.replace("name: banks\n", f"name: {namespace}\n"))
    late = [each for each in parts if each["kind"] == "Deployment"]
    try:
        kubectl.apply(manifests.written([each for each in parts if each not in late]))
        files = [f"--from-file={each}" for each in sorted((SAMPLE / "services").glob("*.py"))]
        kubectl("-n", namespace, "create", "configmap", "services", *files)
        kubectl(
            *("-n", namespace, "wait", "--for=condition=Ready", "transactionpolicy", "--all"),
            "--timeout=60s",
            timeout=70,
        )
        kubectl.apply(manifests.written([_with_programs(each, place.images.sample) for each in late]))
        for each in late:
            rolled_out(kubectl, namespace, each["metadata"]["name"])
        yield Banks(kubectl, namespace)
    finally:
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def _with_programs(deployment: dict[str, Any], image: str) -> dict[str, Any]:
    pod = deployment["spec"]["template"]["spec"]
    pod.setdefault("volumes", []).append({"name": "services", "configMap": {"name": "services"}})
    (container,) = pod["containers"]
    container["image"] = image
    mount = {"name": "services", "mountPath": "/srv/services"}
    container.setdefault("volumeMounts", []).append(mount)
    return deployment


def test_a_transfer_is_confirmed_by_both_banks(banks: Banks) -> None:
    one, two = banks.balances()
    assert banks.transfer(30) == (200, "Committed")
    assert banks.balances() == (one - 30, two + 30)


def test_a_transfer_that_fails_at_last_is_cancelled_by_both_banks(banks: Banks) -> None:
    before = banks.balances()
    assert banks.transfer(10, "?fail") == (409, "RolledBack")
    assert banks.balances() == before


def test_a_transfer_of_too_much_moves_nothing(banks: Banks) -> None:
    before = banks.balances()
    assert banks.transfer(10**6) == (409, "RolledBack")
    assert banks.balances() == before


def test_an_xid_from_outside_is_not_believed(banks: Banks) -> None:
    """The transfer service is at the edge; the banks are not, and refuse what nobody knows."""
    status, body = banks.ask("bank-a", "POST", "/accounts/1/debit", {"amount": 1})
    assert (status, body["reason"]) == (400, "XidRequired")
