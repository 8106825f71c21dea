"""What a session does about TLS, packet by packet, whole and byte by byte; no socket takes part."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.policy import TlsMode
from globaltx_sidecar.commands import (
    Close,
    Decipher,
    SecureClient,
    SecureDatabase,
    ShowKey,
    ToClient,
    ToDatabase,
)
from globaltx_sidecar.mysql.handshake import Terms
from globaltx_sidecar.mysql.packets import Capability, Command, Ok, frame
from globaltx_sidecar.mysql.session import Phase, Session
from tests.sidecar.mysql.conversation import CAPABILITIES, greeting, response

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx_sidecar.commands import Command as SessionCommand

SSL = int(Capability.SSL)
NONCE = b"12345678123456789012"
OK = Ok(status=2).encode()
FULL = b"\x01\x04"


class Talk:
    """A session with peers; ``say`` gives what each side is sent by it, and what else it wants."""

    def __init__(self, terms: Terms, piece: int) -> None:
        self.session = Session("shop-db", "shop", 1, terms)
        self._piece = piece
        self.asked: list[SessionCommand] = []

    def database(self, data: bytes) -> tuple[bytes, bytes]:
        return self._say(self.session.database_data, data, ToClient)

    def client(self, data: bytes) -> tuple[bytes, bytes]:
        return self._say(self.session.client_data, data, ToDatabase)

    def answered(self, value: object) -> tuple[bytes, bytes]:
        return self._sent(self.session.answered(value))

    def failed(self, error: Exception) -> tuple[bytes, bytes]:
        return self._sent(self.session.failed(error))

    def _say(
        self,
        hears: Callable[[bytes], list[SessionCommand] | None],
        data: bytes,
        passes: type[ToClient | ToDatabase],
    ) -> tuple[bytes, bytes]:
        commands: list[SessionCommand] = []
        size = self._piece or len(data)
        for piece in (data[at : at + size] for at in range(0, len(data), size)):
            found = hears(piece)
            commands += [passes(piece)] if found is None else found
        return self._sent(commands)

    def _sent(self, commands: list[SessionCommand]) -> tuple[bytes, bytes]:
        to_client = b"".join(each.data for each in commands if isinstance(each, ToClient))
        to_database = b"".join(each.data for each in commands if isinstance(each, ToDatabase))
        self.asked += [each for each in commands if not isinstance(each, ToClient | ToDatabase)]
        return to_client, to_database


@pytest.fixture(params=[0, 1], ids=["whole", "byte by byte"])
def piece(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def offered(capabilities: int) -> bytes:
    """The greeting as a client sees it: of MariaDB's own capabilities two are left."""
    told = greeting(capabilities)
    assert told.count(b"\x1f\0\0\0") == 1
    return told.replace(b"\x1f\0\0\0", b"\x0c\0\0\0")


def with_tls(capabilities: int = CAPABILITIES) -> bytes:
    return response(capabilities | SSL)


def secured(piece: int, mode: TlsMode = TlsMode.PREFERRED) -> Talk:
    """A talk whose database's side has TLS, and the client's has not; the response has gone."""
    talk = Talk(Terms(mode), piece)
    to_client, _ = talk.database(frame(greeting(), 0))
    assert to_client == frame(offered(CAPABILITIES | int(Capability.MULTI_STATEMENTS)), 0)
    assert talk.client(frame(response(), 1)) == (b"", frame(with_tls()[:32], 1))
    assert talk.asked == [SecureDatabase()]
    assert talk.answered(None) == (b"", frame(with_tls(), 2))
    talk.asked.clear()
    return talk


def test_the_database_gets_one_packet_more_and_the_client_does_not_notice(piece: int) -> None:
    talk = secured(piece)
    switch = b"\xfemysql_native_password\0" + NONCE + b"\0"
    assert talk.database(frame(switch, 3)) == (frame(switch, 2), b"")
    assert talk.client(frame(b"s" * 20, 3)) == (b"", frame(b"s" * 20, 4))
    assert talk.database(frame(OK, 5)) == (frame(OK, 4), b"")
    assert talk.session.phase is Phase.READY
    query = frame(b"\x03SELECT 1", 0)
    assert talk.client(query) == (b"", query)
    assert talk.database(frame(OK, 1)) == (frame(OK, 1), b"")
    assert not talk.asked


