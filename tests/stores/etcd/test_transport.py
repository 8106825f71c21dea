from __future__ import annotations

import asyncio
import shutil
import socket
from contextlib import ExitStack, asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dev.cluster.certificates import Pair, issue
from dev.etcd import Etcd
from globaltx.stores.etcd import messages, transport
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.errors import EtcdRefusedError, EtcdUnavailableError
from globaltx.stores.etcd.requests import Txn, get, put
from globaltx.stores.etcd.transport import Transport
from tests.ports import LOOPBACK
from tests.stores.cable import Cable
from tests.stores.etcd.peer import Peer
from tests.stores.harness import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.etcd
QUESTION = messages.count_none()
MIB = 1 << 20


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """One member behind TLS and a password."""
    folder = tmp_path_factory.mktemp("etcd") / "etcd"
    with Etcd.up(folder=folder, tls=True, password="secret", durable=False) as etcd:
        yield etcd


@asynccontextmanager
async def entering(etcd: Etcd, folder: Path | None) -> AsyncIterator[EtcdClient]:
    async with EtcdClient(EtcdAccess(etcd.endpoints, folder), timeout=10) as made:
        yield made


def certificate(etcd: Etcd, name: str, folder: Path) -> Path:
    """A folder with a certificate of that common name, and no user nor password."""
    folder.mkdir()
    pki = etcd.folder / "pki"
    authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    key = load_pem_private_key((pki / "ca.key").read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    issue(Pair(authority, key), name).write(folder, "tls")
    shutil.copy(pki / "ca.crt", folder)
    return folder


async def test_a_certificate_may_have_a_common_name_that_is_no_user(closed: Etcd, prefix: str) -> None:
    async with entering(closed, closed.credentials) as client:
        answer = await client.txn(Txn(success=(put(prefix, "x"), get(prefix))))
        assert answer.found(1)[0].value == "x"


async def test_a_certificate_may_be_who_it_is(closed: Etcd, prefix: str, tmp_path: Path) -> None:
    async with entering(closed, certificate(closed, "root", tmp_path / "root")) as client:
        await client.txn(Txn(success=(put(prefix, "x"),)))
    async with entering(closed, certificate(closed, "nobody", tmp_path / "nobody")) as client:
        with pytest.raises(EtcdRefusedError, match=r"permission denied|user name not found"):
            await client.revision()


@pytest.mark.parametrize("first", ["watch", "call"])
async def test_a_token_that_is_gone_is_made_anew(closed: Etcd, prefix: str, first: str) -> None:
    async with entering(closed, closed.credentials) as client:
        revision = await client.revision()
        [member] = closed.members
        await asyncio.to_thread(member.ask, "auth/user/changepw", name="root", password="secret")
        if first == "call":
            await client.revision()
        opened = asyncio.Event()
        watch = client.watch(prefix, revision + 1, opened=opened.set)
        watching = asyncio.ensure_future(anext(watch))
        await eventually(lambda: watching.done() or opened.is_set())
        await client.txn(Txn(success=(put(prefix, "x"),)))
        assert [each.key_value.value for each in (await watching).changes] == ["x"]
        await watch.aclose()


async def test_all_goes_over_one_connection(etcd: Etcd, prefix: str) -> None:
    async with Cable(etcd.members[0].ports.client) as cable, over(cable) as client:
        watch = client.watch(prefix, await client.revision() + 1)
        watching = asyncio.ensure_future(anext(watch))
        keys = [f"{prefix}{number}" for number in range(100)]
        await asyncio.gather(*(client.txn(Txn(success=(put(each, "x"),))) for each in keys))
        assert (await watching).changes
        assert len((await client.list(prefix)).found) == 100
        await watch.aclose()
        assert cable.connected == 1


@asynccontextmanager
async def over(*cables: Cable, timeout: float = 10) -> AsyncIterator[EtcdClient]:  # noqa: ASYNC109
    """A client that begins with the first of them."""
    access = EtcdAccess(tuple(f"http://127.0.0.1:{each.port}" for each in cables))
    async with EtcdClient(access, timeout=timeout) as made:
        made._transport = Transport(access, timeout, 16, chance=lambda: 0.0)
        yield made


async def test_large_answers_and_requests_pass(etcd: Etcd, prefix: str) -> None:
    async with entering(etcd, None) as client:
        values = [chr(ord("a") + number) * MIB for number in range(12)]
        await asyncio.gather(
            *(client.txn(Txn(success=(put(f"{prefix}{value[0]}", value),))) for value in values)
        )
        assert [each.value for each in (await client.list(prefix)).found] == values


async def test_what_is_too_large_for_etcd_is_refused_and_harms_no_other(etcd: Etcd, prefix: str) -> None:
    async with entering(etcd, None) as client:
        calls = [client.txn(Txn(success=(put(prefix, size * "x"),))) for size in (3 * MIB, 10, 2 * MIB, 20)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(each, EtcdRefusedError) for each in answers] == [True, False, True, False]


async def test_what_etcd_does_not_know_is_refused(etcd: Etcd) -> None:
    async with entering(etcd, None) as client:
        with pytest.raises(EtcdRefusedError, match="unknown method"):
            await client.request("KV/Nothing", b"")


async def test_a_call_that_is_given_up_leaves_the_connection_to_others(etcd: Etcd, prefix: str) -> None:
    async with Cable(etcd.members[0].ports.client) as cable, over(cable) as client:
        await client.revision()
        asking = [asyncio.create_task(client.txn(Txn(success=(put(prefix, "x"),)))) for _ in range(20)]
        await asyncio.sleep(0)
        for each in asking[::2]:
            each.cancel()
        done = await asyncio.gather(*asking, return_exceptions=True)
        assert all(not isinstance(each, BaseException) for each in done[1::2])
        await client.revision()
        assert cable.connected == 1


async def test_a_silent_connection_is_replaced_after_one_call(etcd: Etcd) -> None:
    async with Cable(etcd.members[0].ports.client) as cable, over(cable, timeout=0.5) as client:
        await client.revision()
        cable.freeze()
        with pytest.raises(EtcdUnavailableError, match=r"no answer within 0.5 s"):
            await client.revision()
        cable.mend()
        await client.revision()
        assert cable.connected == 2


async def test_calls_that_fail_together_go_to_the_next_member_and_not_past_it(etcd: Etcd) -> None:
    port = etcd.members[0].ports.client
    async with Cable(port) as first, Cable(port) as second, over(first, second, timeout=0.5) as client:
        await client.revision()
        first.freeze()
        failed = await asyncio.gather(*(client.revision() for _ in range(2)), return_exceptions=True)
        assert all(isinstance(each, EtcdUnavailableError) for each in failed)
        await client.revision()
        assert (first.connected, second.connected) == (1, 1)


async def test_a_member_that_cannot_be_reached_costs_nothing(etcd: Etcd) -> None:
    port = etcd.members[0].ports.client
    async with Cable(port) as first:
        pass
    async with Cable(port) as second, over(first, second) as client:
        await client.revision()
        assert second.connected == 1


@asynccontextmanager
async def peer() -> AsyncIterator[tuple[Peer, EtcdClient]]:
    made = Peer()
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with EtcdClient(EtcdAccess((f"http://127.0.0.1:{port}",)), timeout=0.5) as client:
        yield made, client
    await made.end()
    server.close()
    await server.wait_closed()


async def test_a_member_that_says_nothing_to_who_connects_is_waited_for_once(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits meanwhile goes to the next one too, instead of trying the same once more."""
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT", 0.3)
    with closing(socket.create_server((LOOPBACK, 0), backlog=0)) as deaf, ExitStack() as full:
        place = deaf.getsockname()
        for _ in range(2):  # what it has room for; it answers no other
            waiting = full.enter_context(closing(socket.socket()))
            waiting.settimeout(0)
            waiting.connect_ex(place)
        endpoints = (f"http://{LOOPBACK}:{place[1]}", *etcd.endpoints)
        asked = Transport(EtcdAccess(endpoints), 10, at_once=100, chance=lambda: 0.0)
        told = await asyncio.gather(
            *(asked.request(messages.RANGE, QUESTION) for _ in range(100)), return_exceptions=True
        )
        await asked.close()
    assert [each for each in told if isinstance(each, BaseException)] == []


async def test_a_member_that_answers_others_is_not_left_for_one_slow_call() -> None:
    async with peer() as (made, client):
        slow = asyncio.create_task(client.revision())
        await made.connected.wait()
        await made.asked(1)
        asked = 1
        while not slow.done():
            quick = asyncio.create_task(client.request("KV/Quick", b""))
            asked += 2
            await made.asked(asked)
            made.answer(asked, b"")
            await quick
            await asyncio.wait({slow}, timeout=0.1)
        with pytest.raises(EtcdUnavailableError, match="no answer within"):
            await slow
        await made.hears(lambda server: server.requests[1].reset == 8)
        quick = asyncio.create_task(client.request("KV/Quick", b""))
        await made.asked(asked + 2)
        made.answer(asked + 2, b"fine")
        assert await quick == b"fine"


@pytest.mark.parametrize(
    ("said", "stays"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True),
        (b"\x15\x03\x03\x00\x02\x02\x28", False),  # TLS says so, and leaves; it is no whole frame
        (b"SSH-2.0-x\r\n", True),
    ],
)
async def test_what_is_no_etcd_is_told(said: bytes, *, stays: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        if stays:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, EtcdClient(EtcdAccess((f"http://127.0.0.1:{port}",)), timeout=10) as client:
        with pytest.raises(EtcdUnavailableError, match=r"KV/Range: ") as told:
            await client.revision()
    assert "no answer within" not in str(told.value)


async def test_answers_that_are_none_are_told() -> None:
    async with peer() as (made, client):
        asking = asyncio.create_task(client.txn(Txn(success=(get("x"),))))
        await made.connected.wait()
        await made.asked(1)
        made.answer(1, b"\xff\xff")
        with pytest.raises(EtcdUnavailableError):
            await asking
        asking = asyncio.create_task(client.txn(Txn(success=(get("x"),))))
        await made.asked(3)
        made.answer(3, b"")
        with pytest.raises(EtcdUnavailableError):
            (await asking).found(0)
