"""One of three members loses its data, and is replaced by the steps of docs/stores.md."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dev.etcd import Etcd
from dev.waiting import wait_for
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.store import EtcdStore
from globaltx.transaction.model import Mode
from tests.stores.harness import COMMIT, any_xid, branch, eventually, transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from dev.etcd import Member
    from globaltx.transaction.xid import Xid

pytestmark = pytest.mark.etcd


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Etcd]:
    """Three members behind TLS and a password, to be broken."""
    with Etcd.up(folder=tmp_path / "etcd", members=3, tls=True, password="secret", durable=False) as etcd:
        yield etcd


@pytest.fixture
async def store(broken: Etcd, prefix: str) -> AsyncIterator[EtcdStore]:
    async with EtcdClient(EtcdAccess(broken.endpoints, broken.credentials)) as client:
        made = EtcdStore(client, "t", prefix=prefix, repeat_for=60)
        yield made
        await made.close()


def replace(etcd: Etcd, lost: Member) -> None:
    """Have the others take the lost one for a new one, as `etcdctl member remove` and `add` do."""
    living = etcd.leader
    [known] = [each for each in living.ask("cluster/member/list")["members"] if each["name"] == lost.name]
    living.ask("cluster/member/remove", ID=known["ID"])
    wait_for("the new member to be taken in", lambda: _added(living, known["peerURLs"]))


def _added(living: Member, urls: list[str]) -> bool:
    try:
        living.ask("cluster/member/add", peerURLs=urls)
    except OSError:  # it has just been removed, and the others have not all heard of it
        return False
    return True


def lost_for_good(member: Member) -> bool:
    return member.process is None and "has already been bootstrapped" in member.log


async def committed(store: EtcdStore) -> Xid:
    xid = any_xid("t")
    await store.begin(transaction(xid))
    await store.join(branch(xid), Mode.AT)
    await store.decide(xid, COMMIT)
    return xid


async def test_a_lost_member_is_replaced_while_transactions_go_on(broken: Etcd, store: EtcdStore) -> None:
    lost, _, third = broken.members
    known = [await committed(store)]
    await asyncio.to_thread(lost.lose)
    known.append(await committed(store))
    await asyncio.to_thread(lost.start, wait=False)
    await eventually(lambda: lost_for_good(lost))  # it does not come back by itself
    await asyncio.to_thread(replace, broken, lost)
    known.append(await committed(store))
    await asyncio.to_thread(lost.lose)
    await asyncio.to_thread(lost.start, joins=True)
    await asyncio.to_thread(third.crash)  # so that nothing is agreed on without it
    known.append(await committed(store))
    assert all([(await store.read(xid)).transaction.decision for xid in known])
    await asyncio.to_thread(lost.crash)
    await asyncio.to_thread(third.start)
    await asyncio.to_thread(lost.start)  # from now on it starts as any other
    await committed(store)


async def test_a_new_etcd_is_no_member(broken: Etcd, store: EtcdStore) -> None:
    """Why a lost member must be told that it joins: by itself it would begin as in the first hour."""
    lost = broken.members[0]
    await asyncio.to_thread(lost.lose)
    await asyncio.to_thread(replace, broken, lost)
    await asyncio.to_thread(lost.start, wait=False)
    await eventually(lambda: lost.process is None and "permanently removed" in lost.log)
    await committed(store)
