"""Who may do what in the chart's own etcd: root, and a user for each namespace's sidecars.

A sidecar's user reads and writes the keys of its own namespace, so that a pod that was taken over cannot
decide about the transactions of others. Every call here may be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.stores.etcd import messages
from globaltx.stores.etcd.errors import EtcdRefusedError
from globaltx_operator.bundled.material import ROOT, user_of

if TYPE_CHECKING:
    from globaltx.stores.etcd.client import EtcdClient

_THERE = "already exists"


class Users:
    """The users of one etcd, as its root sees them; every call raises the errors of the client."""

    def __init__(self, client: EtcdClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._locked = False

    async def lock_up(self, password: str) -> set[str]:
        """Let nobody in without a user from now on; who the users are.

        Raises:
            EtcdRefusedError: it is locked up already, by another password.
        """
        known = set(await self._names())
        if self._locked and ROOT in known:
            return known
        if ROOT not in known:
            await self._add("User", messages.new_user(ROOT, password))
        await self._add("Role", messages.new_role(ROOT))
        await self._client.request("Auth/UserGrantRole", messages.role_of_user(ROOT, ROOT))
        await self._client.request("Auth/AuthEnable", b"")
        self._locked = True
        return known

    async def admit(self, namespace: str, password: str) -> None:
        """Let the sidecars of a namespace in, to the keys of that namespace."""
        name = user_of(namespace)
        await self._add("Role", messages.new_role(name))
        permission = messages.permission(name, f"{self._prefix}{namespace}/")
        await self._client.request("Auth/RoleGrantPermission", permission)
        await self._add("User", messages.new_user(name, password))
        await self._client.request("Auth/UserGrantRole", messages.role_of_user(name, name))

    async def _names(self) -> list[str]:
        return messages.read_users(await self._client.request("Auth/UserList", b""))

    async def _add(self, kind: str, message: bytes) -> None:
        try:
            await self._client.request(f"Auth/{kind}Add", message)
        except EtcdRefusedError as error:
            if _THERE not in str(error):
                raise
