"""etcd's transactions and their answers as the bytes that it takes and gives: pure, no IO.

The numbers of the fields are etcd's (api/etcdserverpb/rpc.proto). An operation or a comparison is kept as
the bytes of its message, with their number before them, since it is written once and then only put into
others. What stands before a key or a value depends on how long it is alone, and is kept for the next one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from globaltx.stores.etcd.protobuf import (
    MessageError,
    fields,
    head,
    integer,
    piece,
    text,
    varint,
    within,
)
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from globaltx.stores.etcd.protobuf import Fields

_EQUAL, _GREATER, _LESS = 0, 1, 2
_CREATED, _CHANGED, _VALUE = 1, 2, 3
_RANGE, _PUT, _DELETE, _TXN = 1, 2, 3, 4
"""What kind of operation: the field of ``RequestOp`` and of ``ResponseOp`` that it is in."""
_COMPARE, _SUCCESS, _FAILURE = b"\x0a", b"\x12", b"\x1a"
"""What stands before each part of a transaction: that a message is in field 1, 2 or 3."""
_EMPTY = (b"",)


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
        told = _COMPARE + _COMPARE.join(self.compare) if self.compare else b""
        if self.success:
            told += _SUCCESS + _SUCCESS.join(self.success)
        return told + _FAILURE + _FAILURE.join(self.failure) if self.failure else told

    @property
    def weight(self) -> int:
        """About how many bytes it writes; etcd takes 1.5 MiB in one request."""
        return sum(map(len, self.success))


class Form:
    """Transactions of one shape, which differ in their keys and one value: the rest is kept by their lengths.

    Of the keys some must be ``there`` and some ``absent``, then one is ``put``; else all of them are read.
    """

    def __init__(self, *, there: tuple[int, ...], absent: tuple[int, ...], put: int) -> None:
        self._there = there
        self._compared = there + absent
        self._put = put
        self._heads = lru_cache(128)(self._heads_of)

    def to_bytes(self, keys: Sequence[str], value: str) -> bytes:
        """The request's message."""
        names = [key.encode() for key in keys]
        compares, reads = self._heads(*map(len, names))
        parts: list[bytes] = []
        for before, number in zip(compares, self._compared, strict=True):
            parts += before, names[number]
        parts += _SUCCESS, put(keys[self._put], value)
        for before, name in zip(reads, names, strict=True):
            parts += before, name
        return b"".join(parts)

    def _heads_of(self, *sizes: int) -> tuple[list[bytes], list[bytes]]:
        """What stands before the keys that are compared, and before those that are read."""
        compares = [
            _COMPARE + _compare_head(_GREATER if each in self._there else _EQUAL, _CREATED, sizes[each])
            for each in self._compared
        ]
        return compares, [_FAILURE + _of_key_head(_RANGE, each) for each in sizes]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a transaction answered: which way it went, and one message an operation."""

    succeeded: bool
    responses: Sequence[bytes]

    def found(self, number: int) -> list[KeyValue]:
        """What the operation of that number, which was a `get`, has found.

        Raises:
            MessageError: the answer is none to what was asked.
        """
        if number >= len(self.responses):
            told = f"{len(self.responses)} operations were answered, which are too few"
            raise MessageError(told)
        pieces = fields(within(self.responses[number], _RANGE))[1]
        return [key_value(each) for each in pieces.get(2, ())]

    def nested(self, count: int) -> list[Answer]:
        """The answers of the operations, which were so many and all transactions themselves.

        Raises:
            MessageError: the answer is none to what was asked.
        """
        if len(self.responses) != count:
            told = f"{len(self.responses)} operations were answered, and {count} were asked for"
            raise MessageError(told)
        return [answer_of(within(each, _TXN)) for each in self.responses]


def answer_of(message: bytes) -> Answer:
    """Read a transaction's answer."""
    integers, pieces = fields(message)
    return Answer(bool(integers.get(2)), pieces.get(3, ()))


def key_values(told: Fields) -> list[KeyValue]:
    """Read a range's answer."""
    return [key_value(each) for each in told.pieces(2)]


