"""Sends one attempt of a notification, signed, to where the policy allows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import aiohttp
from yarl import URL

from globaltx.coordinator.egress import forbidden_as_written, refusal, target
from globaltx.modes import notify
from globaltx_sidecar.outbound import guarded_session, limits, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from globaltx.coordinator.policy import Egress
    from globaltx.transaction.model import Branch

KEYS = ("key", "previous-key")
"""The files that are signed with; the second is there while the key is being changed."""
KEY_FILE_BYTES_MAX = 1024


class NotSentError(Exception):
    """There was no answer; the message says why, and holds nothing of the key."""


class Sender:
    """An async context that owns the connections; ``keys`` is the folder of the files to sign with.

    The files are read at each attempt, so that a new key is used as soon as it is there. ``utc`` is the clock
    that receivers compare with their own.
    """

    def __init__(
        self,
        egress: Iterable[Egress],
        keys: Path,
        utc: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._utc = utc
        self._egress = tuple(egress)
        self._keys = keys
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = guarded_session(0)  # each place has a desk, which bounds what is under way
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def allow(self, egress: Iterable[Egress]) -> None:
        """Say anew where outcomes may be told."""
        self._egress = tuple(egress)

    def refusal(self, url: str) -> str:
        """Why a URL must not be called; empty: it may be."""
        return refusal(url, self._egress, "notify.egress") or _never(url)

    def place(self, url: str) -> str:
        """The host and port of a URL; empty if it must not be called."""
        found = target(url)
        if found is None or refusal(url, self._egress, "notify.egress"):
            return ""
        return f"{found.host}:{found.port}"

    async def send(self, branch: Branch) -> int:
        """Make one attempt and return the status of the answer, whose body is not read.

        Raises:
            NotSentError: there was none.
        """
        if branch.notification is None or self._session is None:  # a bug: whoever sends has looked
            raise RuntimeError
        url, seconds = branch.notification.url, branch.notification.timeout.total_seconds()
        if refused := self.refusal(url):
            raise NotSentError(refused)
        content = notify.body(branch)
        headers = self._signed(branch, content)
        try:
            async with self._session.post(
                URL(url, encoded=True),
                data=content,
                headers=headers,
                allow_redirects=False,
                timeout=limits(seconds),
            ) as answer:
                return answer.status
        except TimeoutError as error:
            message = f"no answer within {seconds:g} s"
            raise NotSentError(message) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            message = f"no answer: {told(error)}"
            raise NotSentError(message) from error

    def _signed(self, branch: Branch, content: bytes) -> dict[str, str]:
        id_, timestamp = notify.message_id(branch), int(self._utc().timestamp())
        return {
            "Content-Type": "application/json",
            notify.ID_HEADER: id_,
            notify.TIMESTAMP_HEADER: str(timestamp),
            notify.SIGNATURE_HEADER: notify.signature(self._read_keys(), id_, timestamp, content),
        }

    def _read_keys(self) -> list[bytes]:
        """The keys that there are, the newest first.

        Raises:
            NotSentError: there is none, or one of them cannot be used.
        """
        found: list[bytes] = []
        for name in KEYS:
            try:
                with (self._keys / name).open(encoding="ascii") as file:
                    found.append(notify.read_key(file.read(KEY_FILE_BYTES_MAX)))
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                why = str(error) if isinstance(error, notify.InvalidKeyError) else "it cannot be read"
                message = f"not signed: {name} of the policy's notify.secretName: {why}"
                raise NotSentError(message) from None  # the cause of a ValueError may show what was read
        if not found:
            message = "not signed: the Secret of the policy's notify.secretName has no key"
            raise NotSentError(message)
        return found


def _never(url: str) -> str:
    host = URL(url, encoded=True).host or ""
    return f"{host} is an address that is never called" if forbidden_as_written(host) else ""
