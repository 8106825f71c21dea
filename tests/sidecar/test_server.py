from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from dev.waiting import wait_for
from globaltx.coordinator.policy import Route
from globaltx.coordinator.reasons import Reason
from globaltx.manifest.settings import SidecarSettings
from globaltx.stores.kubernetes.resource import POLICIES
from globaltx.stores.kubernetes.store import KubernetesStore
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from globaltx_sidecar.main import EXIT_CONFIGURATION, EXIT_FAILED, main
from tests.ports import LOOPBACK, free_port
from tests.sidecar.programs import SidecarProgram, get, http_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.cluster.cluster import Cluster
    from globaltx.stores.kubernetes.client import KubernetesClient

CREATE = Route("create", path="/create", timeout=timedelta(seconds=20))


class Application(ThreadingHTTPServer):
    """Answers 200 on /create and 400 elsewhere, with the xid; holds its answers while ``go`` is not set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.arrived = threading.Event()
        self.go = threading.Event()
        self.go.set()


class _Handler(BaseHTTPRequestHandler):
    server: Application

    def do_POST(self) -> None:
        self.server.arrived.set()
        self.server.go.wait(30)
        body = self.headers.get("globaltx-xid", "none").encode()
        self.send_response(200 if self.path == "/create" else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def application() -> Iterator[Application]:
    with Application() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.go.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def sidecar(
    application: Application, control_plane: Cluster, namespace: str, tmp_path: Path
) -> SidecarProgram:
    settings = SidecarSettings(
        namespace=namespace,
        app="aggregation",
        policies=("orders",),
        http=http_settings(application.server_address[1], [CREATE]),
        control_port=free_port(),
    )
    return SidecarProgram(settings, tmp_path, control_plane.kubeconfig)


def post(sidecar: SidecarProgram, path: str) -> tuple[int, str]:
    return get(sidecar.url + path, method="POST", body=b"{}", seconds=30)


def away(folder: Path) -> Path:
    """A kubeconfig of an API server that is not there."""
    file = folder / "away.kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"https://{LOOPBACK}:{free_port()}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user: dict[str, Any] = {"name": "u", "user": {}}
    config = {"clusters": [cluster], "users": [user], "contexts": [context], "current-context": "c"}
    file.write_text(json.dumps(config))
    return file


def policy(namespace: str, path: str) -> dict[str, Any]:
    route = {
        "name": "create",
        "match": {"method": "POST", "path": path},
        "begin": {"commitStatuses": [200, 400]},
    }
    return {
        "apiVersion": POLICIES.api_version,
        "kind": POLICIES.kind,
        "metadata": {"name": "orders", "namespace": namespace},
        "spec": {"http": {"port": "http", "routes": [route]}},
    }


async def test_a_request_begins_commits_and_rolls_back(
    sidecar: SidecarProgram, kubernetes: KubernetesClient, namespace: str
) -> None:
    store = KubernetesStore(kubernetes, namespace)
    with sidecar:
        status, xid = await asyncio.to_thread(post, sidecar, "/create")
        plain = await asyncio.to_thread(post, sidecar, "/plain")
        assert get(sidecar.ready.replace("readyz", "healthz")) == (200, "ok\n")
        assert sidecar.metric('globaltx_sidecar_requests_total{action="Begin"}') == 1
    assert status == 200
    assert plain == (400, "none")
    transaction = (await store.read(Xid.parse(xid))).transaction
    assert transaction.decision is not None
    assert transaction.decision.outcome is Outcome.COMMIT
    assert transaction.decision.by == "aggregation-0"
    assert sidecar.process is not None
    assert sidecar.process.returncode == 0


def test_plain_http_goes_on_and_a_route_fails_clearly_without_an_api_server(
    tmp_path: Path, sidecar: SidecarProgram
) -> None:
    with SidecarProgram(sidecar.settings, tmp_path, away(tmp_path)) as alone:
        assert post(alone, "/plain") == (400, "none")
        status, told = post(alone, "/create")
        assert status == 503
        assert Reason.STORE_UNAVAILABLE in told
        assert get(alone.ready)[0] == 200
        wait_for(
            "the fault to be told", lambda: alone.parts().get("store", {}).get("reason") == "StoreUnavailable"
        )
        assert alone.metric('globaltx_sidecar_part_up{part="store"}') == 0


def test_asked_to_stop_again_and_again_it_stops_in_order_all_the_same(sidecar: SidecarProgram) -> None:
    process = sidecar.start().process
    assert process is not None

    def ended() -> bool:
        process.send_signal(signal.SIGTERM)
        return process.poll() is not None

    try:
        wait_for("its end", ended, every=0)
    finally:
        sidecar.kill()
    assert process.returncode == 0


def test_a_request_goes_on_while_the_sidecar_is_asked_to_stop(
    sidecar: SidecarProgram, application: Application
) -> None:
    application.go.clear()
    answers: list[tuple[int, str]] = []
    with sidecar:
        asking = threading.Thread(target=lambda: answers.append(post(sidecar, "/create")))
        asking.start()
        assert application.arrived.wait(10)
        assert sidecar.process is not None
        sidecar.process.send_signal(signal.SIGTERM)
        wait_for("new requests to be refused", lambda: get(sidecar.url)[0] == 0)
        application.go.set()
        asking.join(20)
    assert answers[0][0] == 200
    assert sidecar.process.returncode == 0


async def test_routes_follow_their_policy_and_the_last_good_ones_stay(
    sidecar: SidecarProgram, kubernetes: KubernetesClient, namespace: str
) -> None:
    def begins(path: str) -> bool:
        return post(sidecar, path)[1] != "none"

    def waits(reason: str) -> bool:
        return bool(sidecar.parts().get("routes", {}).get("reason") == reason)

    with sidecar:
        await asyncio.to_thread(wait_for, "a missing policy to be told", lambda: waits("NoPolicy"))
        assert await asyncio.to_thread(begins, "/create")
        await kubernetes.create(POLICIES, policy(namespace, "/other"), namespace)
        await asyncio.to_thread(wait_for, "the new route", lambda: begins("/other"))
        assert not await asyncio.to_thread(begins, "/create")
        await kubernetes.delete(POLICIES, "orders", namespace)
        await asyncio.to_thread(wait_for, "the loss to be told", lambda: waits("NoPolicy"))
        assert await asyncio.to_thread(begins, "/other")


@pytest.mark.parametrize("settings", ["", "{", "{}", '{"http":1}'])
def test_settings_that_cannot_be_used_are_told(
    settings: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GLOBALTX_SETTINGS", settings)
    assert main([]) == EXIT_CONFIGURATION
    assert "GLOBALTX_SETTINGS" in caplog.text


@pytest.mark.control_plane
def test_a_port_that_is_taken_is_told(sidecar: SidecarProgram, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, sidecar.settings.control_port))
        taken.listen()
        assert main(list(sidecar.command[1:])) == EXIT_FAILED
    assert "cannot start" in caplog.text
