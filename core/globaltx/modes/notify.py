"""Best-effort notification: a URL is told the outcome, a fixed number of times, then given up in plain sight.

Nothing depends on it: a notification is a branch that is made *after* the outcome was taken, it ends
as the outcome says whether it was delivered or not, and its transaction ends without it. What it
promises is *at least once, or visibly given up*: an attempt that was not answered with 2xx is written down
with its number, so that whoever takes over goes on from there, and the last one with the end.

Each attempt is signed as Standard Webhooks says (https://www.standardwebhooks.com): HMAC-SHA256, with a key
that the receiver knows, over id, time of the attempt and the very bytes of the body. The id is the same
in all attempts, the time is each attempt's own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import TYPE_CHECKING

from globaltx.transaction.model import Branch, BranchId, Mode, Settlement, shorten
from globaltx.transaction.notification import Notification
from globaltx.transaction.states import END_OF, UNDER_WAY, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, timedelta

    from globaltx.transaction.model import Decision, GlobalTransaction

NOTIFICATION_FAILED = "NotificationFailed"
NOTIFICATION_GIVEN_UP = "NotificationGivenUp"
NOTIFIED = "Notified"

ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER = "webhook-id", "webhook-timestamp", "webhook-signature"
TYPE = "globaltx.outcome"
KEY_PREFIX = "whsec_"
KEY_BYTES_MIN, KEY_BYTES_MAX = 24, 64
_RESOURCE_PREFIX = "notify:"
"""No datasource and no route has a colon in its name."""


class InvalidKeyError(ValueError):
    """The text is no key to sign with; the message does not show it."""


def branches(transaction: GlobalTransaction, decision: Decision, at: datetime) -> Iterator[Branch]:
    """Name the notifications that an outcome asks for; ``at`` is when it was taken, if it does not say."""
    for each in transaction.notify:
        if decision.outcome in each.outcomes:
            yield Branch(
                BranchId(transaction.xid, transaction.initiator, resource_of(each.name)),
                Mode.NOTIFY,
                decision.outcome,
                notification=Notification(
                    each.url,
                    each.pauses,
                    each.timeout,
                    decision.reason,
                    decision.at or at,
                    transaction.policy,
                ),
            )


def resource_of(name: str) -> str:
    """The resource of the branch of a notification."""
    return _RESOURCE_PREFIX + name


def name_of(branch: BranchId) -> str:
    """The name of a branch's notification."""
    return branch.resource.removeprefix(_RESOURCE_PREFIX)


def pause_after(notification: Notification, attempts: int) -> timedelta | None:
    """How long to wait after so many attempts; None when there are no more."""
    return notification.pauses[attempts - 1] if attempts < notification.attempts_max else None


def failed(branch: Branch, attempts: int, problem: str) -> Settlement:
    """What is written down after an attempt that was not delivered: it goes on, or is given up."""
    notification, outcome = _told(branch)
    pause = pause_after(notification, attempts)
    count = f"attempt {attempts} of {notification.attempts_max}"
    if pause is None:
        message = shorten(f"given up after {count}: {problem}")
        return Settlement(END_OF[outcome], NOTIFICATION_GIVEN_UP, message, attempts=attempts)
    message = shorten(f"{count}, the next in {pause.total_seconds():g} s: {problem}")
    return Settlement(UNDER_WAY[outcome], NOTIFICATION_FAILED, message, attempts=attempts)


def delivered(branch: Branch, attempts: int, status: int) -> Settlement:
    """What is written down when it was delivered."""
    _, outcome = _told(branch)
    return Settlement(END_OF[outcome], NOTIFIED, f"answered with status {status}", attempts=attempts)


def overdue(branch: Branch) -> Settlement:
    """What is written down when nobody has sent it in all the time that the attempts take."""
    _, outcome = _told(branch)
    message = (
        f"given up after {branch.attempts} attempts: the sidecars of {branch.id.app} did not end it in time; "
        "is one running, made under a policy with notify?"
    )
    return Settlement(END_OF[outcome], NOTIFICATION_GIVEN_UP, message, attempts=branch.attempts)


def is_delivered(status: int) -> bool:
    """Whether the status of an answer means that the receiver has it; a redirect does not."""
    return 200 <= status <= 299  # noqa: PLR2004


def message_id(branch: Branch) -> str:
    """What all attempts of a notification have in common, and no other has."""
    notification, _ = _told(branch)
    said = f"{branch.id.xid}\0{branch.id.resource}\0{notification.decided_at.isoformat()}"
    return f"msg_{hashlib.sha256(said.encode()).hexdigest()[:32]}"


def body(branch: Branch) -> bytes:
    """The bytes that are sent and signed; the same in each attempt."""
    notification, outcome = _told(branch)
    told = {
        "type": TYPE,
        "timestamp": notification.decided_at.isoformat(),
        "data": {
            "xid": str(branch.id.xid),
            "outcome": str(outcome),
            "reason": notification.reason,
            "initiator": branch.id.app,
            "policy": notification.policy,
            "notification": name_of(branch.id),
        },
    }
    return json.dumps(told, separators=(",", ":")).encode()


def read_key(text: str) -> bytes:
    """Read a key as the Secret has it: ``whsec_`` and 24 to 64 bytes in base64.

    Raises:
        InvalidKeyError: it is none.
    """
    told = text.strip()
    try:
        key = base64.b64decode(told.removeprefix(KEY_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not told.startswith(KEY_PREFIX) or not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        message = f"the key is not {KEY_PREFIX} and {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes in base64"
        raise InvalidKeyError(message)
    return key


def signature(keys: Iterable[bytes], id_: str, timestamp: int, content: bytes) -> str:
    """Sign with each key: a receiver needs one of them. ``timestamp`` is in seconds since 1970."""
    signed = f"{id_}.{timestamp}.".encode() + content
    made = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return " ".join(f"v1,{each}" for each in made)


def _told(branch: Branch) -> tuple[Notification, Outcome]:
    if branch.notification is None or branch.outcome is None:  # a bug: whoever asks has looked
        message = f"{branch.id.name} is no notification of an outcome"
        raise RuntimeError(message)
    return branch.notification, branch.outcome
