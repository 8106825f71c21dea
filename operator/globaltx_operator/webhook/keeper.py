"""Keeps the certificate: shared among the replicas by a Secret, served, trusted.

Each round reads the Secret, takes the next step of ``certificate.renewed`` and writes it by
compare-and-set: of several replicas that notice at once one wins, and the others take over what
it wrote. What was read is loaded into the one `SSLContext` that the server has: connections that
are open go on, new ones get the new certificate.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from globaltx.stores.kubernetes.errors import ConflictError, KubernetesError
from globaltx.stores.kubernetes.watcher import Backoff
from globaltx_operator import shared
from globaltx_operator.rounds import go_round
from globaltx_operator.webhook.certificate import BadMaterialError, Material, renewed
from globaltx_operator.webhook.configurations import carried, publish

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx_operator.webhook.options import WebhookOptions

_log = logging.getLogger(__name__)


class CertificateKeeper:
    """``context`` is what to serve with once ``loaded`` is set; ``trusted`` is set after it."""

    def __init__(
        self,
        client: KubernetesClient,
        options: WebhookOptions,
        *,
        clock: Callable[[], datetime] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.loaded = asyncio.Event()
        self.trusted = asyncio.Event()
        self.material: Material | None = None
        self._client = client
        self._options = options
        self._clock = clock or client.utc
        self._backoff = backoff or Backoff()

    async def run(self) -> None:
        """Keep it until cancelled; a fault of the API server is waited out with growing delay."""

        def tell(error: Exception, delay: float) -> None:
            _log.warning("the webhook's certificate could not be kept: %s; again in %.1f s", error, delay)

        interval = self._options.interval_seconds
        await go_round(self.round, interval, (KubernetesError,), self._backoff, tell)

    async def round(self) -> None:
        """Take every step that is due.

        Raises:
            KubernetesError: the API server did not answer, or refused; what was reached holds.
        """
        while await self._step():
            pass
        self.trusted.set()

    async def _step(self) -> bool:
        """Read, renew, write, load, publish; True when there is more to do at once."""
        written, version = await self._read()
        material = written or self.material  # a Secret that was deleted is written again as it was
        bundles = await carried(self._client, self._options.configuration)
        trusted = material is not None and all(material.authorities[0] in each for each in bundles)
        options = self._options
        following = renewed(material, options.hosts, options.lifetimes, self._clock(), trusted=trusted)
        wanted = following or material
        assert wanted is not None  # noqa: S101  `renewed` makes one where there is none
        if wanted != written:
            try:
                await self._write(wanted, version)
            except ConflictError:
                return True  # another replica was quicker: take over what it wrote
        self._load(wanted)
        await publish(self._client, options.configuration, wanted.bundle)
        return following is not None

    async def _read(self) -> tuple[Material | None, str | None]:
        options = self._options
        held = await shared.read(self._client, options.secret, options.namespace)
        if held is None:
            return None, None
        try:
            return Material.from_data(held.texts()), held.version
        except (BadMaterialError, shared.UnreadableError) as error:
            _log.warning("the Secret %s is made anew: %s", options.secret, error)
            return None, held.version

    async def _write(self, material: Material, version: str | None) -> None:
        options = self._options
        await shared.write(self._client, options.secret, options.namespace, material.to_data(), version)

    def _load(self, material: Material) -> None:
        if material == self.material:
            return
        load(self.context, material)
        self.material = material
        self.loaded.set()
        _log.info("the webhook serves with a new certificate")


def load(context: ssl.SSLContext, material: Material) -> None:
    """Let new connections have the certificate; the standard library reads it from files only."""
    with tempfile.TemporaryDirectory() as folder:  # only its owner may enter
        chain = Path(folder) / "chain.pem"
        chain.write_text(material.key + material.certificate, encoding="ascii")
        context.load_cert_chain(chain)
