import subprocess
import sys

import pytest

from globaltx import __version__
from globaltx_cli.main import main, parser


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


def test_commands_that_need_no_cluster_do_not_load_its_client() -> None:
    code = "import sys, globaltx_cli.main as m; m.main(['version']); sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
