"""What is sent, how it is signed, and when it is given up."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from globaltx.modes import notify
from globaltx.modes.notify import InvalidKeyError, read_key, signature
from globaltx.transaction.model import Branch, Decision, GlobalTransaction
from globaltx.transaction.notification import Notification, Notify
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PAUSES = (timedelta(seconds=5), timedelta(seconds=30))
COMMIT = Decision(Outcome.COMMIT, "RequestSucceeded", "a sentence", at=AT)
TRANSACTION = GlobalTransaction(
    Xid("shop", "1"), "order", timedelta(seconds=60), policy="p", notify=(Notify("billing", "http://b/"),)
)


def branch(transaction: GlobalTransaction = TRANSACTION, decision: Decision = COMMIT) -> Branch:
    (made,) = notify.branches(transaction, decision, AT)
    return made


def test_it_is_signed_as_standard_webhooks_says() -> None:
    """The published example: https://www.standardwebhooks.com."""
    content = b'{"test": 2432232314}'
    made = signature([read_key(KEY)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, content)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_key_signs_while_they_are_changed() -> None:
    old, new = read_key(KEY), b"n" * 24
    both = signature([new, old], "a", 1, b"x").split(" ")
    assert both == [signature([new], "a", 1, b"x"), signature([old], "a", 1, b"x")]
    assert both[0] != both[1]


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", f"{KEY}!", "whsec_" + "A" * 90],
)
def test_what_is_no_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidKeyError) as refused:
        read_key(text)
    assert len(text) < 10 or text.removeprefix("whsec_") not in str(refused.value)


def test_a_line_end_behind_a_key_is_no_part_of_it() -> None:
    assert read_key(f"{KEY}\n") == read_key(KEY)


def test_every_attempt_says_the_same() -> None:
    told = json.loads(notify.body(branch()))
    assert told == {
        "type": "globaltx.outcome",
        "timestamp": "2026-01-01T12:00:00+00:00",
        "data": {
            "xid": "shop.1",
            "outcome": "Commit",
            "reason": "RequestSucceeded",
            "initiator": "order",
            "policy": "p",
            "notification": "billing",
        },
    }
    later = replace(branch(), attempts=3, state=State.COMMITTING, message="no")
    assert notify.body(later) == notify.body(branch())
    assert notify.message_id(later) == notify.message_id(branch())


def test_no_two_notifications_share_an_id() -> None:
    two = replace(TRANSACTION, notify=(Notify("a", "http://b/"), Notify("b", "http://b/")))
    other = replace(TRANSACTION, xid=Xid("shop", "2"))
    again = replace(COMMIT, at=AT + timedelta(days=1))  # a declared saga of a name that is used again
    made = [*notify.branches(two, COMMIT, AT), branch(other), *notify.branches(two, again, AT)]
    assert len({notify.message_id(each) for each in made}) == len(made)


def test_only_those_are_told_who_want_this_outcome() -> None:
    wishes = (Notify("a", "u", frozenset({Outcome.ROLLBACK})), Notify("b", "u"))
    found = list(notify.branches(replace(TRANSACTION, notify=wishes), COMMIT, AT))
    assert [notify.name_of(each.id) for each in found] == ["b"]


def test_the_schedule_ends() -> None:
    notification = Notification("u", PAUSES, timedelta(seconds=2), "r", AT)
    assert (notification.attempts_max, notification.lasts) == (3, timedelta(seconds=41))
    assert [notify.pause_after(notification, each) for each in (1, 2, 3, 4)] == [*PAUSES, None, None]
    told = replace(branch(), notification=notification)
    ends = [notify.failed(told, attempts, "no") for attempts in (1, 3)]
    assert [(each.state, each.reason, each.attempts) for each in ends] == [
        (State.COMMITTING, "NotificationFailed", 1),
        (State.COMMITTED, "NotificationGivenUp", 3),
    ]
    assert ends[0].message == "attempt 1 of 3, the next in 5 s: no"


@pytest.mark.parametrize(
    ("status", "done"), [(199, False), (200, True), (204, True), (299, True), (302, False)]
)
def test_2xx_means_delivered(status: int, done: bool) -> None:  # noqa: FBT001  a parameter of the test
    assert notify.is_delivered(status) is done
