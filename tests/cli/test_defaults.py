"""What the command line assumes is what the chart installs."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from globaltx_cli.main import DEFAULT_SIDECAR_IMAGE

CHART = Path(__file__).resolve().parents[2] / "charts" / "globaltx"


def test_the_sidecar_image_is_the_chart_s() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    found = re.search(r'\.Values\.image\.sidecar \| default \(printf "([^"]+)" ', helpers)
    assert found is not None
    assert found[1] % version == DEFAULT_SIDECAR_IMAGE
