"""The manifests of an example, and what its pods would be given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from globaltx.manifest.injection import Injected
from globaltx.manifest.injection.inject import inject_workload
from globaltx.manifest.injection.options import InjectionOptions
from globaltx.manifest.policy import read_policy

if TYPE_CHECKING:
    from globaltx.coordinator.policy import Policy
    from globaltx.manifest.settings import SidecarSettings

EXAMPLES = Path(__file__).parents[2] / "examples"


class Example:
    """One of the folders of examples."""

    def __init__(self, name: str) -> None:
        self.folder = EXAMPLES / name
        manifests = self.folder / "manifests"
        kustomization = yaml.safe_load((manifests / "kustomization.yaml").read_text())
        self.namespace: str = kustomization["namespace"]
        texts = ((manifests / name).read_text() for name in kustomization["resources"])
        self._documents = [each for text in texts for each in yaml.safe_load_all(text)]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Its manifests of a kind."""
        return [each for each in self._documents if each["kind"] == kind]

    def policies(self) -> list[Policy]:
        """Its policies."""
        return [read_policy(each) for each in self.of_kind("TransactionPolicy")]

    def container(self, name: str) -> dict[str, Any]:
        """The one container of a deployment."""
        (found,) = (each for each in self.of_kind("Deployment") if each["metadata"]["name"] == name)
        container: dict[str, Any]
        (container,) = found["spec"]["template"]["spec"]["containers"]
        return container

    def injected(self) -> dict[str, SidecarSettings]:
        """By app, what the sidecar of each deployment is told; all get one."""
        found = {}
        for deployment in self.of_kind("Deployment"):
            options = InjectionOptions(image="sidecar")
            injected = inject_workload(deployment, self.policies(), options, namespace=self.namespace)
            assert isinstance(injected, Injected), injected
            found[injected.settings.app] = injected.settings
        return found

    def routes(self) -> dict[str, list[str]]:
        """By app, the names of the routes of its sidecar."""
        return {
            app: [route.name for route in settings.http.routes] if settings.http else []
            for app, settings in self.injected().items()
        }
