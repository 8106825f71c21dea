"""Flags and variables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from globaltx.manifest.injection import InjectionOptions, Resources
from globaltx.manifest.settings import EtcdSettings
from globaltx_operator.settings import parse, parser


def test_what_is_left_out_has_its_default() -> None:
    settings = parse([], {})
    assert (settings.namespace, settings.namespaces, settings.lease) == ("default", (), "globaltx-operator")
    assert (settings.port, settings.webhook_port, settings.injection) == (8080, 9443, None)


def test_a_variable_stands_for_its_flag_and_the_flag_goes_first() -> None:
    environment = {
        "GLOBALTX_LEASE": "a",
        "GLOBALTX_PORT": "81",
        "POD_NAMESPACE": "system",
        "POD_NAME": "op-1",
    }
    settings = parse(["--lease", "b", "--namespaces", "shop, bank,"], environment)
    assert (settings.lease, settings.port, settings.namespace) == ("b", 81, "system")
    assert settings.namespaces == ("shop", "bank")
    assert settings.identity.startswith("op-1-")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--port", "99999"],
        ["--port", "x"],
        ["--workers", "0"],
        ["--lease-seconds", "0"],
        ["--log-level", "loud"],
        ["--etcd-prefix", "p"],
        ["--nonsense"],
    ],
)
def test_what_is_wrong_is_told(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        parse(wrong, {})
    assert refusal.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_every_variable_of_the_chart_is_understood() -> None:
    environment = {
        "GLOBALTX_WEBHOOK_SERVICE": "service",
        "GLOBALTX_WEBHOOK_SECRET": "secret",
        "GLOBALTX_WEBHOOK_CONFIGURATION": "configuration",
        "GLOBALTX_SIDECAR_IMAGE": "image",
        "GLOBALTX_SIDECAR_PULL_POLICY": "Always",
        "GLOBALTX_SIDECAR_PULL_SECRETS": "a,b",
        "GLOBALTX_SIDECAR_CPU_REQUEST": "1",
        "GLOBALTX_SIDECAR_CPU_LIMIT": "2",
        "GLOBALTX_SIDECAR_MEMORY_REQUEST": "3",
        "GLOBALTX_SIDECAR_MEMORY_LIMIT": "4",
        "GLOBALTX_ETCD_ENDPOINTS": "https://a:2379,https://b:2379",
        "GLOBALTX_ETCD_PREFIX": "/p/",
        "GLOBALTX_ETCD_SECRETS": "tls,user",
        "GLOBALTX_ETCD_COMPACT_SECONDS": "0",
        "GLOBALTX_ETCD_PROJECTION_RATE": "7.5",
    }
    settings = parse([], environment)
    names = (settings.webhook_service, settings.webhook_secret, settings.webhook_configuration)
    assert names == ("service", "secret", "configuration")
    assert settings.injection == InjectionOptions(
        image="image",
        image_pull_policy="Always",
        image_pull_secrets=("a", "b"),
        resources=Resources("1", "2", "3", "4"),
        etcd=settings.etcd,
    )
    assert settings.etcd == EtcdSettings(("https://a:2379", "https://b:2379"), "/p/", ("tls", "user"))
    assert settings.etcd_compact_seconds == 0
    assert settings.etcd_projection_rate == 7.5


def test_the_chart_sets_only_what_is_understood() -> None:
    chart = (Path(__file__).parents[2] / "charts/globaltx/templates/deployment.yaml").read_text()
    understood = {action.option_strings[0] for action in parser({})._actions}
    for variable in re.findall(r"GLOBALTX_([A-Z_]+)", chart):
        flag = "--" + variable.lower().replace("_", "-")
        assert any(each.startswith(flag) for each in understood), variable
