"""What is asked of the local API and what its answers mean, without IO."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json = dict[str, Any]

DEFAULT_URL = "http://127.0.0.1:15001"
URL_VARIABLE = "GLOBALTX_URL"
DEFAULT_TIMEOUT_SECONDS = 60
ANSWER_SECONDS = 30.0
"""How long an answer of the sidecar is waited for; it insists on its store for 10 s itself."""


class GlobaltxError(Exception):
    """Base of what the clients raise."""


class RefusedError(GlobaltxError):
    """The sidecar answered that it was not done; ``reason`` is a word of docs/resources.md.

    ``outcome`` is the transaction's where it is known: a commit that comes after the deadline is
    refused with the outcome Rollback.
    """

    def __init__(self, reason: str, message: str, outcome: str | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.outcome = outcome


class OutcomeUnknownError(GlobaltxError):
    """There was no answer, or the store gave the sidecar none: it may or may not be done. Ask `status`."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction that has begun."""

    xid: str

    @property
    def headers(self) -> dict[str, str]:
        """What a request to a participant carries."""
        return {"globaltx-xid": self.xid}


@dataclass(frozen=True, slots=True)
class Notify:
    """Who is told the outcome by a signed POST, best effort (docs/notify.md).

    ``name`` is unique in the transaction, ``url`` is one that the policy's notify.egress allows. What is None
    is as the sidecar has it: both outcomes, five attempts within 13 minutes, 5 s for each.
    """

    name: str
    url: str
    outcomes: Sequence[Literal["Commit", "Rollback"]] | None = None
    retry_after_seconds: Sequence[int] | None = None
    timeout_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch that was joined; confirm and cancel carry its name in ``globaltx-branch``."""

    name: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class Status:
    """How a transaction stands; ``outcome`` is None while it is undecided."""

    xid: str
    state: str
    outcome: Literal["Commit", "Rollback"] | None
    reason: str
    message: str
    branches: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of the local API."""

    method: str
    path: str
    body: Json | None = None

    @property
    def text(self) -> bytes | None:
        """The body as bytes."""
        return None if self.body is None else json.dumps(self.body).encode()


def begin(timeout_seconds: int, mode: str, notify: Sequence[Notify] = ()) -> Ask:
    """Ask for a transaction."""
    asked: Json = {"timeoutSeconds": timeout_seconds, "mode": mode}
    if notify:
        asked["notify"] = [_wish(each) for each in notify]
    return Ask("POST", "/v1/transactions", asked)


def _wish(notify: Notify) -> Json:
    return {
        "name": notify.name,
        "url": notify.url,
        "outcomes": None if notify.outcomes is None else list(notify.outcomes),
        "retryAfterSeconds": None if notify.retry_after_seconds is None else list(notify.retry_after_seconds),
        "timeoutSeconds": notify.timeout_seconds,
    }


def status(xid: str) -> Ask:
    """Ask how a transaction stands."""
    return Ask("GET", f"/v1/transactions/{quote(xid, safe='')}")


def decide(xid: str, word: Literal["commit", "rollback"], message: str) -> Ask:
    """Ask for an outcome."""
    return Ask("POST", f"/v1/transactions/{quote(xid, safe='')}/{word}", {"message": message[:1024]})


def join(
    xid: str,
    name: str,
    confirm: str,
    cancel: str,
    *,
    key: str = "",
    body: str = "",
    headers: Mapping[str, str],
) -> Ask:
    """Ask for a branch of TCC."""
    asked = {"name": name, "key": key, "confirm": confirm, "cancel": cancel}
    return Ask("POST", _branches(xid), asked | {"request": _request(body, headers)})


def step(
    xid: str,
    name: str,
    compensate: str,
    *,
    depends_on: Sequence[str],
    key: str = "",
    body: str = "",
    headers: Mapping[str, str],
) -> Ask:
    """Ask for a step of a saga."""
    asked: Json = {"name": name, "key": key, "compensate": compensate}
    if depends_on:
        asked |= {"order": "Dependencies", "dependsOn": list(depends_on)}
    return Ask("POST", _branches(xid), asked | {"request": _request(body, headers)})


def completed(xid: str, branch: str) -> Ask:
    """Tell that a step was done."""
    return Ask("POST", f"{_branches(xid)}/{quote(branch, safe='')}/completed", {})


def _branches(xid: str) -> str:
    return f"/v1/transactions/{quote(xid, safe='')}/branches"


def _request(body: str, headers: Mapping[str, str]) -> Json:
    return {
        "body": body,
        "headers": [{"name": header, "value": value} for header, value in headers.items()],
    }


def answered(code: int, text: bytes) -> Json:
    """Read an answer.

    Raises:
        RefusedError: it says that it was not done.
        OutcomeUnknownError: it says that nobody knows, or is not the sidecar's.
    """
    try:
        body = json.loads(text)
    except ValueError as error:
        message = f"the answer with status {code} is not the sidecar's: {text[:200]!r}"
        raise OutcomeUnknownError(message) from error
    if code < 400 and isinstance(body, dict):  # noqa: PLR2004  statuses from 400 on are errors
        return body
    found = body if isinstance(body, dict) else {}
    reason, message = str(found.get("reason", "")), str(found.get("message", text[:200]))
    if code >= 500 or not reason:  # noqa: PLR2004  and from 500 on not the caller's
        unknown = f"{reason}: {message}"
        raise OutcomeUnknownError(unknown)
    raise RefusedError(reason, message, found.get("outcome"))


def read_status(body: Json) -> Status:
    """Read the answer to `status`."""
    return Status(
        xid=body["xid"],
        state=body["state"],
        outcome=body["outcome"],
        reason=body["reason"],
        message=body["message"],
        branches=tuple(body["branches"]),
    )
