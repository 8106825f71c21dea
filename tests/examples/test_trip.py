"""The trip's manifests: the policies fit the programs, and every pod would get its sidecar."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from globaltx_operator.webhook.validate import saga_refusal
from tests.examples.manifests import Example

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = Example("03-saga-trip")


def test_every_pod_is_injected_with_the_routes_of_its_policy() -> None:
    providers = {each: ["book"] for each in ("flight", "hotel", "payment")}
    assert EXAMPLE.routes() == {"trip": ["trip"], **providers}


def test_every_path_of_the_policy_is_one_of_the_provider_s_program() -> None:
    program = (EXAMPLE.folder / "services" / "provider.py").read_text()
    served = re.findall(r'@app\.post\("(.+?)"\)', program)
    routes = [route for each in EXAMPLE.policies() if each.http for route in each.http.routes if route.saga]
    assert [path for route in routes if route.saga for path in (route.path, route.saga.compensate)] == served


@pytest.mark.parametrize(
    "file", sorted((EXAMPLE.folder / "declared").glob("*.yaml")), ids=lambda file: file.stem
)
def test_a_declared_trip_is_one_that_the_webhook_lets_through(file: Path) -> None:
    (policy,) = (each for each in EXAMPLE.of_kind("TransactionPolicy") if each["metadata"]["name"] == "trip")
    saga = yaml.safe_load(file.read_text())
    assert saga["spec"]["policy"] == "trip"
    assert saga_refusal(saga, policy) is None
    assert saga_refusal(saga, policy | {"spec": {"http": {"port": "http"}}}) is not None


def test_the_pods_that_conduct_declared_trips_know_where_they_may_call() -> None:
    assert {app for app, each in EXAMPLE.injected().items() if each.egress is not None} == {"trip"}
