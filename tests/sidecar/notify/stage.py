"""An application whose outcomes are told: two sidecars, an operator, a real receiver, in either store."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from dev.waiting import wait_for
from globaltx.manifest.policy import read_policy
from globaltx.manifest.settings import HttpSettings, SidecarSettings
from tests.docs.test_notify import receiver, told
from tests.operator.test_rights import kubeconfig, rights
from tests.ports import LOOPBACK, free_port
from tests.sidecar.bank.between import Between
from tests.sidecar.bank.stage import Json, Stage
from tests.sidecar.ledgers import InKubernetes
from tests.sidecar.programs import get
from tests.sidecar.saga.stage import limited

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sidecar.programs import SidecarProgram
    from tests.sidecar.site import Site

KEY, NEXT_KEY = "whsec_" + "a2V5" * 8, "whsec_" + "bmV4" * 8
SECONDS = 240.0
"""How long is waited for what comes by itself: a machine may be busy."""


def _route(name: str, path: str, *wishes: Json) -> Json:
    return {"name": name, "match": {"path": path}, "begin": {"notify": list(wishes)}}


class Application:
    """Answers what the path asks for: ``/orders/200`` commits."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.send_response(int(self.path.rpartition("/")[2]))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, free_port()), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Notified(Stage):
    """All of it; ``between`` stands before the receiver, ``beside`` where nobody ever answers well."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        folder = site.folder
        self.application = Application()
        port = free_port()
        self.between, self.beside = Between(free_port(), port), Between(free_port(), free_port())
        self.receiver = receiver(folder, port, KEY, NEXT_KEY)
        self.betweens = (self.between, self.beside)
        self.keys = folder / "keys"
        self.keys.mkdir()
        self.sign_with(KEY)
        config = limited(site.cluster, site.namespace, folder)
        self.sidecars = tuple(self._sidecar(f"order-{index}", config) for index in range(2))
        self.programs = (self.operator, self.receiver, *self.sidecars)
        self._limit_operator()

    def _limit_operator(self) -> None:
        """Let it do what the chart lets it, and no more."""
        etcd, namespace = self.site.etcd, self.namespace
        values = [f"watchNamespaces={{{namespace}}}"]
        if etcd is not None:
            values += ["store.type=etcd", f"store.etcd.endpoints={{{','.join(etcd.endpoints)}}}"]
        manifests = rights(self.cluster, namespace, *values)
        self.cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=manifests)
        account = f"globaltx-{namespace}-operator"
        token = self.cluster.kubectl("create", "token", account, "-n", namespace, "--duration=6h").strip()
        config = self.site.folder / "operator.kubeconfig"
        config.write_text(kubeconfig(self.cluster, token))
        self.operator.command = [*self.operator.command, "--lease", account]
        self.operator.environment = {**self.operator.environment, "KUBECONFIG": str(config)}

    def policy(self) -> Json:
        """What stands in the cluster, and what the sidecars were made by."""
        routes = [
            _route("create", "/orders/200", self.wish("billing")),
            _route("refused", "/refunds/500", self.wish("refunds", outcomes=["Rollback"])),
            _route("both", "/both/200", self.wish("hangs", beside=True), self.wish("billing")),
        ]
        egress = [{"host": LOOPBACK, "ports": [each.port for each in self.betweens], "paths": ["/outcomes"]}]
        return {
            "apiVersion": "globaltx.io/v1alpha1",
            "kind": "TransactionPolicy",
            "metadata": {"name": "order", "namespace": self.namespace},
            "spec": {
                "projection": "All",
                "http": {"port": "http", "routes": routes},
                "notify": {"secretName": "order", "egress": egress},
            },
        }

    def _sidecar(self, pod: str, config: Path) -> SidecarProgram:
        policy = read_policy(self.policy())
        assert policy.http is not None
        settings = SidecarSettings(
            namespace=self.namespace,
            app="order",
            policies=("order",),
            http=HttpSettings(self.application.port, policy.http.routes, free_port(), LOOPBACK),
            control_port=free_port(),
            notifying=policy.notifying,
        )
        made = self.site.sidecar(settings, pod=pod, kubeconfig=config)
        made.command = [*made.command, "--notify-keys", str(self.keys)]
        return made

    def wish(self, name: str, *, beside: bool = False, **more: Any) -> Json:
        """A wish to be told at the receiver, or where nobody answers well."""
        url = f"http://{LOOPBACK}:{(self.beside if beside else self.between).port}/outcomes"
        return {"name": name, "url": url, "retryAfterSeconds": [1, 1], "timeoutSeconds": 30, **more}

    def __enter__(self) -> Self:
        self.application.__enter__()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.application.__exit__()

    def sign_with(self, key: str) -> None:
        """Change the key, as a kubelet does."""
        fresh = self.keys / "fresh"
        fresh.write_text(key)
        fresh.rename(self.keys / "key")

    def order(self, path: str = "/orders/200", sidecar: int = 0) -> str:
        """Send a client's request; the name of the transaction that it began."""
        before = set(self.outcomes())
        self.send(path, sidecar)
        return self.since(before)

    def send(self, path: str = "/orders/200", sidecar: int = 0) -> int:
        """Send a client's request without a body, and give the status of its answer."""
        return get(f"{self.sidecars[sidecar].url}{path}", method="POST", body=b"", seconds=60)[0]

    def outcomes(self) -> dict[str, str]:
        """The transactions that are shown, whatever keeps them, each with its outcome or an empty text."""
        shown = InKubernetes(self.cluster, self.namespace).stands()
        return {name: each.outcome for name, each in shown.items()}

    def since(self, before: set[str]) -> str:
        """Wait until a transaction is shown that was not there before."""
        wait_for(
            "the transaction to be seen", lambda: set(self.outcomes()) - before, seconds=SECONDS, every=0.1
        )
        return (set(self.outcomes()) - before).pop()

    def notifications(self, name: str) -> dict[str, Json]:
        """How the notifications of a transaction stand, by their names."""
        return {each["name"]: each for each in self.read(name)["status"].get("notifications", ())}

    def stands(self, name: str, notification: str, state: str) -> Json:
        """Wait until a notification stands so, and give it."""
        wait_for(
            f"{notification} of {name} is {state}",
            lambda: self.notifications(name).get(notification, {}).get("state") == state,
            seconds=SECONDS,
            every=0.1,
        )
        return self.notifications(name)[notification]

    def told(self, name: str) -> int:
        """How often the receiver was told of a transaction and did something about it."""
        return told(self.receiver).count(f"{self.namespace}.{name}")

    def condition(self, name: str, kind: str) -> Json:
        """One condition of a transaction."""
        found: list[Json] = self.read(name)["status"]["conditions"]
        return next(each for each in found if each["type"] == kind)

    def events(self, reason: str) -> list[str]:
        """The transactions at which such an Event was told."""
        path = "jsonpath={range .items[*]}{.regarding.name}{'\\n'}{end}"
        field = f"--field-selector=reason={reason}"
        said = self.cluster.kubectl("get", "events.events.k8s.io", field, "-n", self.namespace, "-o", path)
        return said.split()

    def leader(self) -> SidecarProgram:
        """The sidecar that leads."""

        def leading() -> list[SidecarProgram]:
            return [each for each in self.sidecars if each.metric("globaltx_sidecar_leader")]

        wait_for("a sidecar to lead", lambda: len(leading()) == 1, seconds=SECONDS, every=0.1)
        return leading()[0]

    def clear(self) -> None:
        """Let everything through again, signed with the first key."""
        super().clear()
        self.sign_with(KEY)
