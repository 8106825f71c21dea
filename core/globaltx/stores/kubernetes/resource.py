"""Where a kind of object lives on the API server, for the kinds that globaltx touches."""

from __future__ import annotations

from urllib.parse import quote

from globaltx.values import dataclass

GROUP = "globaltx.io"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API server serves it; ``group`` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The text for an object's ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The path of one object, or of all objects when ``name`` is None.

        A namespaced kind without a namespace means all namespaces, which only lists and
        watches can.

        Raises:
            ValueError: the parts do not fit this kind.
        """
        self._check(namespace, name, subresource)
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        parts += ["namespaces", namespace] if namespace else []
        parts += [self.plural, *(part for part in (name, subresource) if part is not None)]
        return "/" + "/".join(quote(part, safe="") for part in parts)

    def _check(self, namespace: str | None, name: str | None, subresource: str | None) -> None:
        if namespace is not None and (not namespace or not self.namespaced):
            message = f"{self.plural} cannot be asked for in namespace {namespace!r}"
        elif name is not None and not name:
            message = f"an empty name would mean all {self.plural}"
        elif name is not None and self.namespaced and namespace is None:
            message = f"{self.plural} {name!r} needs a namespace"
        elif subresource is not None and name is None:
            message = f"subresource {subresource!r} needs the name of one of the {self.plural}"
        else:
            return
        raise ValueError(message)


TRANSACTIONS = Resource(GROUP, VERSION, "globaltransactions", "GlobalTransaction")
BRANCHES = Resource(GROUP, VERSION, "branches", "Branch")
POLICIES = Resource(GROUP, VERSION, "transactionpolicies", "TransactionPolicy")

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICES = Resource("", "v1", "services", "Service")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
CORE_EVENTS = Resource("", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
MUTATING_WEBHOOKS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    namespaced=False,
)
VALIDATING_WEBHOOKS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)
