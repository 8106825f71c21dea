from __future__ import annotations

import base64
import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from dev.cluster import Cluster, Component, ToolError, certificates, network, processes
from dev.cluster.node import SHIM
from dev.cluster.requirements import missing_for_full
from dev.folders import state_root
from dev.images import base
from dev.images.build import archive_of, build
from dev.shell import run, succeeds
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.full_cluster, pytest.mark.timeout(900)]
NAME = f"tools-{secrets.token_hex(3)}"
EVERY = [*(str(component) for component in Component), SHIM]
PROBE = """\
import json, socket, ssl, urllib.request
account = "/var/run/secrets/kubernetes.io/serviceaccount/"
trust = ssl.create_default_context(cafile=account + "ca.crt")
bearer = {"Authorization": "Bearer " + open(account + "token").read()}
ask = urllib.request.Request("https://kubernetes.default/version", headers=bearer)
print(json.dumps({
    "web": urllib.request.urlopen("http://web/", timeout=5).status,
    "full name": socket.gethostbyname("web.default.svc.cluster.local"),
    "api": json.load(urllib.request.urlopen(ask, context=trust, timeout=5))["minor"],
}))
"""
WEBHOOK = """\
import http.server, json, ssl
class Refuse(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = {"allowed": False, "status": {"message": "not today"}}
        review["response"] = {"uid": review["request"]["uid"], **answer}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(review).encode())
server = http.server.HTTPServer(("", 8443), Refuse)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    reason = missing_for_full(NAME)
    if reason:
        pytest.skip(reason)
    with Cluster.up(NAME, "full") as cluster:
        cluster.load_image(archive_of(base.ensure()))
        _apply(cluster, *_served("web", 80, 8080, ["python3", "-m", "http.server", "8080", "-d", "/etc"]))
        _await_pods(cluster, "web")
        yield cluster
    assert processes.owned(cluster.settings.folder, EVERY) == []
    assert not cluster.settings.folder.exists()
    assert not network.is_there(cluster.settings)
    assert not succeeds("nft", "list", "table", "ip", "kube-proxy")


def _apply(cluster: Cluster, *documents: dict[str, Any]) -> None:
    cluster.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    )


def _served(
    name: str, port: int, target: int, command: list[str], **pod: object
) -> tuple[dict[str, Any], ...]:
    """A service and two pods that obey the strictest of the Pod Security Standards."""
    labels = {"app": name}
    container = {
        "name": "main",
        "image": base.name(),
        "command": command,
        "readinessProbe": {"tcpSocket": {"port": target}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        **({"volumeMounts": [{"name": "tls", "mountPath": "/tls"}]} if "volumes" in pod else {}),
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"securityContext": security, "terminationGracePeriodSeconds": 1, "containers": [container], **pod}
    template = {"metadata": {"labels": labels}, "spec": spec}
    service = {"selector": labels, "ports": [{"port": port, "targetPort": target}]}
    deployment = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return (
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": deployment},
    )


def _await_pods(cluster: Cluster, name: str) -> None:
    cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s", timeout=130)


def _probe(cluster: Cluster) -> dict[str, Any]:
    said = cluster.kubectl("exec", "deployment/web", "--", "python3", "-c", PROBE)
    held: dict[str, Any] = json.loads(said)
    return held


def _probe_works(cluster: Cluster) -> bool:
    try:
        return bool(_probe(cluster)["web"] == 200)
    except ToolError:
        return False


def test_a_pod_reaches_services_by_name_and_the_api_by_its_token(cluster: Cluster) -> None:
    found = _probe(cluster)
    address = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    assert (found["web"], found["full name"], found["api"]) == (200, address, "34")


def test_the_logs_of_a_pod_can_be_read(cluster: Cluster) -> None:
    _probe(cluster)
    wait_for("the log", lambda: "GET /" in cluster.kubectl("logs", "-l", "app=web", "--tail=100"), seconds=20)


def test_a_second_up_leaves_everything_as_it_is(cluster: Cluster) -> None:
    before = {process.pid for process in processes.owned(cluster.settings.folder, EVERY)}
    assert Cluster.up(NAME, "full").settings == cluster.settings
    assert {process.pid for process in processes.owned(cluster.settings.folder, EVERY)} == before


def test_pods_outlive_the_programs_that_run_them(cluster: Cluster) -> None:
    before = cluster.kubectl(
        "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].containerID}"
    )
    for component in (Component.KUBELET, Component.CONTAINERD):
        cluster.crash(component)
    Cluster.up(NAME)
    _await_pods(cluster, "web")
    after = cluster.kubectl(
        "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].containerID}"
    )
    assert after == before


def test_it_comes_back_after_a_kill_of_everything(cluster: Cluster) -> None:
    processes.kill(processes.owned(cluster.settings.folder, EVERY))
    run("ip", "link", "delete", cluster.settings.bridge)
    assert Cluster.up(NAME).settings == cluster.settings
    wait_for("the pods", lambda: _probe_works(cluster), seconds=120, every=0.5)


def test_the_api_server_reaches_a_webhook_behind_a_service(cluster: Cluster, tmp_path: Path) -> None:
    ca = certificates.authority("webhook")
    ca.write(tmp_path, "ca")
    certificates.issue(ca, "refuse", hosts=["refuse.default.svc"]).write(tmp_path, "tls")
    held = {name: (tmp_path / name).read_text() for name in ("tls.crt", "tls.key")}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "refuse"}, "stringData": held}
    volumes = [{"name": "tls", "secret": {"secretName": "refuse"}}]
    _apply(cluster, secret, *_served("refuse", 443, 8443, ["python3", "-c", WEBHOOK], volumes=volumes))
    _await_pods(cluster, "refuse")
    _apply(cluster, _configuration((tmp_path / "ca.crt").read_bytes()))
    try:
        wait_for("the refusal", lambda: "not today" in _attempt(cluster), seconds=30)
    finally:
        cluster.kubectl("delete", "validatingwebhookconfiguration", "refuse")


def _configuration(bundle: bytes) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    webhook = {
        "name": "refuse.example.com",
        "clientConfig": {
            "service": {"namespace": "default", "name": "refuse", "path": "/"},
            "caBundle": base64.b64encode(bundle).decode(),
        },
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Ignore",
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return {**kind, "metadata": {"name": "refuse"}, "webhooks": [webhook]}


def _attempt(cluster: Cluster) -> str:
    """What the API server says to a new object: the webhook's words once it has heard of the webhook."""
    try:
        return cluster.kubectl("create", "configmap", f"try-{secrets.token_hex(3)}")
    except ToolError as refused:
        return str(refused)


def test_an_image_that_was_built_here_runs_in_a_pod(cluster: Cluster, tmp_path: Path) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(
        "ARG BASE_IMAGE=python:3.13-slim\n"
        "FROM ${BASE_IMAGE} AS build\n"
        "RUN python3 -m venv /app && /app/bin/pip install --no-cache-dir iniconfig\n"
        "FROM ${BASE_IMAGE} AS run\n"
        "COPY --from=build /app /app\n"
        "USER 65532\n"
        'ENTRYPOINT ["/app/bin/python", "-c", "import iniconfig; print(iniconfig.__name__)"]\n'
    )
    tag = "localhost/globaltx/tools-test:1"
    cluster.load_image(build(dockerfile, "run", tag))
    assert tag in cluster.images()
    cluster.kubectl("run", "once", f"--image={tag}", "--restart=Never")
    cluster.kubectl(
        "wait", "pod/once", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s", timeout=70
    )
    assert cluster.kubectl("logs", "once") == "iniconfig\n"


def test_a_second_cluster_with_pods_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ToolError, match=f"{cluster.name!r} already runs pods"):
        Cluster.up(f"{NAME}-2", "full")
    assert not list(state_root().glob(f"{NAME}-2*"))
