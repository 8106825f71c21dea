"""What `diagnose` tells, from resources as they are on the wire and what participants answer."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.manifest.settings import HttpSettings, SidecarSettings
from globaltx_cli.diagnose import Said, diagnose
from globaltx_cli.errors import CliError
from globaltx_cli.pods import Door, door_of

if TYPE_CHECKING:
    from collections.abc import Callable

TRANSACTION = {
    "metadata": {"namespace": "shop", "name": "01j"},
    "spec": {"outcome": "Commit"},
    "status": {"state": "Conflict", "message": "A person must decide."},
}
CALLS = {
    "onCommit": "/confirm",
    "onRollback": "",
    "timeoutSeconds": 1,
    "successStatuses": [200],
    "conflictAfterRefusals": 1,
    "guard": True,
    "request": {"method": "POST", "query": "a=1"},
    "reservation": {"seconds": 60, "marginSeconds": 10, "expiredStatuses": [410], "state": "/r/7/state"},
}


def branch(app: str, state: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"b-{app}"},
        "spec": {"app": app, "resource": "r.1", "mode": "TCD", **spec},
        "status": {"state": state, "reason": "Why", "message": "a sentence"},
    }


def pod(app: str, *, ready: bool = True, port: int = 15000) -> dict[str, Any]:
    settings = SidecarSettings("shop", app, http=HttpSettings(3000, (), port)).to_json()
    sidecar = {"name": "globaltx-sidecar", "env": [{"name": "GLOBALTX_SETTINGS", "value": settings}]}
    return {
        "metadata": {"name": f"{app}-1", "annotations": {"globaltx.io/inject": "true"}},
        "spec": {"initContainers": [sidecar]},
        "status": {"initContainerStatuses": [{"name": "globaltx-sidecar", "ready": ready}]},
    }


class Known:
    """A cluster that was read, and the answers of its pods."""

    def __init__(self, branches: list[dict[str, Any]], pods: list[dict[str, Any]]) -> None:
        self._branches, self._pods = branches, pods
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, int, str, dict[str, str]]] = []

    def transaction(self, _name: str) -> dict[str, Any]:
        return TRANSACTION

    def branches(self, _name: str) -> list[dict[str, Any]]:
        return self._branches

    def pods(self) -> list[dict[str, Any]]:
        return self._pods

    def ask_pod(self, name: str, port: int, path: str, headers: dict[str, str]) -> tuple[int, str]:
        self.asked.append((name, port, path, headers))
        if name not in self.answers:
            message = "the API server did not reach it"
            raise CliError(message)
        return self.answers[name]


def run(known: Known, output: str = "table") -> int:
    line = argparse.Namespace(xid="shop.01j", namespace=None, output=output)
    connect: Callable[[str | None], Any] = lambda _namespace: known  # noqa: E731
    return diagnose(line, connect)


def known() -> Known:
    """One whose reservation ran out, one that has confirmed, one of SQL."""
    made = Known(
        [
            branch("product", "Committed", calls=CALLS),
            branch("account", "Conflict", calls=CALLS),
            branch("stock", "Committed", mode="AT"),
        ],
        [pod("account"), pod("product", port=15009)],
    )
    made.answers = {"account-1": (200, '{"state": "CANCELLED"}'), "product-1": (200, "confirmed, it is")}
    return made


def test_every_participant_is_asked_and_told_beside_its_branch(capsys: pytest.CaptureFixture[str]) -> None:
    found = known()
    assert run(found) == 0
    assert capsys.readouterr().out == (
        "Transaction   shop.01j\n"
        "State         Conflict\n"
        "Outcome       Commit\n"
        "Message       A person must decide.\n"
        "\n"
        "APP       RESOURCE   MODE   STATE       SAYS                   MESSAGE\n"
        "account   r.1        TCD    Conflict    CANCELLED              a sentence\n"
        "product   r.1        TCD    Committed   200 confirmed, it is   a sentence\n"
        "stock     r.1        AT     Committed   -                      a sentence\n"
    )
    headers = {"globaltx-operation": "state"}
    assert found.asked == [
        ("account-1", 15000, "/r/7/state?a=1", {"globaltx-branch": "b-account", **headers}),
        ("product-1", 15009, "/r/7/state?a=1", {"globaltx-branch": "b-product", **headers}),
    ]


def test_a_notification_is_told_beside_the_branches(capsys: pytest.CaptureFixture[str]) -> None:
    given_up = branch("order", "Committed", resource="notify:billing", mode="Notify")
    given_up["status"]["message"] = "given up after attempt 5 of 5: answered with status 500"
    assert run(Known([given_up], [])) == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("order ")]
    assert line.split(maxsplit=5) == [
        *("order", "notify:billing", "Notify", "Committed", "-"),
        "given up after attempt 5 of 5: answered with status 500",
    ]


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(known(), "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["xid"], told["state"], told["outcome"]) == ("shop.01j", "Conflict", "Commit")
    assert [(each["app"], each["state"], each["reason"]) for each in told["branches"]] == [
        ("account", "Conflict", "Why"),
        ("product", "Committed", "Why"),
        ("stock", "Committed", "Why"),
    ]
    one, two, three = (each["participant"] for each in told["branches"])
    assert (one["state"], one["status"], two["state"], two["body"], three) == (
        *("CANCELLED", 200, "", "confirmed, it is"),
        None,
    )


def test_who_was_tried_by_grpc_is_asked_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    given = [{"name": "x-kept", "value": "a"}, {"name": "content-type", "value": "application/grpc+proto"}]
    calls = CALLS | {"request": {"method": "POST", "headers": given}}
    found = Known([branch("account", "Conflict", calls=calls)], [pod("account")])
    found.answers = {"account-1": (502, '{"grpcStatus": 5, "message": "no such hold"}')}
    assert run(found) == 0
    ((*_, headers),) = found.asked
    assert headers == {
        "Content-Type": "application/grpc+proto",
        "globaltx-branch": "b-account",
        "globaltx-operation": "state",
    }
    assert '502 {"grpcStatus": 5, "message": "no such hold"}' in capsys.readouterr().out


def test_who_cannot_be_asked_is_told_and_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    found = Known([branch("account", "Conflict", calls=CALLS), branch("gone", "Active", calls=CALLS)], [])
    found._pods = [pod("account")]
    assert run(found) == 1
    out = capsys.readouterr().out
    assert "(not asked: the API server did not reach it)" in out
    assert "(not asked: no pod of gone is ready)" in out


@pytest.mark.parametrize(
    ("body", "state"), [('{"state": "A"}', "A"), ('{"state": 1}', ""), ("[]", ""), ("x", ""), ("", "")]
)
def test_a_state_is_a_text_in_an_object(body: str, state: str) -> None:
    assert Said("p", 200, body).state == state


def test_the_door_of_an_app_is_a_pod_that_is_ready() -> None:
    assert door_of([pod("a", ready=False), pod("b", port=15009)], "b") == Door("b-1", 15009)
    assert door_of([pod("a", ready=False)], "a") is None