def test_a_known_password_takes_two_packets_of_the_server(piece: int) -> None:
    talk = secured(piece)
    assert talk.database(frame(b"\x01\x03", 3) + frame(OK, 4)) == (
        frame(b"\x01\x03", 2) + frame(OK, 3),
        b"",
    )
    assert talk.session.phase is Phase.READY


def hidden(password: bytes, nonce: bytes = NONCE) -> bytes:
    return bytes(one ^ other for one, other in zip(password + b"\0", cycle(nonce), strict=False))


def give_password(talk: Talk, nonce: bytes, *, client: int, database: int) -> None:
    """The server asks for the password and gets it, by way of our key; its question has these numbers."""
    assert talk.database(frame(FULL, database)) == (frame(FULL, client), b"")
    assert talk.client(frame(b"\x02", client + 1)) == (b"", b"")
    assert talk.asked == [ShowKey()]
    assert talk.answered(b"the key") == (frame(b"\x01the key", client + 2), b"")
    assert talk.client(frame(b"c" * 256, client + 3)) == (b"", b"")
    assert talk.asked == [ShowKey(), Decipher(b"c" * 256)]
    assert talk.answered(hidden(b"let me in", nonce)) == (b"", frame(b"let me in\0", database + 1))
    assert talk.database(frame(OK, database + 2)) == (frame(OK, client + 4), b"")
    assert talk.session.phase is Phase.READY
    talk.asked.clear()


def test_a_password_that_the_server_does_not_know_goes_over_tls(piece: int) -> None:
    give_password(secured(piece), NONCE, client=2, database=3)


def test_change_user_is_not_shifted_but_translated(piece: int) -> None:
    talk = secured(piece)
    talk.database(frame(OK, 3))
    change = frame(bytes((Command.CHANGE_USER,)) + b"other\0\0shop\0\x2d\0caching_sha2_password\0", 0)
    assert talk.client(change) == (b"", change)
    nonce = b"abcdefghijklmnopqrst"
    switch = b"\xfecaching_sha2_password\0" + nonce + b"\0"
    assert talk.database(frame(switch, 1)) == (frame(switch, 1), b"")
    assert talk.client(frame(b"d" * 32, 2)) == (b"", frame(b"d" * 32, 2))
    give_password(talk, nonce, client=3, database=3)
    assert talk.client(frame(b"\x0e", 0)) == (b"", frame(b"\x0e", 0))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (frame(FULL, 3), b"a server's key that it was given beforehand"),
        (frame(b"\xfesha256_password\0" + NONCE + b"\0", 3), b"sha256_password does not pass"),
    ],
    ids=["a key of its own", "sha256_password"],
)
def test_what_cannot_be_translated_is_refused(piece: int, said: bytes, words: bytes) -> None:
    talk = secured(piece)
    told, _ = talk.database(said)
    if words not in told:
        told, sent = talk.client(frame(b"c" * 256, 3))
        assert not sent
    assert words in told
    assert talk.session.phase is Phase.CLOSED


def test_what_was_not_enciphered_for_us_ends_the_connection(piece: int) -> None:
    talk = secured(piece)
    talk.database(frame(FULL, 3))
    talk.client(frame(b"\x02", 3))
    talk.answered(b"the key")
    talk.client(frame(b"c" * 256, 5))
    told, sent = talk.answered(b"garbage")
    assert (told, sent) == (b"", b"")
    assert talk.session.phase is Phase.CLOSED


@pytest.mark.parametrize("mode", [TlsMode.REQUIRED, TlsMode.VERIFY_IDENTITY])
def test_a_server_without_tls_is_refused_before_the_client_says_a_word(piece: int, mode: TlsMode) -> None:
    talk = Talk(Terms(mode), piece)
    told, _ = talk.database(frame(greeting(CAPABILITIES), 0))
    assert told[3:5] == b"\0\xff"
    assert f"offers no TLS and the policy's tls.mode is {mode}".encode() in told
    assert isinstance(talk.asked[-1], Close)


