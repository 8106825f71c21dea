"""The webhook as one task: keeps its certificate, and answers once it has one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from globaltx_operator.webhook import server
from globaltx_operator.webhook.keeper import CertificateKeeper
from globaltx_operator.webhook.reviewer import Reviewer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx_operator.webhook.options import WebhookOptions
    from globaltx_operator.webhook.reviewer import Admit


async def run_webhook(
    client: KubernetesClient,
    options: WebhookOptions,
    *,
    ready: asyncio.Event | None = None,
    clock: Callable[[], datetime] | None = None,
    admit: Admit | None = None,
) -> None:
    """Serve until cancelled; ``ready`` is set once requests would be answered with a trusted certificate.

    A lost API server is waited for inside; what escapes (in an exception group) is a bug or a port
    that is taken.
    """
    keeper = CertificateKeeper(client, options, clock=clock)
    async with asyncio.TaskGroup() as group:
        group.create_task(keeper.run(), name="webhook certificate")
        await keeper.loaded.wait()
        app = server.application(Reviewer(client, options.injection, admit))
        runner = await server.start(app, options.host, options.port, keeper.context)
        try:
            await keeper.trusted.wait()
            if ready is not None:
                ready.set()
            await asyncio.Event().wait()  # until cancelled
        finally:
            await runner.cleanup()
