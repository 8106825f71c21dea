"""etcd's requests and answers as the JSON that its gateway takes and gives: pure, no IO.

Keys and values are text here, base64 there. Revisions are numbers here, decimal text there.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it was at some revision; ``revision`` is that of its last change."""

    key: str
    value: str
    revision: int


@dataclass(frozen=True, slots=True)
class Txn:
    """One transaction of etcd: when all of ``compare`` holds the ``success`` operations, else the others.

    All comparisons, those of nested transactions too, are made before the first operation.
    """

    compare: tuple[Json, ...] = ()
    success: tuple[Json, ...] = ()
    failure: tuple[Json, ...] = ()

    def to_json(self) -> Json:
        """The request's body."""
        return {"compare": self.compare, "success": self.success, "failure": self.failure}

    @property
    def weight(self) -> int:
        """About how many bytes it writes; etcd takes 1.5 MiB in one request."""
        return sum(map(_weight, self.success))


def _weight(operation: Json) -> int:
    if "requestTxn" in operation:
        return sum(map(_weight, operation["requestTxn"]["success"]))
    return len((operation.get("requestPut") or {}).get("value", ""))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a transaction answered: which way it went, and one entry an operation."""

    succeeded: bool
    responses: tuple[Json, ...]

    def found(self, number: int) -> list[KeyValue]:
        """What the operation of that number, which was a `get`, has found."""
        return key_values(self.responses[number]["response_range"])

    def nested(self) -> list[Answer]:
        """The answers of the operations, which were all transactions themselves."""
        return [answer_of(each["response_txn"]) for each in self.responses]


def answer_of(told: Json) -> Answer:
    """Read a transaction's answer."""
    return Answer(bool(told.get("succeeded")), tuple(told.get("responses") or ()))


def key_values(told: Json) -> list[KeyValue]:
    """Read a range's answer."""
    return [key_value(each) for each in told.get("kvs") or ()]


def key_value(told: Json) -> KeyValue:
    """Read one key with its value (none: a key that was deleted)."""
    return KeyValue(decode(told["key"]), decode(told.get("value", "")), int(told.get("mod_revision", 0)))


def encode(text: str) -> str:
    """Write a key or value."""
    return base64.b64encode(text.encode()).decode("ascii")


def decode(text: str) -> str:
    """Read a key or value; bytes that are no text come as replacement characters."""
    return base64.b64decode(text).decode("utf-8", "replace")


def after(prefix: str) -> str:
    """The first key behind all that begin with the prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def exists(key: str) -> Json:
    """Holds when the key is there."""
    return _create_revision(key, "GREATER")


def absent(key: str) -> Json:
    """Holds when the key is not there."""
    return _create_revision(key, "EQUAL")


def _create_revision(key: str, result: str) -> Json:
    return {"key": encode(key), "target": "CREATE", "result": result, "createRevision": "0"}


def at_revision(key: str, revision: int) -> Json:
    """Holds when the key was last changed at that revision."""
    return {"key": encode(key), "target": "MOD", "result": "EQUAL", "modRevision": str(revision)}


def value_is(key: str, text: str | None) -> Json:
    """Holds when the key has just this value; None: when it is not there."""
    if text is None:
        return absent(key)
    return {"key": encode(key), "target": "VALUE", "result": "EQUAL", "value": encode(text)}


def value_below(key: str, text: str) -> Json:
    """Holds when the key is there and its value comes before the text."""
    return {"key": encode(key), "target": "VALUE", "result": "LESS", "value": encode(text)}


def value_above(key: str, text: str) -> Json:
    """Holds when the key is there and its value comes after the text."""
    return {"key": encode(key), "target": "VALUE", "result": "GREATER", "value": encode(text)}


def put(key: str, value: str, lease: str = "") -> Json:
    """Write a key."""
    request = {"key": encode(key), "value": encode(value)}
    return {"requestPut": request | {"lease": lease} if lease else request}


def get(key: str) -> Json:
    """Read a key."""
    return {"requestRange": {"key": encode(key)}}


def get_all(prefix: str) -> Json:
    """Read every key that begins with the prefix."""
    return {"requestRange": prefix_range(prefix)}


def delete(key: str) -> Json:
    """Remove a key."""
    return {"requestDeleteRange": {"key": encode(key)}}


def delete_all(prefix: str) -> Json:
    """Remove every key that begins with the prefix."""
    return {"requestDeleteRange": prefix_range(prefix)}


def nested(txn: Txn) -> Json:
    """A transaction as an operation of another."""
    return {"requestTxn": txn.to_json()}


def all_of(txns: Iterable[Txn]) -> Txn:
    """One transaction that does each of these; ``Answer.nested`` tells what each did."""
    return Txn(success=tuple(nested(each) for each in txns))


def prefix_range(prefix: str) -> Json:
    """The two ends of all keys that begin with the prefix."""
    return {"key": encode(prefix), "rangeEnd": encode(after(prefix))}
