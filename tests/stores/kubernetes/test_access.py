from __future__ import annotations

import base64
import json
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from globaltx.stores.kubernetes.access import AccessError, ChangingFile, discover, from_kubeconfig, in_cluster
from tests.stores.kubernetes.certificate import self_signed


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def kubeconfig(folder: Path, cluster: dict[str, Any], user: dict[str, Any]) -> str:
    config = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
            {"name": "there", "context": {"cluster": "c", "user": "nobody"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    return str(folder / "config")


def write(path: Path, text: str, stamp: int) -> None:
    path.write_text(text)
    os.utime(path, (stamp, stamp))


def test_a_pods_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, _ = self_signed()
    (tmp_path / "ca.crt").write_bytes(certificate)
    (tmp_path / "namespace").write_text("shop")
    write(tmp_path / "token", "first\n", 1)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    access = in_cluster(str(tmp_path))
    assert (access.server, access.namespace, access.token()) == ("https://[fd00::1]:6443", "shop", "first")
    write(tmp_path / "token", "second", 2)
    assert access.token() == "second"
    context = access.context()
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert "second" not in repr(access)


def test_a_file_that_is_gone_or_empty_for_a_moment_leaves_the_last_value(tmp_path: Path) -> None:
    def read(path: Path) -> str:
        text = path.read_text()
        if not text:
            raise ValueError
        return text

    path = tmp_path / "token"
    write(path, "good", 1)
    value = ChangingFile(path, read)
    write(path, "", 2)
    assert value() == "good"
    path.unlink()
    assert value() == "good"
    write(path, "new", 3)
    assert value() == "new"


def test_outside_of_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(AccessError, match="KUBERNETES_SERVICE_HOST"):
        in_cluster()


def test_a_pod_without_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(AccessError, match="token"):
        in_cluster(str(tmp_path))


def test_a_kubeconfig_with_a_client_certificate(tmp_path: Path) -> None:
    certificate, key = self_signed()
    (tmp_path / "ca.pem").write_bytes(certificate)
    user = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
    access = from_kubeconfig(kubeconfig(tmp_path, {"certificate-authority": "ca.pem"}, user))
    assert (access.server, access.namespace, access.token()) == ("https://10.0.0.1:6443", "shop", None)
    assert access.context() is not None


def test_a_kubeconfig_with_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, _ = self_signed()
    authority = {"certificate-authority-data": encoded(certificate)}
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, authority, {"token": "secret"}))
    assert discover().token() == "secret"
    write(tmp_path / "t", "from the file", 1)
    assert from_kubeconfig(kubeconfig(tmp_path, authority, {"tokenFile": "t"})).token() == "from the file"


def test_a_kubeconfig_in_json_needs_no_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(kubeconfig(tmp_path, {}, {"token": "secret"}))
    path.write_text(json.dumps(yaml.safe_load(path.read_text())))
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert from_kubeconfig(str(path)).token() == "secret"


@pytest.mark.parametrize(
    ("cluster", "user", "context", "says"),
    [
        ({}, {"exec": {"command": "aws"}}, None, "program"),
        ({"insecure-skip-tls-verify": True}, {}, None, "insecure-skip-tls-verify"),
        ({"certificate-authority-data": "%"}, {}, None, "base64"),
        ({"certificate-authority": "none.pem"}, {}, None, "none.pem"),
        ({}, {}, "there", "nobody"),
        ({}, {}, "elsewhere", "elsewhere"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], context: str | None, says: str
) -> None:
    with pytest.raises(AccessError, match=says):
        from_kubeconfig(kubeconfig(tmp_path, cluster, user), context)


@pytest.mark.parametrize("text", ["", "[]", "{", "contexts: 7"])
def test_what_is_no_kubeconfig(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(AccessError, match="config"):
        from_kubeconfig(str(tmp_path / "config"))
