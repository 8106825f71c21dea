"""etcd's transactions and their answers as the bytes that it takes and gives: pure, no IO.

The numbers of the fields are etcd's (api/etcdserverpb/rpc.proto). An operation or a comparison is kept as
the bytes of its message, since it is written once and then only put into others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.stores.etcd.protobuf import MessageError, integer, piece, read, text
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.stores.etcd.protobuf import Fields

_EQUAL, _GREATER, _LESS = 0, 1, 2
_CREATED, _CHANGED, _VALUE = 1, 2, 3
_RANGE, _PUT, _DELETE, _TXN = 1, 2, 3, 4
"""What kind of operation: the field of ``RequestOp`` and of ``ResponseOp`` that it is in."""


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

    compare: tuple[bytes, ...] = ()
    success: tuple[bytes, ...] = ()
    failure: tuple[bytes, ...] = ()

    def to_bytes(self) -> bytes:
        """The request's message."""
        parts = [piece(1, each) for each in self.compare]
        parts += [piece(2, each) for each in self.success]
        parts += [piece(3, each) for each in self.failure]
        return b"".join(parts)

    @property
    def weight(self) -> int:
        """About how many bytes it writes; etcd takes 1.5 MiB in one request."""
        return sum(map(len, self.success))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a transaction answered: which way it went, and one message an operation."""

    succeeded: bool
    responses: tuple[bytes, ...]

    def found(self, number: int) -> list[KeyValue]:
        """What the operation of that number, which was a `get`, has found.

        Raises:
            MessageError: the answer is none to what was asked.
        """
        if number >= len(self.responses):
            told = f"{len(self.responses)} operations were answered, which are too few"
            raise MessageError(told)
        return key_values(read(self.responses[number]).message(_RANGE))

    def nested(self, count: int) -> list[Answer]:
        """The answers of the operations, which were so many and all transactions themselves.

        Raises:
            MessageError: the answer is none to what was asked.
        """
        if len(self.responses) != count:
            told = f"{len(self.responses)} operations were answered, and {count} were asked for"
            raise MessageError(told)
        return [answer_of(read(each).piece(_TXN)) for each in self.responses]


def answer_of(message: bytes) -> Answer:
    """Read a transaction's answer."""
    told = read(message)
    return Answer(bool(told.integer(2)), tuple(told.pieces(3)))


def key_values(told: Fields) -> list[KeyValue]:
    """Read a range's answer."""
    return [key_value(each) for each in told.pieces(2)]


def key_value(message: bytes) -> KeyValue:
    """Read one key with its value (none: a key that was deleted); bytes that are no text are replaced."""
    told = read(message)
    return KeyValue(told.text(1), told.text(5), told.integer(3))


def after(prefix: str) -> str:
    """The first key behind all that begin with the prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def exists(key: str) -> bytes:
    """Holds when the key is there."""
    return _compare(key, _GREATER, _CREATED)


def absent(key: str) -> bytes:
    """Holds when the key is not there."""
    return _compare(key, _EQUAL, _CREATED)


def value_is(key: str, value: str | None) -> bytes:
    """Holds when the key has just this value; None: when it is not there."""
    return absent(key) if value is None else _compare(key, _EQUAL, _VALUE) + piece(7, value.encode())


def revision_is(key: str, revision: int) -> bytes:
    """Holds when the key was changed in this revision last."""
    return _compare(key, _EQUAL, _CHANGED) + integer(6, revision)


def value_below(key: str, value: str) -> bytes:
    """Holds when the key is there and its value comes before the text."""
    return _compare(key, _LESS, _VALUE) + piece(7, value.encode())


def value_above(key: str, value: str) -> bytes:
    """Holds when the key is there and its value comes after the text."""
    return _compare(key, _GREATER, _VALUE) + piece(7, value.encode())


def _compare(key: str, result: int, target: int) -> bytes:
    """What is compared with nothing more is compared with 0."""
    return integer(1, result) + integer(2, target) + text(3, key)


def put(key: str, value: str) -> bytes:
    """Write a key."""
    return piece(_PUT, text(1, key) + text(2, value))


def get(key: str) -> bytes:
    """Read a key."""
    return piece(_RANGE, text(1, key))


def get_all(prefix: str) -> bytes:
    """Read every key that begins with the prefix."""
    return piece(_RANGE, prefix_range(prefix))


def delete(key: str) -> bytes:
    """Remove a key."""
    return piece(_DELETE, text(1, key))


def delete_all(prefix: str) -> bytes:
    """Remove every key that begins with the prefix."""
    return piece(_DELETE, prefix_range(prefix))


def nested(txn: Txn) -> bytes:
    """A transaction as an operation of another."""
    return piece(_TXN, txn.to_bytes())


def all_of(txns: Iterable[Txn]) -> Txn:
    """One transaction that does each of these; ``Answer.nested`` tells what each did."""
    return Txn(success=tuple(nested(each) for each in txns))


def prefix_range(prefix: str) -> bytes:
    """The two ends of all keys that begin with the prefix, as most requests have them."""
    return text(1, prefix) + text(2, after(prefix))
