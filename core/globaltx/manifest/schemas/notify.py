"""The schema of notifications: who wants to be told an outcome, where that may be, and how it went."""

from __future__ import annotations

from globaltx.coordinator.conditions import NotificationState
from globaltx.manifest.schemas.egress import egress
from globaltx.manifest.schemas.fields import (
    DNS_LABEL,
    DNS_NAME,
    Schema,
    choice,
    fields,
    moment,
    rule,
    several,
    text,
    whole,
)
from globaltx.transaction.declared import URL_LENGTH_MAX
from globaltx.transaction.model import MESSAGE_LENGTH_MAX
from globaltx.transaction.notification import (
    DEFAULT_NOTIFY_TIMEOUT,
    DEFAULT_PAUSES,
    NOTIFY_MAX,
    NOTIFY_NAME_LENGTH_MAX,
    NOTIFY_SECONDS_MAX,
    PAUSE_SECONDS_MAX,
    PAUSES_MAX,
)
from globaltx.transaction.states import Outcome

URL = r"^https?://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[!$->@-z|~]*)?(\?[!$-z|~]*)?$"
"""Of ASCII, as RFC 3986 has it, with no class (of white space) that dialects read differently; no braces."""


def notify(description: str) -> Schema:
    """The wishes of a transaction."""
    return several(
        description,
        _wish(),
        NOTIFY_MAX,
        **{
            "x-kubernetes-validations": [
                rule(
                    "self.all(a, self.exists_one(b, a.name == b.name))",
                    "each notification needs a name of its own; rename one of those that share it",
                )
            ]
        },
    )


def _wish() -> Schema:
    return fields(
        "Somebody who is told the outcome by a signed POST: best effort, nothing waits for it.",
        {
            "name": text(
                "Its name, unique in the transaction.", NOTIFY_NAME_LENGTH_MAX, minLength=1, pattern=DNS_LABEL
            ),
            "url": _url(),
            "outcomes": several(
                "The outcomes that are told.",
                choice("An outcome.", Outcome),
                len(Outcome),
                default=[str(each) for each in Outcome],
                minItems=1,
                **{"x-kubernetes-list-type": "set"},
            ),
            "retryAfterSeconds": _pauses(default=[int(each.total_seconds()) for each in DEFAULT_PAUSES]),
            "timeoutSeconds": _timeout(default=int(DEFAULT_NOTIFY_TIMEOUT.total_seconds())),
        },
        required=["name", "url"],
    )


def _url() -> Schema:
    return text(
        "http(s)://host[:port]/path; the policy's notify.egress must allow it.",
        URL_LENGTH_MAX,
        minLength=1,
        pattern=URL,
    )


def _pauses(**more: object) -> Schema:
    return several(
        "The pauses between attempts: one attempt more than there are pauses, then it is given up.",
        whole("A pause.", 1, PAUSE_SECONDS_MAX),
        PAUSES_MAX,
        **more,
    )


def _timeout(**more: object) -> Schema:
    return whole("How long one attempt may take.", 1, NOTIFY_SECONDS_MAX, **more)


def notifying() -> Schema:
    """What a policy says of notifications."""
    return fields(
        "Lets the pods tell outcomes of transactions that they have begun to those who want to be told.",
        {
            "secretName": text(
                "The Secret whose key `key` (whsec_ and base64) they are signed with, and with "
                "`previous-key` beside it while the key is being changed.",
                253,
                minLength=1,
                pattern=DNS_NAME,
            ),
            "egress": egress("Where outcomes may be told; nowhere else."),
        },
        required=["secretName", "egress"],
    )


def notification() -> Schema:
    """The notification that a Branch is."""
    return fields(
        "Whom the app's sidecar tells the outcome; such a branch changes nothing, and nothing waits for it.",
        {
            "url": _url(),
            "retryAfterSeconds": _pauses(),
            "timeoutSeconds": _timeout(),
            "reason": text("Why the outcome was taken, as one word.", 63),
            "decidedAt": moment("When the outcome was taken."),
            "policy": text("The policy by which the transaction began.", 253),
        },
        required=["url", "retryAfterSeconds", "timeoutSeconds", "reason", "decidedAt"],
    )


def notifications_status() -> Schema:
    """How the notifications stand, at the transaction."""
    entry = fields(
        "A notification.",
        {
            "name": text("Its name.", NOTIFY_NAME_LENGTH_MAX),
            "state": choice("How it stands.", NotificationState),
            "attempts": whole("How many attempts there were.", 0, PAUSES_MAX + 1),
            "problem": text("Why the last one failed.", MESSAGE_LENGTH_MAX),
        },
        required=["name", "state"],
    )
    return several(
        "How the notifications that the outcome asks for stand.",
        entry,
        NOTIFY_MAX,
        **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )


def attempts_status() -> Schema:
    """How many attempts a Branch tells of."""
    return whole("Of a notification: how many attempts there were.", 0, PAUSES_MAX + 1)
