"""``check``: the policies of a namespace against the cluster and the databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.manifest.policy import InvalidPolicyError, read_policy
from globaltx.manifest.resources import CONDITION_READY
from globaltx.modes.guard_row import GUARD_TABLE
from globaltx.undo.table import UNDO_TABLE
from globaltx_cli.database import Account, Address, UnreachableError, rights
from globaltx_cli.errors import CliError
from globaltx_cli.findings import Finding, Level, report
from globaltx_cli.pods import check_pods

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from globaltx.coordinator.policy import Datasource, Policy
    from globaltx_cli.cluster import Cluster
    from globaltx_cli.database import Rights

Resource = dict[str, Any]


def check(arguments: argparse.Namespace, connect: Callable[[str | None], Cluster]) -> int:
    """Print what was looked at and what is wrong; 1 if something is."""
    addresses = {name: _address(text) for name, text in _pairs("--address", arguments.address)}
    app_secrets = dict(_pairs("--app-secret", arguments.app_secret))
    cluster = connect(arguments.namespace)
    findings: list[Finding] = []
    policies = list(_policies(cluster.policies(), findings))
    if not policies and not findings:
        findings.append(Finding(Level.PROBLEM, f"namespace {cluster.namespace}", "has no TransactionPolicy"))
    datasources = [each for policy in policies for each in policy.datasources]
    _known("--app-secret", app_secrets, datasources)
    _known("--address", addresses, datasources)
    for datasource in datasources:
        account = _account(cluster, datasource.secret, f"datasource {datasource.name}", findings)
        if account is None or arguments.no_database:
            continue
        address = addresses.get(datasource.name) or Address(datasource.host, datasource.port)
        findings += _database(datasource, address, account, "the sidecars' account", triggers=True)
        secret = app_secrets.get(datasource.name)
        if secret is None:
            continue
        account = _account(cluster, secret, f"--app-secret of {datasource.name}", findings)
        if account is not None:
            findings += _database(datasource, address, account, "the application's account")
    findings += check_pods(cluster.pods(), policies)
    print(report(findings))
    return 1 if any(each.level is Level.PROBLEM for each in findings) else 0


def _policies(resources: Sequence[Resource], findings: list[Finding]) -> Iterator[Policy]:
    for resource in resources:
        subject = f"policy {resource['metadata']['name']}"
        try:
            policy = read_policy(resource)
        except InvalidPolicyError as error:
            findings.append(Finding(Level.PROBLEM, subject, str(error)))
            continue
        findings.append(_ready(subject, resource))
        yield policy


def _ready(subject: str, resource: Resource) -> Finding:
    conditions = (resource.get("status") or {}).get("conditions") or ()
    ready: Resource = next((each for each in conditions if each["type"] == CONDITION_READY), {})
    if ready.get("status") == "True":
        return Finding(Level.OK, subject, "Ready")
    if ready.get("status") == "False":
        return Finding(Level.PROBLEM, subject, f"{ready['reason']}: {ready.get('message', '')}")
    return Finding(Level.WARNING, subject, "not looked at by the operator yet: is it running?")


def _account(cluster: Cluster, name: str, subject: str, findings: list[Finding]) -> Account | None:
    values = cluster.secret(name)
    if values is None:
        findings.append(Finding(Level.PROBLEM, subject, f"Secret {name} does not exist; create it"))
        return None
    lacking = [key for key in ("username", "password") if not values.get(key)]
    if lacking:
        told = " and ".join(lacking)
        findings.append(Finding(Level.PROBLEM, subject, f"Secret {name} lacks the key {told}; add it"))
        return None
    findings.append(Finding(Level.OK, subject, f"Secret {name} holds username and password"))
    return Account(values["username"], values["password"])


def _database(
    datasource: Datasource, address: Address, account: Account, whose: str, *, triggers: bool = False
) -> Iterator[Finding]:
    subject = f"datasource {datasource.name}"
    told = f"{whose} {account.user}"
    try:
        found = rights(address, account, datasource.schema, triggers=triggers)
        guard = None
        if datasource.guards_calls:
            guard = rights(address, account, datasource.schema, table=GUARD_TABLE)
    except UnreachableError as error:
        yield Finding(
            Level.WARNING,
            subject,
            f"not looked into, the database does not let {told} in from here: {error} "
            f"(say where it is reached: --address {datasource.name}=HOST:PORT)",
        )
        return
    except CliError as error:
        yield Finding(Level.PROBLEM, subject, f"{told}: {error}")
        return
    yield _told(datasource, told, found, UNDO_TABLE)
    if guard is not None:
        yield _told(datasource, told, guard, GUARD_TABLE)


def _told(datasource: Datasource, who: str, found: Rights, table: str) -> Finding:
    subject = f"datasource {datasource.name}"
    if found.table_missing and not found.missing:
        if datasource.manage_undo_table:
            return Finding(Level.WARNING, subject, f"{table} is not there yet; the sidecar makes it")
        command = f"globaltx schema{' --guard' if table == GUARD_TABLE else ''} {datasource.schema}"
        return Finding(Level.PROBLEM, subject, f"{table} is missing: run `{command}` on the database")
    if found.missing:
        lacks = ", ".join(found.missing)
        place = f"{datasource.schema}.{'*' if 'TRIGGER' in found.missing else table}"
        return Finding(Level.PROBLEM, subject, f"{who} lacks {lacks} on {place}: see `globaltx schema`")
    return Finding(Level.OK, subject, f"{who} has its rights on {datasource.schema}.{table}")


def _pairs(option: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            message = f"{option} {text!r}: write DATASOURCE=..., as --help shows"
            raise CliError(message)
        yield name, value


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        message = f"--address: {text!r} is not HOST:PORT"
        raise CliError(message)
    return Address(host.strip("[]"), int(port))


def _known(option: str, named: dict[str, Any], datasources: Sequence[Datasource]) -> None:
    names = sorted({each.name for each in datasources})
    for name in named:
        if name not in names:
            message = (
                f"{option} {name}: no policy has this datasource; there are {', '.join(names) or 'none'}"
            )
            raise CliError(message)
