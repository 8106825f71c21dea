"""Batches over a connection that is there, and what becomes of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dev.etcd import Etcd
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.batches import Batches
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.errors import EtcdUnavailableError
from globaltx.stores.etcd.requests import Txn, get, put
from tests.stores.cable import Cable
from tests.stores.etcd.peer import Peer
from tests.stores.harness import any_xid, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from globaltx.stores.etcd.requests import Answer

pytestmark = pytest.mark.etcd


class Only(EtcdClient):
    """Makes no request by a task, once it is connected."""

    connected = False

    async def request(self, method: str, message: bytes) -> bytes:
        assert not self.connected
        return await super().request(method, message)


@asynccontextmanager
async def over(*cables: Cable, timeout: float = 10) -> AsyncIterator[tuple[Only, Batches]]:  # noqa: ASYNC109
    access = EtcdAccess(tuple(f"http://127.0.0.1:{each.port}" for each in cables))
    async with Only(access, timeout=timeout) as client:
        await client.revision()
        client.connected = True
        batches = Batches(client)
        yield client, batches
        await batches.close()


def write(batches: Batches, key: str) -> asyncio.Future[Answer]:
    return batches.txn(any_xid("t"), Txn(success=(put(key, "x"), get(key))))


async def test_a_request_needs_no_task(etcd: Etcd, prefix: str) -> None:
    async with Cable(etcd.members[0].ports.client) as cable, over(cable) as (_, batches):
        for count in (1, 3):
            answers = await asyncio.gather(*(write(batches, f"{prefix}{each}") for each in range(count)))
            assert [each.found(1)[0].key for each in answers] == [f"{prefix}{each}" for each in range(count)]
        assert batches._sending is None


async def test_a_member_that_falls_silent_is_told_of_and_connected_to_anew(etcd: Etcd, prefix: str) -> None:
    async with Cable(etcd.members[0].ports.client) as cable, over(cable, timeout=0.5) as (client, batches):
        cable.freeze()
        failed = await asyncio.gather(*(write(batches, prefix) for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in failed] == [EtcdUnavailableError] * 3
        assert "no answer within 0.5 s" in str(failed[0])
        client.connected = False
        cable.mend()
        await write(batches, prefix)
        assert cable.connected == 2


async def test_a_connection_that_is_lost_is_told_of(etcd: Etcd, prefix: str) -> None:
    async with Cable(etcd.members[0].ports.client) as cable, over(cable) as (client, batches):
        cable.freeze()
        writing = [write(batches, f"{prefix}{each}") for each in range(2)]
        await eventually(lambda: batches._asking is not None)
        later = write(batches, prefix)
        client.connected = False
        cable.cut()
        cable.mend()
        for each in writing:
            with pytest.raises(EtcdUnavailableError, match="KV/Txn: "):
                await each
        await later


async def test_a_close_lets_the_call_be(etcd: Etcd, prefix: str) -> None:
    async with Cable(etcd.members[0].ports.client) as cable, over(cable) as (client, batches):
        cable.freeze()
        writing = write(batches, prefix)
        await eventually(lambda: batches._asking is not None)
        later = write(batches, prefix)
        await batches.close()
        assert (writing.cancelled(), later.cancelled()) == (True, True)
        cable.mend()
        client.connected = False
        await client.revision()


async def test_whoever_gives_up_leaves_the_others_alone(etcd: Etcd, prefix: str) -> None:
    async with Cable(etcd.members[0].ports.client) as cable, over(cable) as (_, batches):
        cable.freeze()
        goes, stays = write(batches, f"{prefix}goes"), write(batches, f"{prefix}stays")
        await eventually(lambda: batches._asking is not None)
        goes.cancel()
        cable.mend()
        assert (await stays).succeeded


async def test_what_was_begun_while_another_ended_is_not_forgotten(etcd: Etcd, prefix: str) -> None:
    """Each is followed by the next as soon as it has its answer."""

    async def ten(name: str) -> None:
        for _ in range(10):
            await write(batches, f"{prefix}{name}")

    async with Cable(etcd.members[0].ports.client) as cable, over(cable) as (_, batches):
        await asyncio.gather(*map(ten, "abcdef"))


async def test_a_token_that_is_gone_is_made_anew(tmp_path: Path, prefix: str) -> None:
    with Etcd.up(folder=tmp_path / "etcd", password="secret", durable=False) as etcd:
        async with EtcdClient(EtcdAccess(etcd.endpoints, etcd.credentials)) as client:
            batches = Batches(client)
            await write(batches, prefix)
            for count in (1, 3):
                await write(batches, prefix)
                await asyncio.to_thread(
                    etcd.members[0].ask, "auth/user/changepw", name="root", password="secret"
                )
                writing = [write(batches, f"{prefix}{each}") for each in range(count)]
                assert all(each.succeeded for each in await asyncio.gather(*writing))
            await batches.close()


async def test_an_answer_that_is_none_is_told_and_the_next_one_goes_out() -> None:
    peer = Peer()
    server = await asyncio.start_server(peer.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with EtcdClient(EtcdAccess((f"http://127.0.0.1:{port}",))) as client:
        batches = Batches(client)
        first = write(batches, "k")
        await peer.connected.wait()
        await peer.asked(1)
        peer.answer(1, b"")
        await first
        for stream in (3, 5):
            told = write(batches, "k")
            await peer.asked(stream)
            assert batches._asking is not None
            peer.answer(stream, b"\xff\xff")
            with pytest.raises(EtcdUnavailableError):
                await told
        await batches.close()
    await peer.end()
    server.close()
    await server.wait_closed()
