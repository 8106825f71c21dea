"""The manifests of the sale: every pod gets its sidecar, and bank and carrier are the other examples' own."""

from __future__ import annotations

import pytest

from tests.examples.manifests import Example

EXAMPLE = Example("05-mixed")


def test_every_pod_is_injected_with_what_makes_its_branch() -> None:
    found = {}
    for app, settings in EXAMPLE.injected().items():
        assert settings.http is not None
        tries = [route.tries.mode for route in settings.http.routes if route.tries]
        found[app] = [*tries, *(each.datasource.name for each in settings.datasources)]
    assert found == {"shop": ["order"], "bank": ["TCC", "bank"], "carrier": ["Saga"]}


@pytest.mark.parametrize(("name", "other"), [("bank", "02-tcc-transfer"), ("carrier", "03-saga-trip")])
def test_bank_and_carrier_are_those_of_the_other_examples(name: str, other: str) -> None:
    sample = Example(other)
    others = [sample.container(each["metadata"]["name"]) for each in sample.of_kind("Deployment")]
    container = EXAMPLE.container(name)
    wanted = [container[field] for field in ("image", "args")]
    assert wanted in [[each[field] for field in ("image", "args")] for each in others]
    assert (sample.folder / "services" / container["args"][0]).exists()
