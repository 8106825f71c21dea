"""``inject``: manifests in, manifests with sidecars out, as the webhook would make them."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from globaltx.manifest.injection import (
    Injected,
    InjectionOptions,
    Refused,
    apply,
    inject_workload,
)
from globaltx.manifest.policy import InvalidPolicyError, read_policy
from globaltx.manifest.resources import POLICIES
from globaltx.manifest.settings import EtcdSettings
from globaltx_cli import documents
from globaltx_cli.errors import CliError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from globaltx.coordinator.policy import Policy
    from globaltx_cli.cluster import Cluster

DEFAULT_NAMESPACE = "default"


def inject(arguments: argparse.Namespace, connect: Callable[[str | None], Cluster]) -> int:
    """Print what was read, each pod template that asks for it with its sidecar.

    Policies are those among the manifests, in ``--policies`` files, and with ``--from-cluster``
    those of the cluster. Nothing is printed if one pod is refused.
    """
    manifests = documents.read(arguments.filename)
    extra = [each for file in arguments.policies for each in documents.read(file)]
    raw = [each for each in [*manifests, *extra] if each["kind"] == POLICIES.kind]
    namespace = arguments.namespace or DEFAULT_NAMESPACE
    if arguments.from_cluster:
        cluster = connect(arguments.namespace)
        namespace = cluster.namespace
        raw += cluster.policies()
    endpoints = tuple(arguments.etcd_endpoints)
    etcd = EtcdSettings(endpoints, arguments.etcd_prefix, tuple(arguments.etcd_secret)) if endpoints else None
    options = InjectionOptions(image=arguments.sidecar_image, etcd=etcd)
    return _print(manifests, _policies(raw, namespace), options, namespace)


def injected(
    manifest: dict[str, Any], policies: Sequence[Policy], options: InjectionOptions, namespace: str
) -> tuple[dict[str, Any], Refused | None]:
    """Inject one manifest; a refusal comes back beside the manifest as it was."""
    of_namespace = [each for each in policies if each.namespace == namespace]
    result = inject_workload(manifest, of_namespace, options, namespace=namespace)
    if isinstance(result, Injected):
        return apply(manifest, result.patch), None
    return manifest, result if isinstance(result, Refused) else None


def _print(
    manifests: Sequence[dict[str, Any]],
    policies: Sequence[Policy],
    options: InjectionOptions,
    namespace: str,
) -> int:
    out, refusals = [], 0
    for manifest in manifests:
        changed, refused = injected(manifest, policies, options, _namespace(manifest, namespace))
        out.append(changed)
        if refused is not None:
            refusals += 1
            name = (manifest.get("metadata") or {}).get("name", "?")
            print(f"{manifest['kind']} {name}: {refused}", file=sys.stderr)
    if refusals:
        return 1
    sys.stdout.write(documents.write(out))
    return 0


def _policies(raw: Sequence[dict[str, Any]], namespace: str) -> list[Policy]:
    try:
        policies = [read_policy(each) for each in raw]
    except InvalidPolicyError as error:
        raise CliError(str(error)) from error
    named = {(each.namespace or namespace, each.name): each for each in policies}
    return [replace(each, namespace=where) for (where, _), each in named.items()]


def _namespace(manifest: dict[str, Any], namespace: str) -> str:
    return str((manifest.get("metadata") or {}).get("namespace") or namespace)
