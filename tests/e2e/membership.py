"""The members of the chart's etcd as they know each other, asked by its own root through one of them."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

from dev.demo.deploy import SYSTEM
from dev.waiting import wait_for
from globaltx.stores.etcd import protobuf
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.errors import EtcdError

if TYPE_CHECKING:
    from pathlib import Path

    from dev.demo.kubectl import Kubectl

_FILES = {"ca.crt": "client-ca.crt", "tls.crt": "client.crt", "tls.key": "client.key"}
_UNSIGNED = (1 << 64) - 1


class Membership:
    """Does what ``etcdctl member`` does, which the image for tests has not; ``folder`` is for what enters."""

    def __init__(self, kubectl: Kubectl, through: str, folder: Path) -> None:
        self._kubectl, self._through, self._folder = kubectl, through, folder
        server, root = (self._secret(f"globaltx-etcd-{name}") for name in ("server", "root"))
        for name, of in _FILES.items():
            (folder / name).write_bytes(server[of])
        for name in ("username", "password"):
            (folder / name).write_bytes(root[name])

    def _secret(self, name: str) -> dict[str, bytes]:
        data = self._kubectl.json("-n", SYSTEM, f"secret/{name}")["data"]
        return {key: base64.b64decode(value) for key, value in data.items()}

    def replace(self, lost: str, url: str) -> None:
        """Have the others take a lost member for a new one."""
        found = map(protobuf.read, protobuf.read(self._ask("Cluster/MemberList", b"")).pieces(2))
        [known] = [each.integer(1) for each in found if each.text(2) == lost]
        self._ask("Cluster/MemberRemove", protobuf.integer(1, known & _UNSIGNED))
        wait_for("the new member to be taken in", lambda: self._added(url))

    def _added(self, url: str) -> bool:
        try:
            self._ask("Cluster/MemberAdd", protobuf.text(1, url))
        except EtcdError:  # it has just been removed, and the others have not all heard of it
            return False
        return True

    def _ask(self, method: str, message: bytes) -> bytes:
        with self._kubectl.forwarded(SYSTEM, f"pod/{self._through}", 2379) as port:
            return asyncio.run(self._call(port, method, message))

    async def _call(self, port: int, method: str, message: bytes) -> bytes:
        async with EtcdClient(EtcdAccess((f"https://127.0.0.1:{port}",), self._folder)) as client:
            return await client.request(method, message)
