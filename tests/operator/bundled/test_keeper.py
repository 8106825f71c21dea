"""The chart's own etcd as the operator sets it up: a real one, which knows nothing but what was minted."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dev.etcd import Etcd
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.errors import EtcdError, EtcdRefusedError, EtcdUnavailableError
from globaltx.stores.etcd.requests import Txn, get, put
from globaltx.stores.kubernetes.resource import NAMESPACES, SECRETS
from globaltx_operator.bundled import BundledEtcd, BundledOptions
from globaltx_operator.shared import held

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from globaltx.stores.kubernetes.client import KubernetesClient

pytestmark = [pytest.mark.control_plane, pytest.mark.etcd]

NOWHERE = ("https://127.0.0.1:1",)
ALL = "/globaltx/"


class Field:
    """A namespace that is the operator's own and has sidecars too, and its etcd."""

    def __init__(self, kubernetes: KubernetesClient, namespace: str, folder: Path) -> None:
        self.kubernetes, self.namespace, self.folder = kubernetes, namespace, folder
        self.etcd: Etcd | None = None
        self.now = timedelta()
        self._stack = AsyncExitStack()

    async def keeper(
        self, name: str = "one", endpoints: tuple[str, ...] = (), served: tuple[str, ...] = ()
    ) -> BundledEtcd:
        """A replica of the operator, as far as it matters here."""
        options = BundledOptions(
            "globaltx-etcd", 1, self.namespace, self.folder / name, ALL, served=served or (self.namespace,)
        )
        where = endpoints or (self.etcd.endpoints if self.etcd else NOWHERE)
        made = BundledEtcd(self.kubernetes, options, where, clock=self.clock)
        return await self._stack.enter_async_context(made)

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.now

    async def texts(self, name: str) -> dict[str, str]:
        return held(await self.kubernetes.get(SECRETS, name, self.namespace)).texts()

    async def start(self) -> Etcd:
        """Start an etcd by the Secret that its pods mount; only its probes enter, by ``client``."""
        server = await self.texts("globaltx-etcd-server")
        folder = self.folder / "etcd"
        names = {"ca.crt": "client-ca.crt", "server.crt": "client.crt", "server.key": "client.key"}
        write(folder / "pki", {name: server[of] for name, of in names.items()})
        own = {each: (self.folder / "one" / each).read_text() for each in ("ca.crt", "tls.crt", "tls.key")}
        write(folder / "client", own)
        self.etcd = await asyncio.to_thread(Etcd.up, folder=folder, tls=True, durable=False)
        return self.etcd

    async def client(self, name: str, texts: dict[str, str]) -> EtcdClient:
        """Somebody who enters by these files."""
        assert self.etcd is not None
        write(self.folder / name, texts)
        access = EtcdAccess(self.etcd.endpoints, self.folder / name)
        return await self._stack.enter_async_context(EtcdClient(access))

    async def end(self) -> None:
        await self._stack.aclose()
        if self.etcd is not None:
            await asyncio.to_thread(self.etcd.down)