@pytest.mark.parametrize(
    ("mode", "offer"),
    [(TlsMode.DISABLED, SSL), (TlsMode.PREFERRED, 0)],
    ids=["not wanted", "not offered"],
)
def test_without_tls_nothing_is_touched(piece: int, mode: TlsMode, offer: int) -> None:
    talk = Talk(Terms(mode, shows_certificate=mode is not TlsMode.DISABLED), piece)
    to_client, _ = talk.database(frame(greeting(CAPABILITIES | offer), 0))
    assert to_client == frame(offered(CAPABILITIES), 0)
    assert talk.client(frame(response(), 1)) == (b"", frame(response(), 1))
    assert talk.database(frame(OK, 2)) == (frame(OK, 2), b"")
    assert not talk.asked


def test_tls_on_both_sides_shifts_nothing(piece: int) -> None:
    talk = Talk(Terms(TlsMode.REQUIRED, shows_certificate=True), piece)
    to_client, _ = talk.database(frame(greeting(CAPABILITIES | SSL), 0))
    assert to_client == frame(offered(CAPABILITIES | SSL), 0)
    assert talk.client(frame(with_tls()[:32], 1)) == (b"", b"")
    assert talk.asked == [SecureClient()]
    assert talk.answered(None) == (b"", b"")
    assert talk.client(frame(with_tls(), 2)) == (b"", frame(with_tls()[:32], 1))
    assert talk.asked == [SecureClient(), SecureDatabase()]
    assert talk.answered(None) == (b"", frame(with_tls(), 2))
    assert talk.database(frame(FULL, 3)) == (frame(FULL, 3), b"")
    assert talk.client(frame(b"let me in\0", 4)) == (b"", frame(b"let me in\0", 4))
    assert talk.database(frame(OK, 5)) == (frame(OK, 5), b"")
    assert talk.session.phase is Phase.READY


def test_a_failed_handshake_is_told_to_a_client_that_can_hear_it() -> None:
    talk = Talk(Terms(TlsMode.VERIFY_IDENTITY), 0)
    talk.database(frame(greeting(), 0))
    talk.client(frame(response(), 1))
    told, _ = talk.failed(ConnectionError("the certificate is another's"))
    assert told[3] == 2
    assert b"no TLS with the database: the certificate is another's" in told
    talk = Talk(Terms(TlsMode.PREFERRED, shows_certificate=True), 0)
    talk.database(frame(greeting(), 0))
    talk.client(frame(with_tls()[:32], 1))
    assert talk.failed(ConnectionError("the client trusts nobody")) == (b"", b"")
    assert isinstance(talk.asked[-1], Close)


@pytest.mark.parametrize("said", [OK, b"\xfemysql_clear_password\0"], ids=["OK", "another plugin"])
def test_nothing_is_believed_that_comes_in_the_clear_where_tls_should_begin(said: bytes) -> None:
    for begun in (False, True):
        talk = Talk(Terms(TlsMode.PREFERRED), 0)
        talk.database(frame(greeting(), 0))
        if begun:
            talk.client(frame(response(), 1))
        assert talk.database(frame(said, 2)) == (b"", b"")
        assert talk.session.phase is Phase.CLOSED
    talk = Talk(Terms(TlsMode.PREFERRED), 0)
    assert talk.database(frame(greeting(), 0) + frame(said, 1)) == (b"", b"")
    assert talk.session.phase is Phase.CLOSED


def test_a_client_that_goes_on_in_the_clear_is_closed() -> None:
    talk = Talk(Terms(TlsMode.PREFERRED, shows_certificate=True), 0)
    talk.database(frame(greeting(), 0))
    assert talk.client(frame(with_tls()[:32], 1) + frame(with_tls(), 2)) == (b"", b"")
    assert talk.session.phase is Phase.CLOSED
    talk = Talk(Terms(TlsMode.PREFERRED, shows_certificate=True), 0)
    talk.database(frame(greeting(), 0))
    told, _ = talk.client(frame(with_tls(), 1))
    assert b"TLS was not offered" in told


def test_a_client_that_never_waits_is_bounded() -> None:
    talk = Talk(Terms(TlsMode.PREFERRED), 0)
    talk.database(frame(greeting(), 0))
    talk.client(frame(response(), 1))
    talk.client(bytes(300_000))
    assert talk.session.phase is Phase.CLOSED
