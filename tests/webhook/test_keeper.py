"""The certificate on a real API server: replicas agree, and no call fails while it is renewed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from globaltx.manifest.injection import InjectionOptions
from globaltx.stores.kubernetes.client import PatchKind
from globaltx.stores.kubernetes.resource import MUTATING_WEBHOOKS, POLICIES, SECRETS
from globaltx_operator.shared import held
from globaltx_operator.webhook import WebhookOptions
from globaltx_operator.webhook.certificate import Lifetimes, Material
from globaltx_operator.webhook.configurations import carried
from globaltx_operator.webhook.keeper import CertificateKeeper
from tests.webhook.conftest import pod, sidecar, until

if TYPE_CHECKING:
    from globaltx.stores.kubernetes.client import KubernetesClient
    from tests.webhook.conftest import Webhook

SECRET = "globaltx-webhook-certificate"
LIVES = Lifetimes(
    authority=timedelta(minutes=180),
    certificate=timedelta(minutes=60),
    trust=timedelta(minutes=10),
    skew=timedelta(days=2),  # so that what is made on a clock ahead is valid on the server's
)
STEP = timedelta(minutes=6)
"""Less than the trust, so that everybody asks once more before a new authority is used."""
ROUNDS_MAX = 60


def options(kubernetes_namespace: str, configuration: str = "none") -> WebhookOptions:
    return WebhookOptions(
        namespace=kubernetes_namespace,
        injection=InjectionOptions(image="i"),
        configuration=configuration,
        lifetimes=LIVES,
    )


def keeper(client: KubernetesClient, namespace: str, ahead: timedelta = timedelta()) -> CertificateKeeper:
    return CertificateKeeper(client, options(namespace), clock=lambda: datetime.now(UTC) + ahead)


async def test_replicas_that_begin_at_once_agree(kubernetes: KubernetesClient, namespace: str) -> None:
    keepers = [keeper(kubernetes, namespace) for _ in range(5)]
    await asyncio.gather(*(each.round() for each in keepers))
    assert keepers[0].material is not None
    assert all(each.material == keepers[0].material for each in keepers)


async def test_replicas_that_renew_at_once_agree(kubernetes: KubernetesClient, namespace: str) -> None:
    await keeper(kubernetes, namespace).round()
    keepers = [keeper(kubernetes, namespace, timedelta(minutes=50)) for _ in range(5)]
    await asyncio.gather(*(each.round() for each in keepers))
    assert all(each.material == keepers[0].material for each in keepers)


async def test_deleted_secret_is_written_again_as_it_was(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    one = keeper(kubernetes, namespace)
    await one.round()
    before = one.material
    await kubernetes.delete(SECRETS, SECRET, namespace)
    await one.round()
    assert one.material == before
    assert await shared(kubernetes, namespace) == before


async def test_damaged_secret_is_mended(kubernetes: KubernetesClient, namespace: str) -> None:
    one, other = keeper(kubernetes, namespace), keeper(kubernetes, namespace)
    await one.round()
    await kubernetes.patch(SECRETS, SECRET, {"stringData": {"tls.key": "x"}}, namespace)
    await other.round()  # knows nothing, makes it anew
    await one.round()
    assert one.material == other.material == await shared(kubernetes, namespace)


async def test_trust_that_was_taken_away_is_given_back(webhook: Webhook) -> None:
    await webhook.start()
    before = await carried(webhook.client, webhook.configuration)
    assert len(before) == len(("pods", "policies", "transactions"))
    taken = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    await webhook.client.patch(MUTATING_WEBHOOKS, webhook.configuration, taken, kind=PatchKind.JSON)

    async def back() -> bool:
        return await carried(webhook.client, webhook.configuration) == before

    await until("the bundle to be back", back)


async def test_no_call_fails_while_certificate_and_authority_change(webhook: Webhook) -> None:
    webhook.options = {"lifetimes": LIVES}
    await webhook.start()
    await webhook.client.create(POLICIES, POLICY, webhook.namespace)
    await until("the API server to ask us", lambda: injected(webhook))
    load = Load(webhook)
    seen: list[Material] = [await shared(webhook.client, webhook.namespace)]
    async with asyncio.TaskGroup() as group:
        group.create_task(load.through_the_api_server())
        group.create_task(load.anew())
        for _ in range(ROUNDS_MAX):
            webhook.now += STEP
            await acted(webhook)
            await load.passed(3)
            now = await shared(webhook.client, webhook.namespace)
            seen += [now] * (now != seen[-1])
            if seen[-1].authorities[-1] not in seen[0].authorities:
                break
        load.over = True
    assert seen[-1].authorities[-1] not in seen[0].authorities, "the first authority should have gone"
    assert len({each.certificate for each in seen}) > 3
    assert not load.failures
    assert load.certificates > 3, "new connections should have met new certificates"


async def acted(webhook: Webhook) -> None:
    """Wait until the keeper has done what is due: the second time it looks it is done with the first."""
    target = webhook.looks + 2

    async def looked() -> bool:
        return webhook.looks >= target

    await until("the certificate to be looked at", looked)


POLICY = {"metadata": {"name": "orders"}, "spec": {"http": {"port": "http"}}}


async def injected(webhook: Webhook) -> bool:
    with contextlib.suppress(Exception):
        return sidecar(await webhook.create(pod())) is not None
    return False


async def shared(client: KubernetesClient, namespace: str) -> Material:
    secret = await client.get(SECRETS, SECRET, namespace)
    return Material.from_data(held(secret).texts())


class Load:
    """Reviews without a pause, through the API server and over new connections of our own."""

    def __init__(self, webhook: Webhook) -> None:
        self.failures: list[str] = []
        self.over = False
        self._calls = {"server": 0, "anew": 0}
        self._webhook = webhook
        self._passed = asyncio.Condition()
        self._served: set[bytes] = set()

    @property
    def certificates(self) -> int:
        """How many different ones were met."""
        return len(self._served)

    async def passed(self, count: int) -> None:
        """Wait until so many more calls have been made in each of the two ways."""
        targets = {way: calls + count for way, calls in self._calls.items()}
        async with asyncio.timeout(30), self._passed:
            await self._passed.wait_for(lambda: all(self._calls[way] >= targets[way] for way in targets))

    async def through_the_api_server(self) -> None:
        """Create pods; the API server keeps its connections for a while."""
        while not self.over:
            created = await self._webhook.create(pod())
            await self._count("server", sidecar(created) is not None, "a pod was not injected")

    async def anew(self) -> None:
        """Ask over a new connection each, trusting what the configuration carried one call earlier."""
        bundle = (await carried(self._webhook.client, self._webhook.configuration))[0]
        while not self.over:
            following = (await carried(self._webhook.client, self._webhook.configuration))[0]
            try:
                answer = await self._ask(bundle)
                await self._count("anew", answer["response"]["allowed"], str(answer))
            except (OSError, ValueError, TimeoutError) as error:
                await self._count("anew", False, repr(error))  # noqa: FBT003  it reads as it is
            bundle = following

    async def _ask(self, bundle: str) -> Any:
        context = ssl.create_default_context(cadata=bundle)
        request = {"uid": "u", "namespace": self._webhook.namespace, "object": pod(), "dryRun": True}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "request": request}).encode()
        head = f"POST /inject HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._webhook.port, ssl=context)
            self._served.add(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
            try:
                writer.write(head.encode() + body)
                answer = await reader.read()
            finally:
                writer.close()
                await writer.wait_closed()
        return json.loads(answer.partition(b"\r\n\r\n")[2])

    async def _count(self, way: str, good: bool, told: str) -> None:  # noqa: FBT001  it reads as it is
        async with self._passed:
            self._calls[way] += 1
            if not good:
                self.failures.append(told)
            self._passed.notify_all()