def write(folder: Path, texts: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


@pytest.fixture
async def field(kubernetes: KubernetesClient, namespace: str, tmp_path: Path) -> AsyncIterator[Field]:
    made = Field(kubernetes, namespace, tmp_path)
    yield made
    await made.end()


@contextmanager
def waits_for_etcd() -> Iterator[None]:
    with pytest.raises(EtcdUnavailableError):
        yield


async def set_up(field: Field) -> BundledEtcd:
    """Install: Secrets first, then etcd, then its users."""
    early = await field.keeper()
    with waits_for_etcd():
        await early.round()
    assert early.entered.is_set()
    await field.start()
    keeper = await field.keeper()
    await keeper.round()
    return keeper


async def test_sidecars_of_a_namespace_enter_its_keys_and_no_others(field: Field) -> None:
    keeper = await set_up(field)
    await keeper.admit(field.namespace)
    sidecar = await field.client("sidecar", await field.texts("globaltx-etcd"))
    mine = f"{ALL}{field.namespace}/tx/a/begin"
    await sidecar.txn(Txn(success=(put(mine, "x"), get(mine))))
    for other in (f"{ALL}{field.namespace}x/tx/a/begin", f"{ALL}bank/tx/a/begin", "/registry/x"):
        for operation in (put(other, "x"), get(other)):
            with pytest.raises(EtcdRefusedError, match="permission denied"):
                await sidecar.txn(Txn(success=(operation,)))
    with pytest.raises(EtcdRefusedError, match="permission denied"):
        await sidecar.request("Auth/UserList", b"")


async def test_nobody_enters_without_a_certificate_nor_without_a_user(field: Field) -> None:
    keeper = await set_up(field)
    await keeper.admit(field.namespace)
    given = await field.texts("globaltx-etcd")
    user = {each: given[each] for each in ("ca.crt", "username", "password")}
    with pytest.raises(EtcdUnavailableError, match="certificate"):
        await (await field.client("no certificate", user)).revision()
    certificate = {each: given[each] for each in ("ca.crt", "tls.crt", "tls.key")}
    with pytest.raises(EtcdRefusedError, match="permission denied"):
        await (await field.client("no user", certificate)).revision()
    with pytest.raises(EtcdRefusedError, match="authentication failed"):
        await (await field.client("another's", given | {"password": "x"})).revision()


async def test_who_connected_before_it_was_locked_up_goes_on(field: Field) -> None:
    early = await field.keeper()
    with waits_for_etcd():
        await early.round()
    await field.start()
    root = {each.name: each.read_text() for each in (field.folder / "one").iterdir()}
    operator = await field.client("operator", root)
    await operator.revision()
    await (await field.keeper()).round()
    await operator.revision()


async def test_replicas_at_once_make_the_same(field: Field) -> None:
    await set_up(field)
    await field.kubernetes.delete(SECRETS, "globaltx-etcd-server", field.namespace)
    replicas = [await field.keeper(name) for name in ("one", "two", "three")]
    await asyncio.gather(*(each.round() for each in replicas))
    await asyncio.gather(*(each.admit(field.namespace) for each in replicas))
    written = await field.texts("globaltx-etcd-server")
    await asyncio.gather(*(each.round() for each in replicas))
    assert await field.texts("globaltx-etcd-server") == written


async def test_an_etcd_that_lost_its_data_is_locked_up_again(field: Field) -> None:
    keeper = await set_up(field)
    await keeper.admit(field.namespace)
    assert field.etcd is not None
    [member] = field.etcd.members
    await asyncio.to_thread(member.crash)
    await asyncio.to_thread(wipe, field.folder / "etcd" / member.name)
    await asyncio.to_thread(member.start)
    with suppress(EtcdUnavailableError):  # which waits for the history that the old token is from
        await keeper.round()
    await keeper.round()
    sidecar = await field.client("sidecar", await field.texts("globaltx-etcd"))
    key = f"{ALL}{field.namespace}/x"
    await sidecar.txn(Txn(success=(put(key, "x"),)))


def wipe(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


async def test_a_secret_that_was_deleted_is_made_again_and_still_enters(field: Field) -> None:
    keeper = await set_up(field)
    await keeper.admit(field.namespace)
    before = await field.texts("globaltx-etcd")
    await field.kubernetes.delete(SECRETS, "globaltx-etcd", field.namespace)
    await keeper.admit(field.namespace)
    after = await field.texts("globaltx-etcd")
    assert after["password"] == before["password"]
    key = f"{ALL}{field.namespace}/x"
    await (await field.client("sidecar", after)).txn(Txn(success=(get(key),)))


async def test_certificates_are_renewed_where_they_are_held(field: Field) -> None:
    keeper = await set_up(field)
    await keeper.admit(field.namespace)
    before = await field.texts("globaltx-etcd"), await field.texts("globaltx-etcd-server")
    field.now = timedelta(days=250)
    with waits_for_etcd():  # whose clock is not ahead: to it the operator's own is not valid yet
        await keeper.round()
    await keeper.admit(field.namespace)
    after = await field.texts("globaltx-etcd"), await field.texts("globaltx-etcd-server")
    for name, old, new in zip(("tls.crt", "client.crt"), before, after, strict=True):
        assert old[name] != new[name]
    assert before[0]["ca.crt"] == after[0]["ca.crt"]


async def test_a_secret_that_cannot_be_written_is_in_the_way_of_its_own_namespace_only(field: Field) -> None:
    """Anybody who may write Secrets in a namespace can make one of that name."""
    keeper = await set_up(field)
    await keeper.admit(field.namespace)
    before = await field.texts("globaltx-etcd")
    other = f"{field.namespace}-other"
    await field.kubernetes.create(NAMESPACES, {"metadata": {"name": other}})
    fixed = {"metadata": {"name": "globaltx-etcd"}, "immutable": True}
    await field.kubernetes.create(SECRETS, fixed, other)
    await field.kubernetes.patch(SECRETS, "globaltx-etcd", {"data": {"username": "eA=="}}, field.namespace)
    await (await field.keeper("other", served=(other, field.namespace))).round()
    assert await field.texts("globaltx-etcd") == before


async def test_another_password_of_root_is_told(field: Field) -> None:
    await set_up(field)
    await field.kubernetes.delete(SECRETS, "globaltx-etcd-root", field.namespace)
    other = await field.keeper()
    with pytest.raises(EtcdError, match="authentication failed"):
        await other.round()


async def test_an_injection_does_not_wait_for_an_etcd_that_is_away(field: Field) -> None:
    keeper = await field.keeper()
    await keeper.admit(field.namespace)
    assert (await field.texts("globaltx-etcd"))["username"] == f"sidecars.{field.namespace}"
