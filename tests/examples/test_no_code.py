"""The manifests of the example without code: every pod gets its sidecar, which joins by trace."""

from __future__ import annotations

from tests.examples.manifests import Example

EXAMPLE = Example("06-no-code")


def test_every_pod_is_injected_and_joins_by_trace() -> None:
    found = {
        app: (
            settings.http is not None and settings.http.joins_by_trace,
            [each.datasource.name for each in settings.datasources],
        )
        for app, settings in EXAMPLE.injected().items()
    }
    assert found == {"orders": (True, ["order"]), "stock": (True, ["product"])}
    assert EXAMPLE.routes() == {"orders": ["order"], "stock": []}


def test_every_secret_that_a_pod_or_a_policy_names_is_there() -> None:
    secrets = {each["metadata"]["name"] for each in EXAMPLE.of_kind("Secret")}
    named = {each.secret for policy in EXAMPLE.policies() for each in policy.datasources}
    for app in EXAMPLE.injected():
        environment = EXAMPLE.container(app)["env"]
        named |= {each["valueFrom"]["secretKeyRef"]["name"] for each in environment if "valueFrom" in each}
    assert named == secrets
