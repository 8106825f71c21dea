"""The participant as a step of declared sagas, with a conductor that calls it through its sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from globaltx.coordinator.policy import Egress
from globaltx.manifest.settings import SidecarSettings
from tests.ports import LOOPBACK, free_port
from tests.sidecar.guarded.stage import Guarded

if TYPE_CHECKING:
    from dev.databases import Server
    from tests.sidecar.bank.stage import Json
    from tests.sidecar.site import Site

CALL_SECONDS = 5


class GuardedByDeclared(Guarded):
    """No route names its requests: the sidecar knows them by what the conductor says."""

    _routes = ()

    def __init__(self, site: Site, server: Server, schema: str, *, guards: bool = True) -> None:
        super().__init__(site, server, schema, guards=guards)
        settings = SidecarSettings(
            namespace=site.namespace,
            app="trip",
            policies=("trip",),
            egress=(Egress(LOOPBACK, (1,)),),
            control_port=free_port(),
        )
        self.conductor = site.sidecar(settings, pod="trip-0")
        self.programs = (*self.programs, self.conductor)
        self._count = 0

    def allow(self) -> None:
        """Let sagas call the participant, and nobody else."""
        policy = {
            "apiVersion": "globaltx.io/v1alpha1",
            "kind": "TransactionPolicy",
            "metadata": {"name": "trip", "namespace": self.namespace},
            "spec": {"saga": {"egress": [{"host": LOOPBACK, "ports": [urlsplit(self.sidecar.url).port]}]}},
        }
        self.apply(policy)

    def book(self, attempts: int = 3, *, fails: bool = False) -> str:
        """Apply a saga that books, and give its name; ``fails``: a step behind that does."""
        self._count += 1
        steps: list[dict[str, Any]] = [
            {
                "name": "book",
                "request": {"url": f"{self.sidecar.url}/book/step"},
                "compensation": {"url": f"{self.sidecar.url}/book/compensate"},
                "timeoutSeconds": CALL_SECONDS,
                "retry": {"attempts": attempts, "backoffSeconds": 1, "backoffSecondsMax": 1},
                "successStatuses": [204, 200],
            }
        ]
        if fails:
            nowhere = {"url": f"{self.sidecar.url}/book/nothing"}
            steps.append(
                {"name": "fail", "request": nowhere, "dependsOn": ["book"], "retry": {"attempts": 1}}
            )
        manifest: Json = {
            "apiVersion": "globaltx.io/v1alpha1",
            "kind": "GlobalTransaction",
            "metadata": {"name": f"book-{self._count}", "namespace": self.namespace},
            "spec": {
                "mode": "Saga",
                "policy": "trip",
                "initiator": "trip",
                "timeoutSeconds": 600,
                "saga": {"steps": steps},
            },
        }
        return self.apply(manifest)
