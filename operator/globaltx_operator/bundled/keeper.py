"""Keeps what the chart's own etcd is entered by: Secrets, certificates, users.

Every replica does this, every ten seconds and with compare-and-set, so that none has to lead for a pod to be
injected. What is there and good is left as it is; what was deleted is made again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.errors import EtcdError
from globaltx.stores.kubernetes.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    KubernetesError,
    NotFoundError,
)
from globaltx.stores.kubernetes.resource import SECRETS
from globaltx.stores.kubernetes.watcher import Backoff
from globaltx_operator import shared
from globaltx_operator.bundled.material import (
    ROOT,
    Authorities,
    client_texts,
    new_authorities,
    password_of,
    read_authorities,
    server_texts,
    user_of,
)
from globaltx_operator.bundled.options import SECRET
from globaltx_operator.bundled.users import Users
from globaltx_operator.rounds import go_round

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx_operator.bundled.options import BundledOptions
    from globaltx_operator.shared import Texts

ADMIT_SECONDS = 2.0
"""How long an injection waits for etcd to take a new user; the next round does it otherwise."""
_ATTEMPTS = 5

_log = logging.getLogger(__name__)


class BundledEtcd:
    """``entered`` is set once there is what the operator itself enters by; an async context manager."""

    def __init__(
        self,
        kubernetes: KubernetesClient,
        options: BundledOptions,
        endpoints: tuple[str, ...],
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.entered = asyncio.Event()
        self._kubernetes = kubernetes
        self._options = options
        self._clock = clock or kubernetes.utc
        self._backoff = Backoff()
        self._client = EtcdClient(EtcdAccess(endpoints, options.folder))
        self._users = Users(self._client, options.prefix)
        self._known: set[str] = set()
        self._own: Texts = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def run(self) -> None:
        """Keep it all until cancelled; faults are waited out with growing delay."""

        def tell(error: Exception, delay: float) -> None:
            _log.warning("the chart's etcd is not set up: %s; again in %.1f s", error, delay)

        interval = self._options.interval_seconds
        await go_round(self.round, interval, (KubernetesError, EtcdError), self._backoff, tell)

    async def round(self) -> None:
        """Do everything that is due.

        Raises:
            KubernetesError: the API server did not answer, or refused; what was reached holds.
            EtcdError: etcd did.
        """
        authorities, root = await self._authorities(), await self._root()
        hosts = self._options.hosts
        await self._keep(
            self._options.server,
            self._options.namespace,
            lambda held: server_texts(held, authorities, hosts, self._clock()),
        )
        self._enter(authorities, root["password"])
        self._known = await self._users.lock_up(root["password"])
        for namespace in await self._namespaces():
            try:
                await self._give(namespace, authorities, root["seed"])
            except (ConflictError, ForbiddenError, InvalidError) as error:
                # Whoever may write Secrets there can be in its way, and must not be in that of others.
                _log.warning("the sidecars of %s cannot be given what they enter by: %s", namespace, error)
            else:
                await self._introduce(namespace, root["seed"])

    async def admit(self, namespace: str) -> None:
        """Let the sidecars of a namespace in; etcd itself may hear of it a little later.

        Raises:
            KubernetesError: what they enter by could not be written.
        """
        authorities, root = await self._authorities(), await self._root()
        await self._give(namespace, authorities, root["seed"])
        try:
            async with asyncio.timeout(ADMIT_SECONDS):
                await self._introduce(namespace, root["seed"])
        except (EtcdError, TimeoutError) as error:
            _log.warning("etcd does not know the sidecars of %s yet: %r", namespace, error)

    async def _give(self, namespace: str, authorities: Authorities, seed: str) -> None:
        user, password = user_of(namespace), password_of(seed, namespace)
        await self._keep(
            SECRET, namespace, lambda held: client_texts(held, authorities, user, password, self._clock())
        )

    async def _introduce(self, namespace: str, seed: str) -> None:
        if (user := user_of(namespace)) not in self._known:
            await self._users.admit(namespace, password_of(seed, namespace))
            self._known.add(user)

    async def _authorities(self) -> Authorities:
        def wanted(held: Mapping[str, str]) -> Texts:
            now = self._clock()
            return (read_authorities(held, now) or new_authorities(now)).to_texts()

        texts = await self._keep(self._options.authorities, self._options.namespace, wanted)
        found = read_authorities(texts, self._clock())
        assert found is not None  # noqa: S101  it was made or found good just now
        return found

    async def _root(self) -> Texts:
        def wanted(held: Mapping[str, str]) -> Texts:
            made = {each: held.get(each) or secrets.token_hex(32) for each in ("password", "seed")}
            return made | {"username": ROOT}

        return await self._keep(self._options.root, self._options.namespace, wanted)

    async def _keep(self, name: str, namespace: str, wanted: Callable[[Mapping[str, str]], Texts]) -> Texts:
        """See to it that a Secret holds what is wanted, given what it holds; of several replicas one wins."""
        for _ in range(_ATTEMPTS):
            held = await shared.read(self._kubernetes, name, namespace)
            texts: Texts = {}
            if held is not None:
                with suppress(shared.UnreadableError):
                    texts = held.texts()
            made = wanted(texts)
            if made == texts:
                return made
            try:
                version = None if held is None else held.version
                await shared.write(self._kubernetes, name, namespace, made, version)
            except ConflictError:
                continue
            _log.info("the Secret %s/%s was written", namespace, name)
            return made
        message = f"the Secret {namespace}/{name} is written by others all the time"
        raise ConflictError(message)

    def _enter(self, authorities: Authorities, password: str) -> None:
        """Write what the operator itself enters by; it is never shared."""
        made = client_texts(self._own, authorities, ROOT, password, self._clock())
        if made != self._own:
            folder = self._options.folder
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, text in made.items():
                fresh = folder / f".{name}"
                fresh.write_text(text)
                os.replace(fresh, folder / name)  # noqa: PTH105  as one step
            self._own = made
        self.entered.set()

    async def _namespaces(self) -> list[str]:
        """Those whose sidecars were let in before."""
        found: list[str] = []
        for served in self._options.served or (None,):
            with suppress(NotFoundError):
                listing = await self._kubernetes.list(SECRETS, served, fields=f"metadata.name={SECRET}")
                found += [str(each["metadata"]["namespace"]) for each in listing.items]
        return found
