from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx_sidecar.commands import Close, Command, ToClient, ToDatabase
from globaltx_sidecar.mysql.handshake import (
    MARIADB_FOLLOWED,
    NOT_FOLLOWED,
    HandshakeRefusedError,
    read_greeting,
    read_response,
)
from globaltx_sidecar.mysql.packets import Capability, Err, Ok, PacketError, frame
from globaltx_sidecar.mysql.session import Phase, Session
from tests.sidecar.mysql.conversation import CAPABILITIES, greeting, response

EVERYTHING = 0xFFFF_FFFF & ~1


def test_what_cannot_be_followed_is_not_offered() -> None:
    read = read_greeting(greeting(EVERYTHING))
    assert read.version == "10.11.19-MariaDB"
    assert read.mariadb
    assert read.capabilities == EVERYTHING & ~NOT_FOLLOWED
    assert read_greeting(read.payload) == read
    changed = [
        index for index, (a, b) in enumerate(zip(greeting(EVERYTHING), read.payload, strict=True)) if a != b
    ]
    low = greeting().index(b"\0", 1) + 14
    assert changed == [low, low + 1, low + 6, low + 14]
    assert read.payload[low + 14] == MARIADB_FOLLOWED & 0x1F


def test_a_mysql_has_no_extended_flags() -> None:
    read = read_greeting(greeting(EVERYTHING | 1))
    assert not read.mariadb
    assert read.payload[-38:] == greeting(EVERYTHING | 1)[-38:]


def test_an_error_instead_of_a_greeting() -> None:
    payload = Err(1040, "08004", "Too many connections").encode_greeting()
    assert read_greeting(payload).refused
    session = Session("shop-db", "shop", 1)
    told = session.database_data(frame(payload, 0))
    assert told is not None
    assert [type(each) for each in told] == [ToClient, Close]


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_greeting_that_is_cut_off(cut: int) -> None:
    with pytest.raises(PacketError):
        read_greeting(greeting()[: min(cut, greeting().index(b"\0", 1) + 31)])


def test_what_was_not_offered_is_not_passed_on() -> None:
    offered = read_greeting(greeting(EVERYTHING))
    asked = CAPABILITIES | int(Capability.QUERY_ATTRIBUTES | Capability.OPTIONAL_RESULTSET_METADATA)
    read = read_response(response(asked, extended=0x1F), offered)
    assert int.from_bytes(read.payload[:4], "little") == CAPABILITIES
    assert int.from_bytes(read.payload[28:32], "little") == MARIADB_FOLLOWED
    assert read.payload[32:] == response(asked)[32:]
    assert read.has(Capability.CONNECT_WITH_DB)
    assert not read.has(Capability.QUERY_ATTRIBUTES)
    assert read.schema == "shop"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (Capability.PROTOCOL_41 | Capability.SSL, "TLS"),
        (Capability.PROTOCOL_41 | Capability.COMPRESS, "compression"),
        (Capability.PROTOCOL_41 | Capability.ZSTD_COMPRESSION_ALGORITHM, "compression"),
        (Capability.SECURE_CONNECTION, "before MySQL 4.1"),
    ],
)
def test_what_is_refused(flags: int, said: str) -> None:
    with pytest.raises(HandshakeRefusedError, match=said):
        read_response(response(int(flags)), read_greeting(greeting(EVERYTHING)))


@given(st.binary(max_size=80))
def test_garbage_is_refused_or_read(data: bytes) -> None:
    with suppress(PacketError):
        read_greeting(data)
    with suppress(PacketError, HandshakeRefusedError):
        read_response(data, read_greeting(greeting()))


def said(commands: list[Command] | None, data: bytes) -> bytes:
    """The bytes that go on, whichever way."""
    if commands is None:
        return data
    return b"".join(each.data for each in commands if isinstance(each, ToClient | ToDatabase))


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_full_authentication_goes_straight_through(step: int) -> None:
    """caching_sha2_password without its cache: the password is sent encrypted by the server's RSA key."""
    key = b"-----BEGIN PUBLIC KEY-----\n" + b"M" * 400
    exchange: list[tuple[str, bytes]] = [
        ("database", frame(b"\xfecaching_sha2_password\0" + b"s" * 20 + b"\0", 2)),
        ("client", frame(b"h" * 32, 3)),
        ("database", frame(b"\x01\x04", 4)),
        ("client", frame(b"\x02", 5)),
        ("database", frame(b"\x01" + key, 6)),
        ("client", frame(b"e" * 256, 7)),
        ("database", frame(Ok(status=2).encode(), 8)),
    ]
    session = Session("shop-db", "shop", 1)
    session.database_data(frame(greeting(), 0))
    session.client_data(frame(response(), 1))
    for who, data in exchange:
        assert session.phase is Phase.AUTHENTICATION
        hears = session.database_data if who == "database" else session.client_data
        pieces = [data[start : start + step] for start in range(0, len(data), step)]
        assert b"".join(said(hears(piece), piece) for piece in pieces) == data
    assert session.phase is Phase.READY


def test_a_client_that_speaks_first_is_closed() -> None:
    session = Session("shop-db", "shop", 1)
    (told,) = session.client_data(b"GET / HTTP/1.1\r\n") or []
    assert isinstance(told, Close)
    assert session.phase is Phase.CLOSED
