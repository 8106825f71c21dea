from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from globaltx import __version__
from globaltx_cli.main import main, parser

if TYPE_CHECKING:
    from pathlib import Path


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"globaltx {__version__}\n"


@pytest.mark.parametrize("line", [[], ["nonsense"], ["status"], ["inject"], ["get", "--state", "Gone"]])
def test_a_wrong_line_ends_with_2_and_the_usage(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line)
    assert ended.value.code == 2
    assert "usage: globaltx" in capsys.readouterr().err


def test_as_a_plugin_it_calls_itself_by_the_words_that_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/kubectl-globaltx"])
    assert parser().prog == "kubectl globaltx"


def test_without_a_cluster_it_says_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", "/nonexistent/config")
    assert main(["get"]) == 1
    assert "set KUBECONFIG, or choose with --context" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["clusters: [", "just words", "clusters: 7", None], ids=repr)
def test_a_kubeconfig_that_is_none_is_told_and_its_content_is_not(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config"
    config.mkdir() if content is None else config.write_text(f"# token: very-secret\n{content}\n")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(config))
    assert main(["get"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("globaltx: no cluster: the kubeconfig cannot be used")
    assert "secret" not in said


@pytest.mark.parametrize("command", ["status", "diagnose", "resolve"])
def test_an_empty_xid_is_a_variable_that_was_not_set(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "", *(["--keep", "--why", "so"] if command == "resolve" else [])]) == 1
    assert "the XID is empty" in capsys.readouterr().err


def test_commands_that_need_no_cluster_do_not_load_its_client() -> None:
    code = "import sys, globaltx_cli.main as m; m.main(['version']); sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
