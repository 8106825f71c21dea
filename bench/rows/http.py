"""`http`: a request that no route names, straight to the application and through a sidecar.

The application answers at once, or after 5 ms, as one that asks a database does. With the first the
CPU of the sidecar is all that counts; the second is the way of a request that has something to do.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from bench import processes
from bench.figures import Figure, ratio, slowdown
from bench.load import Report, Work, send, serving
from dev.progress import step
from globaltx.coordinator.policy import Route
from globaltx.stores.memory import Memory, MemoryStore
from globaltx_sidecar.http import server
from globaltx_sidecar.http.filter import Filter
from globaltx_sidecar.http.initiator import Initiator, Origin
from globaltx_sidecar.http.proxy import Proxy
from globaltx_sidecar.http.requests import Requests
from globaltx_sidecar.http.tries import Tries
from globaltx_sidecar.http.upstream import Upstream
from globaltx_sidecar.metrics import Metrics

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from bench.options import Options
    from bench.processes import Front, Place

TAKES_MS = (0, 5)
LEFT_MIN = 0.6
_CLIENTS = (1, 8)


async def sidecar(place: Place, ready: Connection) -> None:
    """Be the HTTP side of a sidecar."""
    store, metrics = MemoryStore(Memory()), Metrics()
    origin = Origin("bench", "bench", "bench-1", "bench", timedelta(hours=1))
    async with asyncio.TaskGroup() as tasks, Upstream(place.port) as upstream:
        initiator = Initiator(store, origin, tasks)
        tries, requests = Tries(store, "bench", "bench-1", metrics), Requests(store, origin)
        routes = Filter([Route("create", path="/create")])
        proxy = Proxy(upstream, initiator, tries, requests, tasks, metrics, routes)
        front = await server.serve(proxy, processes.HOST, 0)
        ready.send((front.address[1], []))
        await asyncio.Event().wait()


def measure(options: Options) -> list[Figure]:
    """Requests of 1 and 8 clients."""
    figures: list[Figure] = []
    for takes in TAKES_MS:
        with serving("answer", f"-after={takes}ms") as port:
            place = processes.Place(port, "", "", "")
            with processes.running(sidecar, place) as front:
                for clients in _CLIENTS:
                    with step(f"http: {takes} ms, {clients} clients"):
                        figures += _beside(options, clients, takes, (port, front))
    return figures


def _beside(options: Options, clients: int, takes: int, at: tuple[int, Front]) -> list[Figure]:
    port, front = at
    direct: list[Report] = []
    through: list[Report] = []
    cpu: list[float] = []
    for seconds in (min(0.5, options.seconds), *[options.seconds] * options.rounds):  # the first one warms
        direct.append(send(_work(port, clients, seconds)))
        before = front.cpu_seconds()
        through.append(send(_work(front.port, clients, seconds)))
        cpu.append((front.cpu_seconds() - before) / through[-1].done * 1e6)
    name = f"{takes} ms, {clients} {'client' if clients == 1 else 'clients'}"
    rates = [[each.per_second for each in reports[1:]] for reports in (direct, through)]
    p50s = [[each.p50_ms for each in reports[1:]] for reports in (direct, through)]
    least = LEFT_MIN if clients == max(_CLIENTS) else None
    return [
        Figure(f"{name}: direct", "/s", tuple(rates[0]), more_is_better=True),
        Figure(f"{name}: through the sidecar", "/s", tuple(rates[1]), more_is_better=True),
        ratio(f"{name}: left of direct", rates[1], rates[0], least=least),
        slowdown(f"{name}: p50 of direct", p50s[1], p50s[0]),
        Figure(f"{name}: CPU a request, sidecar", "µs", tuple(cpu[1:])),
    ]


def _work(port: int, clients: int, seconds: float) -> Work:
    return Work("call", clients, seconds, url=f"http://{processes.HOST}:{port}/anything")
