"""Two candidates and one Lease on a real API server, with timings made short."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx.stores.kubernetes.client import KubernetesClient
from globaltx.stores.kubernetes.election import Timing
from globaltx.stores.kubernetes.lease import Elector
from globaltx.stores.kubernetes.resource import LEASES
from tests.stores.harness import eventually

if TYPE_CHECKING:
    from globaltx.stores.kubernetes.access import Access
    from tests.stores.cable import Cable

QUICK = Timing(duration=3, renew_deadline=2, retry=0.2)
PATIENT = Timing(duration=60, renew_deadline=40, retry=0.2)


@dataclass
class Candidate:
    """A candidate that notes its terms by the one clock of this machine."""

    elector: Elector
    terms: list[tuple[int, float]] = field(default_factory=list)
    ended_at: list[float] = field(default_factory=list)
    led: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def lead(self, epoch: int) -> None:
        self.terms.append((epoch, time.monotonic()))
        self.led.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.led.clear()
            self.ended_at.append(time.monotonic())

    def start(self) -> None:
        self.task = asyncio.create_task(self.elector.run(self.lead))

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})
        assert self.task.cancelled()


def candidate(
    client: KubernetesClient, namespace: str, identity: str, timing: Timing = QUICK, skew: float = 0.0
) -> Candidate:
    elector = Elector(
        client,
        namespace,
        "leader",
        identity,
        timing=timing,
        clock=lambda: time.monotonic() + skew,
        utc=lambda: datetime.now(UTC) + timedelta(seconds=skew),
    )
    return Candidate(elector)


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(30):
        await event.wait()


async def test_one_of_two_leads_and_a_released_lease_is_taken_at_once(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    one = candidate(kubernetes, namespace, "one", PATIENT)
    two = candidate(kubernetes, namespace, "two", PATIENT)
    one.start()
    await soon(one.led)
    two.start()
    await eventually(lambda: two.elector.claim is not None)
    assert (one.elector.leading, two.elector.leading) == (True, False)
    assert two.elector.claim is not None
    assert two.elector.claim.holder == "one"
    await one.stop()
    assert not one.elector.leading
    await soon(two.led)  # far sooner than the 60 s for which the lease would have held it off
    assert [epoch for epoch, _ in one.terms + two.terms] == [1, 2]
    assert one.ended_at[0] < two.terms[0][1]
    await two.stop()
    lease = await kubernetes.get(LEASES, "leader", namespace)
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("", 2)


async def test_many_candidates_have_one_leader(kubernetes: KubernetesClient, namespace: str) -> None:
    candidates = [candidate(kubernetes, namespace, f"c{number}", PATIENT) for number in range(8)]
    for each in candidates:
        each.start()
    leaders = []
    for _ in range(3):
        waits = [asyncio.create_task(each.led.wait()) for each in candidates if each.task]
        async with asyncio.timeout(30):
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        leading = [each for each in candidates if each.led.is_set()]
        assert len(leading) == 1
        leaders += leading
        for wait in waits:
            wait.cancel()
        await leading[0].stop()
        candidates.remove(leading[0])
    for each in candidates:
        await each.stop()
    epochs = [epoch for each in leaders for epoch, _ in each.terms]
    assert epochs == sorted(set(epochs))


@pytest.mark.parametrize("skew", [-(10**6), 10**6])
async def test_a_killed_leader_is_followed_whatever_the_clocks_say(
    access: Access, kubernetes: KubernetesClient, namespace: str, skew: float
) -> None:
    async with KubernetesClient(access) as doomed:
        one = candidate(doomed, namespace, "one")
        one.start()
        await soon(one.led)
        two = candidate(kubernetes, namespace, "two", skew=skew)
        two.start()
        await eventually(lambda: two.elector.claim is not None)
        one.elector._release = _nothing  # type: ignore[method-assign]  # killed, it cannot release
        await one.stop()
        spec = (await kubernetes.get(LEASES, "leader", namespace))["spec"]
        await soon(two.led)
    since = (
        time.time()
        - time.monotonic()
        + two.terms[0][1]
        - datetime.fromisoformat(spec["renewTime"]).timestamp()
    )
    assert (spec["holderIdentity"], since > QUICK.duration) == ("one", True)
    assert [epoch for epoch, _ in two.terms] == [2]
    await two.stop()


async def _nothing() -> None:
    pass


@pytest.mark.parametrize("how", ["cut", "freeze"])
async def test_a_leader_that_lost_the_api_server_stops_before_another_starts(
    kubernetes: KubernetesClient, namespace: str, by_cable: Access, cable: Cable, how: str
) -> None:
    async with KubernetesClient(by_cable) as client:
        one = candidate(client, namespace, "one")
        two = candidate(kubernetes, namespace, "two")
        one.start()
        await soon(one.led)
        two.start()
        getattr(cable, how)()
        await soon(two.led)
        assert not one.elector.leading
        assert one.ended_at[0] < two.terms[0][1]
        cable.mend()
        await eventually(lambda: one.elector.claim is not None and one.elector.claim.holder == "two")
        assert len(one.terms) == 1
        await two.stop()
        async with asyncio.timeout(30):
            await one.led.wait()
        assert [epoch for epoch, _ in one.terms] == [1, 3]
        await one.stop()


async def test_a_short_outage_does_not_end_a_term(namespace: str, by_cable: Access, cable: Cable) -> None:
    timing = Timing(duration=60, renew_deadline=40, retry=0.1)
    async with KubernetesClient(by_cable, timeout=1) as client:
        one = candidate(client, namespace, "one", timing)
        one.start()
        await soon(one.led)
        cable.cut()
        before = cable.refused
        await eventually(lambda: cable.refused >= before + 3)  # renewals have failed
        cable.mend()
        connected = cable.connected
        await eventually(lambda: cable.connected > connected)  # and come through again
        assert one.elector.leading
        assert len(one.terms) == 1
        await one.stop()


async def test_a_lease_that_somebody_else_took_ends_the_term(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    one = candidate(kubernetes, namespace, "one")
    one.start()
    await soon(one.led)
    taken = {"spec": {"holderIdentity": "a person", "leaseTransitions": 7, "leaseDurationSeconds": 1}}
    await kubernetes.patch(LEASES, "leader", taken, namespace)
    await eventually(lambda: bool(one.ended_at))
    await soon(one.led)
    assert [epoch for epoch, _ in one.terms] == [1, 8]
    await one.stop()


async def test_a_foreign_write_that_leaves_us_the_lease_is_no_loss(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    async def version_of() -> str:
        return str((await kubernetes.get(LEASES, "leader", namespace))["metadata"]["resourceVersion"])

    one = candidate(kubernetes, namespace, "one")
    one.start()
    await soon(one.led)
    await kubernetes.patch(LEASES, "leader", {"metadata": {"labels": {"seen": "yes"}}}, namespace)
    version = await version_of()

    async def renewed() -> bool:
        return await version_of() != version

    await eventually(renewed)
    assert (one.elector.leading, len(one.terms)) == (True, 1)
    await one.stop()


async def test_a_deleted_lease_ends_the_term(kubernetes: KubernetesClient, namespace: str) -> None:
    one = candidate(kubernetes, namespace, "one")
    one.start()
    await soon(one.led)
    await kubernetes.delete(LEASES, "leader", namespace)
    await eventually(lambda: len(one.terms) == 2)
    assert [epoch for epoch, _ in one.terms] == [1, 2]
    await one.stop()


async def test_work_that_ends_gives_the_lease_back(kubernetes: KubernetesClient, namespace: str) -> None:
    async def work(_epoch: int) -> None:
        assert elector.leading

    elector = Elector(kubernetes, namespace, "leader", "one", timing=QUICK)
    await elector.run(work)
    assert not elector.leading
    assert (await kubernetes.get(LEASES, "leader", namespace))["spec"]["holderIdentity"] == ""


async def test_work_that_fails_gives_the_lease_back_and_is_told(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    async def work(_epoch: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Elector(kubernetes, namespace, "leader", "one", timing=QUICK).run(work)
    assert (await kubernetes.get(LEASES, "leader", namespace))["spec"]["holderIdentity"] == ""


async def test_the_lease_is_held_until_the_work_has_ended(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    """Work that takes longer to end than the lease is valid is renewed meanwhile."""
    ending, may_end = asyncio.Event(), asyncio.Event()

    async def work(_epoch: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await may_end.wait()

    one = Elector(kubernetes, namespace, "leader", "one", timing=QUICK)
    two = candidate(kubernetes, namespace, "two")
    running = asyncio.create_task(one.run(work))
    await eventually(lambda: one.leading)
    two.start()
    running.cancel()
    await soon(ending)
    since = time.monotonic()
    while time.monotonic() < since + QUICK.duration + 1:
        assert one.leading
        assert not two.led.is_set()
        await asyncio.sleep(0.05)
    may_end.set()
    await asyncio.wait({running})
    assert running.cancelled()
    await soon(two.led)
    await two.stop()
