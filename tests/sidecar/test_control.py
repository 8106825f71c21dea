from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from globaltx_sidecar import control
from globaltx_sidecar.health import Health
from globaltx_sidecar.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def served(health: Health, metrics: Metrics) -> AsyncIterator[str]:
    endpoint = await control.serve(health, metrics, "127.0.0.1", 0)
    try:
        host, port = endpoint.address
        yield f"http://{host}:{port}"
    finally:
        await endpoint.stop()


async def test_readiness_is_a_status_and_says_what_it_waits_for() -> None:
    metrics = Metrics()
    health = Health(metrics)
    health.need("http")
    async with served(health, metrics) as url, aiohttp.ClientSession() as session:
        async with session.get(url + "/readyz") as answer:
            assert answer.status == 503
            assert json.loads(await answer.text())["parts"]["http"]["reason"] == "Starting"
        health.ok("http")
        async with session.get(url + "/readyz") as answer:
            assert answer.status == 200
        async with session.get(url + "/metrics") as answer:
            assert 'globaltx_sidecar_part_up{part="http"} 1.0' in await answer.text()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/healthz", 200), ("HEAD", "/healthz", 200), ("GET", "/other", 404), ("POST", "/readyz", 405)],
)
async def test_what_else_it_answers(method: str, path: str, status: int) -> None:
    metrics = Metrics()
    async with (
        served(Health(metrics), metrics) as url,
        aiohttp.ClientSession() as session,
        session.request(method, url + path) as answer,
    ):
        assert answer.status == status
