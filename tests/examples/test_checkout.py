"""The checkout's manifests: the policies fit the programs, and every pod would get its sidecar."""

from __future__ import annotations

import re
from datetime import timedelta

from tests.examples.manifests import Example

EXAMPLE = Example("04-tcd-checkout")


def test_every_pod_is_injected_with_the_routes_of_its_policy() -> None:
    assert EXAMPLE.routes() == {"checkout": ["checkout"], "account": ["reserve"], "product": ["reserve"]}


def test_every_participant_keeps_as_long_as_its_policy_promises() -> None:
    for app in ("account", "product"):
        http = EXAMPLE.injected()[app].http
        assert http is not None
        environment = {each["name"]: each["value"] for each in EXAMPLE.container(app)["env"]}
        kept = timedelta(seconds=float(environment["KEEP_SECONDS"]))
        reservations = [route.tries.reservation for route in http.routes if route.tries]
        assert [each and each.duration for each in reservations] == [kept]


def test_every_path_of_the_policies_is_one_of_the_participant_s_program() -> None:
    program = (EXAMPLE.folder / "services" / "participant.py").read_text()
    served = set(re.findall(r'@app\.(?:post|get)\("(.+?)"\)', program))
    routes = [route for each in EXAMPLE.policies() if each.http for route in each.http.routes if route.tcd]
    paths = {
        path
        for route in routes
        if route.tcd
        for path in (route.path, route.tcd.confirm, route.tcd.reservation.state)
    }
    assert len(routes) == 2
    assert paths <= served
