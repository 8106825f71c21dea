"""A sidecar that rests: how long from its start to ready, and how much memory it keeps.

It is a whole one, with an HTTP side and a datasource, against a real API server and a real
MariaDB; at rest means that it leads phase two, has its undo table, and nobody has asked it
anything yet. Bytecode is at hand, as it is in the image.
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil
import yaml

from bench.figures import Figure
from dev.cluster.cluster import Cluster
from dev.databases import MariaDB
from dev.waiting import wait_for
from globaltx.coordinator.policy import Route
from globaltx.manifest.settings import SidecarSettings
from tests.ports import free_port
from tests.sidecar.programs import Account, SidecarProgram, datasource, http_settings

READY_SECONDS_MAX = 2.0
MEMORY_MIB_MAX = 50.0
NAME = "bench"
_PASSWORD = "resting"  # noqa: S105  of a server that ends with this program
_SQL = f"""
CREATE DATABASE IF NOT EXISTS bench;
CREATE USER IF NOT EXISTS 'globaltx'@'%' IDENTIFIED BY '{_PASSWORD}';
GRANT ALL ON bench.* TO 'globaltx'@'%';
"""
_RESTING = ("datasource bench", "http", "store", "undo table of bench")


def measure(rounds: int) -> list[Figure]:
    """Start as many sidecars, one after the other."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster.up(NAME, "control-plane") as cluster,
        MariaDB.up(NAME, sql=_SQL) as database,
    ):
        crds = Path(__file__).parent.parent / "crds"
        cluster.kubectl("apply", "--server-side", "-f", str(crds))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(crds))
        settings = SidecarSettings(
            namespace="default",
            app="bench",
            http=http_settings(free_port(), [Route("create", path="/create")]),
            datasources=(datasource("bench", "bench", database.port),),
            control_port=free_port(),
        )
        account = Account("globaltx", _PASSWORD)
        kubeconfig = Path(folder) / "kubeconfig.json"
        # In a pod nobody reads YAML, so nothing that reads it is in memory there.
        kubeconfig.write_text(json.dumps(yaml.safe_load(cluster.kubeconfig.read_text())))
        sidecar = SidecarProgram(settings, Path(folder), kubeconfig, account)
        sidecar.environment = {"PYTHONPYCACHEPREFIX": f"{folder}/bytecode", "PYTHONDONTWRITEBYTECODE": ""}
        _round(sidecar)  # compiles
        found = [_round(sidecar) for _ in range(rounds)]
    return [
        Figure("resident memory at rest", "MiB", tuple(memory for _, memory in found), MEMORY_MIB_MAX),
        Figure("start to ready", "s", tuple(seconds for seconds, _ in found), READY_SECONDS_MAX),
    ]


def _round(sidecar: SidecarProgram) -> tuple[float, float]:
    """Seconds to ready, and MiB at rest."""
    began = time.perf_counter()
    with sidecar:
        seconds = time.perf_counter() - began
        wait_for("the sidecar to rest", partial(_rests, sidecar), seconds=30)
        if sidecar.process is None:  # a bug: it was just started
            raise RuntimeError
        return seconds, psutil.Process(sidecar.process.pid).memory_info().rss / 2**20


def _rests(sidecar: SidecarProgram) -> bool:
    parts = sidecar.parts()
    leads = sidecar.metric("globaltx_sidecar_leader") == 1
    return leads and all(parts.get(name, {}).get("up") for name in _RESTING)
