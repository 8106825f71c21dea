"""How a participant is asked whose answer does not end; what passes it on is played, byte for byte."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from globaltx_cli import cluster
from globaltx_cli.errors import CliError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"


@contextmanager
def answering(begun: bytes, *, ends: bool) -> Iterator[str]:
    """Give one answer's beginning, and then nothing, or the end of the connection."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(begun)
                if not ends:
                    over.wait(60)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("begun", [b"", HEAD, HEAD + b'{"state": '])
def test_an_answer_that_does_not_end_is_an_error_of_that_participant(
    begun: bytes, *, ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_TIMEOUT", (5, 0.3))
    with answering(begun, ends=ends) as server:
        config = tmp_path / "config"
        config.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": server}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "users": [{"name": "u", "user": {}}],
                    "current-context": "c",
                }
            )
        )
        location = "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
        monkeypatch.setattr(location, str(config))
        with pytest.raises(CliError, match="pod shop/account-1"):
            cluster.Cluster(None, "shop").ask_pod("account-1", 15000, "/r/7/state", {})
