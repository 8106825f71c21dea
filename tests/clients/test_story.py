"""Drivers of other languages, each in its ways of working, through a sidecar on a real database."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.policy import Datasource
from globaltx.transaction.states import Outcome, State
from globaltx_sidecar.branch.database import Database
from globaltx_sidecar.branch.phase_two import PhaseTwo
from globaltx_sidecar.branch.schemas import CachedSchemas
from tests.clients import story
from tests.clients.conversation import ClientError
from tests.clients.programs import DRIVERS
from tests.sidecar.mysql.harness import RESOURCE, WAIT_SECONDS, hint, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dev.databases import Server
    from globaltx.transaction.model import Settlement
    from globaltx.transaction.xid import Xid
    from tests.clients.conversation import Client
    from tests.clients.programs import Driver
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


def test_a_commit_keeps_all_and_forgets_how_to_undo_it(client: Client, proxy: Proxy) -> None:
    xid = proxy.begin()
    client.begin()
    client.execute(f"{marked(xid)('UPDATE')} item SET amount = ? WHERE id = ?", 1, 1)
    client.execute(f"{marked(xid)('INSERT')} INTO item (name) VALUES (?)", "pin")
    client.execute(f"{marked(xid)('DELETE')} FROM item WHERE name = ?", "washer")
    client.commit()
    proxy.decide(xid, Outcome.COMMIT)
    proxy.carry_out(xid, Outcome.COMMIT)
    assert proxy.place.rows("SELECT name, amount FROM item ORDER BY id") == [
        ("bolt", 1),
        ("nut", 200),
        ("pin", 0),
    ]
    assert proxy.place.rows("SELECT * FROM globaltx_undo") == []


@pytest.mark.parametrize("column", story.LARGE_UPDATES)
async def test_megabytes_go_both_ways_and_are_restored(
    client: Client, proxy: Proxy, credentials: Path, column: str
) -> None:
    xid, small = proxy.begin(), story.contents(proxy.place)
    value: str | bytes = story.LARGE_UPDATES[column]
    update = f"{{}} document SET {column} = ? WHERE code = ?"
    client.execute(update.format(marked(xid)("UPDATE")), value, "old")
    data = value.encode() if isinstance(value, str) else value
    expected = len(data), hashlib.sha256(data).hexdigest()
    question = f"SELECT {column} FROM document WHERE code = ?"
    assert client.digest(question, "old") == expected
    proxy.decide(xid, Outcome.ROLLBACK)
    assert (await rolled_back(proxy.place, credentials, xid)).state is State.ROLLED_BACK
    assert story.contents(proxy.place) == small
    client.execute(update.format("UPDATE"), value, "old")
    undone = proxy.begin()
    client.execute(update.format(marked(undone)("UPDATE")), None, "old")
    proxy.decide(undone, Outcome.ROLLBACK)
    assert (await rolled_back(proxy.place, credentials, undone)).state is State.ROLLED_BACK
    assert client.digest(question, "old") == expected


@pytest.mark.parametrize("outcome", Outcome)
def test_the_second_waits_and_follows_the_outcome_of_the_first(
    patient_client: Client, patient: Proxy, outcome: Outcome
) -> None:
    first, second = patient.begin(), patient.begin()
    with patient.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(first)} item SET amount = 1 WHERE id = 1")
    asked = threading.Event()

    async def hook(call: str, when: str) -> None:
        if (call, when) == ("read", "after"):
            asked.set()

    patient_client.begin()
    patient_client.execute(f"{marked(second)('UPDATE')} item SET amount = ? WHERE id = ?", 2, 1)
    patient.store._hook = hook

    def decide() -> None:
        assert asked.wait(WAIT_SECONDS)
        patient.decide(first, outcome)

    deciding = threading.Thread(target=decide)
    deciding.start()
    if outcome is Outcome.COMMIT:
        patient_client.commit()
    else:
        with pytest.raises(ClientError) as gave_way:
            patient_client.commit()
        assert gave_way.value.code == 1213, gave_way.value
        patient_client.rollback()
    deciding.join()
    assert patient_client.query("SELECT amount FROM item WHERE id = 1") == [
        ["2" if outcome is Outcome.COMMIT else "1"]
    ]


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


def test_the_pool_recovers_from_a_restart_of_the_database(
    driver: Driver, client: Client, proxy: Proxy, server: Server
) -> None:
    xid = proxy.begin()
    update = f"{marked(xid)('UPDATE')} item SET amount = ? WHERE id = ?"
    assert client.pooled(update, 1, 1)["affected"] == 1
    server.restart()
    story.introduce(driver, proxy.place)
    wait_until(lambda: _is_pooled(client, update, 2, 1))
    assert client.pooled(update, 3, 2)["affected"] == 1
    assert proxy.place.rows("SELECT amount FROM item ORDER BY id") == [(2,), (3,), (300,)]


def _is_pooled(client: Client, update: str, *parameters: int) -> bool:
    """Whether the pool's connection works; while it does not, the driver says so."""
    try:
        client.pooled(update, *parameters)
    except ClientError:
        return False
    return True


@pytest.mark.parametrize(
    "driver", [each for each in DRIVERS if each.orm], ids=lambda each: each.name, indirect=True
)
async def test_what_an_orm_maps_is_undone(
    client: Client, direct: Client, proxy: Proxy, twin: Place, credentials: Path
) -> None:
    """As it likes to: with INSERT ... RETURNING, where the server has it."""
    before = story.contents(proxy.place)
    xid = proxy.begin()
    client.ask("orm", xid=str(xid))
    expected = direct.ask("orm", xid=None)
    assert client.query("SELECT name, amount FROM item ORDER BY id") == [
        [name, str(amount)] for name, amount in expected["done"][-1]
    ]
    assert story.contents(proxy.place) == story.contents(twin) != before
    proxy.decide(xid, Outcome.ROLLBACK)
    settlement = await rolled_back(proxy.place, credentials, xid)
    assert settlement.state is State.ROLLED_BACK, settlement
    assert story.contents(proxy.place) == before
