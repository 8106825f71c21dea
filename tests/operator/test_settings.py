"""Flags and variables."""

from __future__ import annotations

import pytest

from globaltx_operator.settings import parse


def test_what_is_left_out_has_its_default() -> None:
    settings = parse([], {})
    assert (settings.namespace, settings.namespaces, settings.lease) == ("default", (), "globaltx-operator")
    assert (settings.port, settings.webhook_port, settings.sidecar_image) == (8080, 9443, "")


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
    [["--port", "99999"], ["--port", "x"], ["--workers", "0"], ["--log-level", "loud"], ["--nonsense"]],
)
def test_what_is_wrong_is_told(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        parse(wrong, {})
    assert refusal.value.code == 2
    assert wrong[0] in capsys.readouterr().err
