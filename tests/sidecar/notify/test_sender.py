"""Single attempts at real servers that answer badly, and with keys that are changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.policy import Egress
from globaltx.modes import notify
from globaltx.transaction.model import Branch, Decision, GlobalTransaction
from globaltx.transaction.notification import Notify
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from globaltx_sidecar.notify.sender import NotSentError, Sender
from tests.sidecar.saga.test_caller import message, server

if TYPE_CHECKING:
    from pathlib import Path

OLD = "whsec_" + "b2xk" * 8
NEW = "whsec_" + "bmV3" * 8
SECONDS = timedelta(seconds=20)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text(OLD)
    return tmp_path


def branch(url: str, timeout: timedelta = SECONDS) -> Branch:
    wish = Notify("billing", url, timeout=timeout)
    transaction = GlobalTransaction(Xid("shop", "1"), "order", SECONDS, notify=(wish,))
    decision = Decision(Outcome.COMMIT, "RequestSucceeded", at=datetime(2026, 1, 1, tzinfo=UTC))
    (made,) = notify.branches(transaction, decision, datetime.now(UTC))
    return made


def allowed(url: str) -> tuple[Egress, ...]:
    host, _, port = url.removeprefix("http://").partition(":")
    return (Egress(host, (int(port.partition("/")[0]),)),)


def sent(asked: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = asked.partition(b"\r\n\r\n")
    lines = (line.partition(": ") for line in head.decode().splitlines()[1:])
    return {name.lower(): value for name, _, value in lines}, body


async def test_what_arrives_bears_the_signature_of_its_very_bytes(keys: Path) -> None:
    async with server(message(204, b"")) as (url, asked), Sender(allowed(url), keys) as sender:
        assert await sender.send(branch(f"{url}/a%2Fb?q=1")) == 204
    headers, body = sent(asked[0])
    assert asked[0].startswith(b"POST /a%2Fb?q=1 HTTP/1.1")
    assert body == notify.body(branch(url))
    id_, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == notify.signature([notify.read_key(OLD)], id_, timestamp, body)
    assert headers["content-type"] == "application/json"
    assert not {"xid", "globaltx-xid", "x-dbpack-xid", "baggage"} & headers.keys()


async def test_a_changed_key_is_used_at_the_next_attempt(keys: Path) -> None:
    async with server(message(204, b"")) as (url, asked), Sender(allowed(url), keys) as sender:
        for current, previous in ((OLD, ""), (NEW, OLD), (NEW, "")):
            (keys / "key").write_text(current)
            (keys / "previous-key").unlink(missing_ok=True)
            if previous:
                (keys / "previous-key").write_text(previous)
            await sender.send(branch(url))
    for one, signed_with in zip(asked, ([OLD], [NEW, OLD], [NEW]), strict=True):
        headers, body = sent(one)
        id_, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        wanted = notify.signature(map(notify.read_key, signed_with), id_, timestamp, body)
        assert headers["webhook-signature"] == wanted


@pytest.mark.parametrize(
    ("text", "why"), [(None, "has no key"), ("secret-but-no-key", "is not whsec_"), ("é", "cannot be read")]
)
async def test_without_a_key_nothing_is_sent_and_nothing_of_it_is_told(
    keys: Path, text: str | None, why: str
) -> None:
    (keys / "key").unlink() if text is None else (keys / "key").write_text(text)
    async with server(message(204, b"")) as (url, asked), Sender(allowed(url), keys) as sender:
        with pytest.raises(NotSentError, match=why) as refused:
            await sender.send(branch(url))
    assert not asked
    assert "secret-but" not in str(refused.value)
    assert refused.value.__cause__ is None


async def test_a_redirect_is_an_answer_and_is_not_followed(keys: Path) -> None:
    async with server(message(200, b"{}")) as (other, asked):
        moved = message(307, b"", f"Location: {other}/elsewhere")
        async with server(moved) as (url, _), Sender((*allowed(url), *allowed(other)), keys) as sender:
            assert await sender.send(branch(url)) == 307
    assert not asked


async def test_of_an_answer_only_the_status_is_waited_for(keys: Path) -> None:
    """A body without end, and a head that is too large."""
    endless = b"HTTP/1.1 200 X\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 100_000
    async with server(endless, stay=True) as (url, _), Sender(allowed(url), keys) as sender:
        assert await sender.send(branch(url)) == 200
    large = message(200, b"", "X-A: " + "x" * 20_000)
    async with server(large) as (url, _), Sender(allowed(url), keys) as sender:
        with pytest.raises(NotSentError, match="no answer"):
            await sender.send(branch(url))


async def test_one_that_hangs_is_given_up_in_time(keys: Path) -> None:
    async with server(b"HTTP/1.1 2", stay=True) as (url, _), Sender(allowed(url), keys) as sender:
        with pytest.raises(NotSentError, match=r"no answer within 0\.2 s"):
            await sender.send(branch(url, timedelta(seconds=0.2)))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://billing:8080/other", "no notify.egress"),
        ("http://elsewhere:8080/outcomes", "no notify.egress"),
        ("http://billing:8080/outcomes/../other", "segments"),
        ("http://169.254.169.254:80/latest", "never called"),
        ("http://localhost:1/", "never called"),
    ],
)
async def test_what_is_not_allowed_is_never_called(keys: Path, url: str, why: str) -> None:
    egress = (
        Egress("billing", (8080,), ("/outcomes",)),
        Egress("169.254.169.254", (80,)),
        Egress("localhost", (1,)),
    )
    async with Sender(egress, keys) as sender:
        with pytest.raises(NotSentError, match=why):
            await sender.send(branch(url))


async def test_what_is_allowed_may_change(keys: Path) -> None:
    async with server(message(204, b"")) as (url, _), Sender((), keys) as sender:
        assert sender.place(url) == ""
        sender.allow(allowed(url))
        assert sender.place(url) == url.removeprefix("http://")
        assert await sender.send(branch(url)) == 204
        sender.allow(())
        with pytest.raises(NotSentError, match=r"no notify\.egress"):
            await sender.send(branch(url))


async def test_what_is_no_notification_is_a_bug(keys: Path) -> None:
    async with Sender((), keys) as sender:
        with pytest.raises(RuntimeError):
            await sender.send(replace(branch("http://b/"), notification=None))
