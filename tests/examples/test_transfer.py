"""The transfer's manifests: the policies fit the programs, and every pod would get its sidecar."""

from __future__ import annotations

import re

from tests.examples.manifests import Example

EXAMPLE = Example("02-tcc-transfer")


def test_every_pod_is_injected_with_the_routes_of_its_policy() -> None:
    banks = {bank: ["debit", "credit"] for bank in ("bank-a", "bank-b")}
    assert EXAMPLE.routes() == {"transfer": ["transfer"], **banks}


def test_each_bank_guards_its_calls_in_a_database_of_its_own() -> None:
    sources = {app: settings.datasources for app, settings in EXAMPLE.injected().items()}
    guarding = {
        app: [(each.datasource.schema, each.datasource.guards_calls) for each in found]
        for app, found in sources.items()
    }
    assert guarding == {"transfer": [], "bank-a": [("bank_a", True)], "bank-b": [("bank_b", True)]}


def test_every_path_of_the_policy_is_one_of_the_bank_s_program() -> None:
    program = (EXAMPLE.folder / "services" / "bank.py").read_text()
    served = {re.sub("<account>", "{id}", path) for path in re.findall(r'@app\.post\("(.+?)"\)', program)}
    (capture,) = (each.http for each in EXAMPLE.policies() if each.name == "bank")
    assert capture is not None
    paths = [
        path
        for route in capture.routes
        if route.tcc
        for path in (route.path_template, route.tcc.confirm, route.tcc.cancel)
    ]
    assert set(paths) == served
