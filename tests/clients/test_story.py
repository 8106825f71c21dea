"""Drivers of other languages, each in its ways of working, through a sidecar on a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.policy import Datasource
from globaltx.transaction.states import Outcome, State
from globaltx_sidecar.branch.database import Database
from globaltx_sidecar.branch.phase_two import PhaseTwo
from globaltx_sidecar.branch.schemas import CachedSchemas
from tests.clients import story
from tests.clients.conversation import ClientError
from tests.sidecar.mysql.harness import RESOURCE, hint, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dev.databases import Server
    from globaltx.transaction.model import Settlement
    from globaltx.transaction.xid import Xid
    from tests.clients.conversation import Client
    from tests.sidecar.mysql.harness import Place, Proxy

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def marked(xid: Xid) -> Callable[[str], str]:
    return lambda verb: f"{verb} {hint(xid)}"


async def rolled_back(place: Place, credentials: Path, xid: Xid) -> Settlement:
    """Phase two, as the sidecar carries it out."""
    datasource = Datasource(name=RESOURCE, host=place.host, schema=place.schema, secret="-", port=place.port)
    database = Database(datasource, str(credentials))
    try:
        return await PhaseTwo(database, CachedSchemas(database)).rollback(xid)
    finally:
        database.close()


def test_without_an_xid_all_is_as_without_us(
    client: Client, direct: Client, place: Place, twin: Place
) -> None:
    assert story.changes(client, story.unmarked) == story.changes(direct, story.unmarked)
    assert story.contents(place) == story.contents(twin)


async def test_with_an_xid_all_looks_the_same_and_the_outcome_restores_it(
    client: Client, direct: Client, proxy: Proxy, twin: Place, credentials: Path, refused_batches: list[str]
) -> None:
    before = story.contents(proxy.place)
    xid = proxy.begin()
    told = story.changes(client, marked(xid), refused_batches)
    assert told == story.changes(direct, story.unmarked, refused_batches)
    assert story.contents(proxy.place) == story.contents(twin)
    assert [branch.id.resource for branch in proxy.read(xid).branches] == [RESOURCE]
    proxy.decide(xid, Outcome.ROLLBACK)
    settlement = await rolled_back(proxy.place, credentials, xid)
    assert settlement.state is State.ROLLED_BACK, settlement
    assert story.contents(proxy.place) == before


def test_a_row_of_another_transaction_is_told_as_lock_wait_timeout(client: Client, proxy: Proxy) -> None:
    holder, waiting = proxy.begin(), proxy.begin()
    client.execute(f"{marked(holder)('UPDATE')} item SET amount = ? WHERE id = ?", 1, 1)
    with pytest.raises(ClientError) as timed_out:
        client.execute(f"{marked(waiting)('UPDATE')} item SET amount = ? WHERE id = ?", 2, 1)
    assert timed_out.value.code == 1205, timed_out.value
    assert client.query("SELECT amount FROM item WHERE id = 1") == [["1"]]
    proxy.decide(holder, Outcome.ROLLBACK)
    with pytest.raises(ClientError) as gave_way:
        client.execute(f"{marked(waiting)('UPDATE')} item SET amount = ? WHERE id = ?", 3, 1)
    assert gave_way.value.code == 1213, gave_way.value


def test_a_refusal_is_told_with_its_reason(client: Client, proxy: Proxy) -> None:
    with pytest.raises(ClientError) as refused:
        client.execute(f"{marked(proxy.begin())('CREATE')} TABLE other (id INT)")
    assert refused.value.code == 1105, refused.value
    assert "globaltx: " in refused.value.message
    assert client.query("SELECT COUNT(*) FROM item") == [["3"]]


@pytest.mark.parametrize("local", [False, True], ids=["autocommit", "local transaction"])
def test_a_batch_is_undone_or_refused_before_it_changes_anything(
    client: Client, proxy: Proxy, refused_batches: list[str], *, local: bool
) -> None:
    before = story.contents(proxy.place)
    update = f"{marked(proxy.begin())('UPDATE')} item SET amount = ? WHERE id = ?"
    rows = [(7, number % 3 + 1) for number in range(20)]
    if local:
        client.begin()
    if "UPDATE" not in refused_batches:
        client.batch(update, *rows)
    else:
        with pytest.raises(ClientError) as refused:
            client.batch(update, *rows)
        assert "globaltx: StatementNotUndoable: " in refused.value.message
        assert story.contents(proxy.place) == before
        story.one_by_one(client, update, *rows)
    if local:
        client.commit()
    assert client.query("SELECT amount FROM item ORDER BY id") == [["7"], ["7"], ["7"]]


def test_a_lost_connection_is_noticed_and_made_anew(client: Client, proxy: Proxy, server: Server) -> None:
    xid = proxy.begin()
    client.begin()
    client.execute(f"{marked(xid)('UPDATE')} item SET amount = ? WHERE id = ?", 1, 1)
    [[connection_id]] = client.query("SELECT CONNECTION_ID()")
    server.execute(f"KILL {connection_id}")
    processes = f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {connection_id}"
    wait_until(lambda: server.execute(processes).strip() == "0")
    with pytest.raises(ClientError):
        client.query("SELECT 1")
    client.connect()
    assert client.query("SELECT amount FROM item WHERE id = ?", 1) == [["100"]]
    client.execute(f"{marked(xid)('UPDATE')} item SET amount = ? WHERE id = ?", 2, 1)
    assert client.query("SELECT amount FROM item WHERE id = ?", 1) == [["2"]]
