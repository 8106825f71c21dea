"""The authority of an etcd's certificates is replaced, by the steps of docs/stores.md."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dev.etcd import Etcd
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.store import EtcdStore
from globaltx.transaction.model import Mode
from tests.stores.harness import COMMIT, any_xid, branch, eventually, first, transaction

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.etcd


async def test_all_members_restart_at_once_and_no_sidecar_does(tmp_path: Path, prefix: str) -> None:
    with Etcd.up(folder=tmp_path / "etcd", members=3, tls=True, durable=False) as etcd:
        async with EtcdClient(EtcdAccess(etcd.endpoints, etcd.credentials)) as client:
            store, xid = EtcdStore(client, "t", prefix=prefix, repeat_for=60), any_xid("t")
            await store.begin(transaction(xid))
            await store.join(branch(xid), Mode.AT)
            watching = asyncio.create_task(first(store, "shop", 1))
            etcd.renew()
            for each in etcd.members:
                await asyncio.to_thread(each.crash)
            await asyncio.gather(*(asyncio.to_thread(each.start) for each in etcd.members))
            await store.decide(xid, COMMIT)
            assert (await watching)[0].id.xid == xid
            await store.close()


async def test_a_member_that_restarts_alone_finds_no_others(tmp_path: Path) -> None:
    """It trusts the new authority only, they the old one; so a rolling restart would wait for ever."""
    with Etcd.up(folder=tmp_path / "etcd", members=3, tls=True, durable=False) as etcd:
        etcd.renew()
        alone = etcd.members[2]
        await asyncio.to_thread(alone.crash)
        await asyncio.to_thread(alone.start, wait=False)
        await eventually(lambda: "rejected connection on peer endpoint" in alone.log)
        with pytest.raises(OSError, match=r"timed out|50\d|certificate"):
            await asyncio.to_thread(alone.ask, "kv/range", key="YQ==")
