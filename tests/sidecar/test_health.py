from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from globaltx_sidecar.health import Health
from globaltx_sidecar.metrics import Metrics

if TYPE_CHECKING:
    import pytest


def test_readiness_is_made_of_what_is_needed_and_of_nothing_else() -> None:
    health = Health(Metrics())
    assert health.detail() == {"ready": True, "parts": {}}
    health.need("http")
    health.waits("store", "StoreUnavailable", "connection refused")
    assert health.detail()["ready"] is False
    health.ok("http")
    assert health.detail() == {
        "ready": True,
        "parts": {
            "http": {"up": True, "reason": "", "message": ""},
            "store": {"up": False, "reason": "StoreUnavailable", "message": "connection refused"},
        },
    }


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    health = Health(Metrics())
    for attempt in range(3):
        health.waits("store", "StoreUnavailable", f"attempt {attempt}")
    for _ in range(3):
        health.ok("store")
    health.waits("store", "StoreRefused", "forbidden")
    assert [record.getMessage() for record in caplog.records] == [
        "store waits: StoreUnavailable: attempt 0",
        "store is up",
        "store waits: StoreRefused: forbidden",
    ]


def test_the_metric_follows_and_a_part_that_is_gone_is_forgotten() -> None:
    metrics = Metrics()
    health = Health(metrics)
    health.waits("store", "StoreUnavailable", "")
    assert metrics.registry.get_sample_value("globaltx_sidecar_part_up", {"part": "store"}) == 0
    health.ok("store")
    assert metrics.registry.get_sample_value("globaltx_sidecar_part_up", {"part": "store"}) == 1
    health.gone("store")
    health.gone("store")
    assert metrics.registry.get_sample_value("globaltx_sidecar_part_up", {"part": "store"}) is None
    assert health.detail() == {"ready": True, "parts": {}}