def key_value(message: bytes) -> KeyValue:
    """Read one key with its value (none: a key that was deleted); bytes that are no text are replaced."""
    integers, pieces = fields(message)
    key, value = pieces.get(1, _EMPTY)[-1], pieces.get(5, _EMPTY)[-1]
    return KeyValue(key.decode("utf-8", "replace"), value.decode("utf-8", "replace"), integers.get(3, 0))


def after(prefix: str) -> str:
    """The first key behind all that begin with the prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def exists(key: str) -> bytes:
    """Holds when the key is there."""
    name = key.encode()
    return _compare_head(_GREATER, _CREATED, len(name)) + name


def absent(key: str) -> bytes:
    """Holds when the key is not there."""
    name = key.encode()
    return _compare_head(_EQUAL, _CREATED, len(name)) + name


def value_is(key: str, value: str | None) -> bytes:
    """Holds when the key has just this value; None: when it is not there."""
    return absent(key) if value is None else _compare(key, _EQUAL, _VALUE, piece(7, value.encode()))


def revision_is(key: str, revision: int) -> bytes:
    """Holds when the key was changed in this revision last."""
    return _compare(key, _EQUAL, _CHANGED, integer(6, revision))


def value_below(key: str, value: str) -> bytes:
    """Holds when the key is there and its value comes before the text."""
    return _compare(key, _LESS, _VALUE, piece(7, value.encode()))


def value_above(key: str, value: str) -> bytes:
    """Holds when the key is there and its value comes after the text."""
    return _compare(key, _GREATER, _VALUE, piece(7, value.encode()))


def _compare(key: str, result: int, target: int, value: bytes) -> bytes:
    name = key.encode()
    return _compare_head(result, target, len(name), len(value)) + name + value


@lru_cache(512)
def _compare_head(result: int, target: int, size: int, value_size: int = 0) -> bytes:
    """What stands before the key; what is compared with nothing more is compared with 0."""
    told = integer(1, result) + integer(2, target) + head(3, size)
    return varint(len(told) + size + value_size) + told


def put(key: str, value: str) -> bytes:
    """Write a key."""
    name, content = key.encode(), value.encode()
    if not content:
        return _of_key_head(_PUT, len(name)) + name
    told = head(1, len(name)) + name + head(2, len(content)) + content
    return _head(_PUT, len(told)) + told


def get(key: str) -> bytes:
    """Read a key."""
    name = key.encode()
    return _of_key_head(_RANGE, len(name)) + name


def get_all(prefix: str) -> bytes:
    """Read every key that begins with the prefix."""
    return _of_all(_RANGE, prefix)


def delete(key: str) -> bytes:
    """Remove a key."""
    name = key.encode()
    return _of_key_head(_DELETE, len(name)) + name


def delete_all(prefix: str) -> bytes:
    """Remove every key that begins with the prefix."""
    return _of_all(_DELETE, prefix)


def _of_all(kind: int, prefix: str) -> bytes:
    name, end = prefix.encode(), after(prefix).encode()
    told = head(1, len(name)) + name + head(2, len(end)) + end
    return _head(kind, len(told)) + told


@lru_cache(512)
def _of_key_head(kind: int, size: int) -> bytes:
    """What stands before the key of an operation that holds nothing but that."""
    told = head(1, size)
    return _head(kind, len(told) + size) + told


@lru_cache(512)
def _head(kind: int, size: int) -> bytes:
    """What stands before an operation of so many bytes."""
    told = head(kind, size)
    return varint(len(told) + size) + told


def nested(txn: Txn) -> bytes:
    """A transaction as an operation of another."""
    told = txn.to_bytes()
    return _head(_TXN, len(told)) + told


def all_of(txns: Iterable[Txn]) -> Txn:
    """One transaction that does each of these; ``Answer.nested`` tells what each did."""
    return Txn(success=tuple(nested(each) for each in txns))


def together(messages: Sequence[bytes]) -> bytes:
    """The same of what `Txn.to_bytes` has written."""
    return b"".join([_SUCCESS + _head(_TXN, len(each)) + each for each in messages])


def prefix_range(prefix: str) -> bytes:
    """The two ends of all keys that begin with the prefix, as most requests have them."""
    return text(1, prefix) + text(2, after(prefix))
