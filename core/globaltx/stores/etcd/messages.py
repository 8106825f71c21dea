"""What is asked of etcd beside transactions, as the bytes that it takes and gives: pure, no IO.

The numbers of the fields are etcd's (api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto, api/authpb/auth.proto).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.stores.etcd.errors import UNAVAILABLE, CompactedError, EtcdError, Status, error_of
from globaltx.stores.etcd.protobuf import integer, piece, read, text
from globaltx.stores.etcd.requests import KeyValue, after, key_value, key_values, prefix_range
from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.stores.etcd.protobuf import Fields

RANGE, TXN, COMPACT, WATCH = "KV/Range", "KV/Txn", "KV/Compact", "Watch/Watch"
AUTHENTICATE = "Auth/Authenticate"
_READ_WRITE = 2
_DELETED = 1
_NO_DELETES = 1


@dataclass(frozen=True, slots=True)
class Page:
    """Some keys of a range as of a revision; whether there are more."""

    found: list[KeyValue]
    revision: int
    more: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one key; a deleted one has no value."""

    key_value: KeyValue
    deleted: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """What one message of a watch told: everything up to and with ``revision``.

    ``behind`` is by how many revisions the store was ahead of that when it was sent.
    """

    changes: tuple[Change, ...]
    revision: int
    behind: int = 0


def page(start: str, prefix: str, limit: int, revision: int) -> bytes:
    """Read the keys of a prefix from ``start`` on, so many at most, as of a revision (0: the present one)."""
    return text(1, start) + text(2, after(prefix)) + integer(3, limit) + integer(4, revision)


def count_none() -> bytes:
    """Ask for the present revision and no keys, consistently."""
    return text(1, "\0") + integer(9, 1)


def read_page(message: bytes) -> Page:
    """Read what a range answered."""
    told = read(message)
    return Page(key_values(told), _revision(told), bool(told.integer(3)))


def compaction(revision: int) -> bytes:
    """Throw away the history before that revision."""
    return integer(1, revision)


def watch(prefix: str, revision: int, *, deletes: bool) -> bytes:
    """Tell what happens to the keys of a prefix from that revision on."""
    left_out = b"" if deletes else piece(5, bytes([_NO_DELETES]))
    return piece(1, prefix_range(prefix) + integer(3, revision) + left_out)


def read_changes(message: bytes) -> Changes | None:
    """Read what a watch told; None when it told only that it has begun, or that it goes on.

    Raises:
        EtcdError: etcd has ended the watch.
    """
    told = read(message)
    if told.integer(4):
        raise _ended(told)
    events = told.pieces(11)
    if not events:
        return None
    changes = tuple(map(_change, events))
    revision = max(each.key_value.revision for each in changes)
    return Changes(changes, revision, _revision(told) - revision)


def _change(event: bytes) -> Change:
    told = read(event)
    return Change(key_value(told.piece(2)), deleted=told.integer(1) == _DELETED)


def _ended(told: Fields) -> EtcdError:
    reason = told.text(6) or "etcd ended the watch"
    if compacted := told.integer(5):
        return CompactedError(f"watch: history was compacted at {compacted}: {reason}")
    return error_of(Status(UNAVAILABLE, reason), "watch")


def _revision(told: Fields) -> int:
    return told.message(1).integer(3)


def authenticate(name: str, password: str) -> bytes:
    """Ask for a token."""
    return text(1, name) + text(2, password)


def read_token(message: bytes) -> str:
    """Read it."""
    return read(message).text(2)


def new_user(name: str, password: str) -> bytes:
    """For ``Auth/UserAdd`` and ``Auth/UserChangePassword``."""
    return text(1, name) + text(2, password)


def new_role(name: str) -> bytes:
    """For ``Auth/RoleAdd``."""
    return text(1, name)


def role_of_user(user: str, role: str) -> bytes:
    """For ``Auth/UserGrantRole``."""
    return text(1, user) + text(2, role)


def permission(role: str, prefix: str) -> bytes:
    """For ``Auth/RoleGrantPermission``: reading and writing all keys of a prefix."""
    bounds = piece(2, prefix.encode()) + piece(3, after(prefix).encode())
    return text(1, role) + piece(2, integer(1, _READ_WRITE) + bounds)


def read_users(message: bytes) -> list[str]:
    """Read what ``Auth/UserList`` answered."""
    return [each.decode("utf-8", "replace") for each in read(message).pieces(2)]
