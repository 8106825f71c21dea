"""`globaltx` and, as a plugin, `kubectl globaltx`: reads the line and calls the command."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from globaltx import __version__
from globaltx.stores.etcd.access import DEFAULT_PREFIX
from globaltx.transaction.conflict import Remedy
from globaltx.transaction.states import State
from globaltx_cli import check, diagnose, inject, resolve, schema, transactions
from globaltx_cli.cluster import Cluster
from globaltx_cli.errors import CliError

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_SIDECAR_IMAGE = f"globaltx/sidecar:{__version__}"
"""As in the chart's values; a test compares."""

_Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  no public name


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 if all is well, 1 if not, 2 if the line was wrong."""
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments, partial(Cluster, arguments.context)))
    except CliError as error:
        print(f"globaltx: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be written at the exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Describe the line."""
    top = argparse.ArgumentParser(
        prog="kubectl globaltx" if Path(sys.argv[0]).name == "kubectl-globaltx" else "globaltx",
        description="Distributed transactions on Kubernetes: look at them, and prepare what takes part.",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _get(commands)
    _status(commands)
    _diagnose(commands)
    _resolve(commands)
    _check(commands)
    _inject(commands)
    _schema(commands)
    _version(commands)
    return top


def _get(commands: _Subparsers) -> None:
    command = _command(commands, "get", "list the global transactions of a namespace")
    command.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    command.add_argument("--state", choices=[str(each) for each in State], help="only those in this state")
    _output(command)
    command.set_defaults(run=transactions.get)


def _status(commands: _Subparsers) -> None:
    command = _command(commands, "status", "show one global transaction with its branches and reasons")
    command.add_argument("xid", metavar="XID", help="<namespace>.<name>, or the name alone")
    _output(command)
    command.set_defaults(run=transactions.status)


def _diagnose(commands: _Subparsers) -> None:
    command = _command(
        commands, "diagnose", "ask every participant of a global transaction how its branch stands"
    )
    command.add_argument("xid", metavar="XID", help="<namespace>.<name>, or the name alone")
    _output(command)
    command.set_defaults(run=diagnose.diagnose)


def _resolve(commands: _Subparsers) -> None:
    command = _command(commands, "resolve", "decide about the rows of a transaction that are in conflict")
    command.add_argument("xid", metavar="XID", help="<namespace>.<name>, or the name alone")
    action = command.add_mutually_exclusive_group(required=True)
    for remedy, what in (
        (Remedy.KEEP, "the rows stay what they are now, and are let go"),
        (Remedy.RESTORE, "the rows become what they were before, whatever stands there"),
        (Remedy.RETRY, "the rows are compared again at once"),
    ):
        action.add_argument(
            f"--{remedy.lower()}", dest="action", action="store_const", const=str(remedy), help=what
        )
    command.add_argument("--why", required=True, help="why, as a sentence; it is kept with the branch")
    command.add_argument("--branch", help="app/resource, or its name, if several are in conflict")
    command.add_argument("--table", help="only the rows of this table")
    command.add_argument("--key", help="only the row of this key, as `status` shows it (id=7, or 7)")
    command.add_argument("--row", help="only the row of this name, as `status` shows it")
    command.add_argument(
        "--wait", type=float, default=30.0, metavar="SECONDS", help="for it to be done (default: %(default)g)"
    )
    command.set_defaults(run=resolve.resolve)


def _check(commands: _Subparsers) -> None:
    command = _command(commands, "check", "compare the policies of a namespace with what is in the cluster")
    command.add_argument(
        "--app-secret",
        action="append",
        default=[],
        metavar="DATASOURCE=SECRET",
        help="the Secret (username, password) of the application's own account, so that its rights on "
        "globaltx_undo are checked too; may be repeated",
    )
    command.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="DATASOURCE=HOST:PORT",
        help="where the datasource is reached from here, if not by its host in the policy "
        "(for example through kubectl port-forward); may be repeated",
    )
    command.add_argument("--no-database", action="store_true", help="connect to no database")
    command.set_defaults(run=check.check)


def _inject(commands: _Subparsers) -> None:
    command = _command(commands, "inject", "add the sidecar to manifests, as the webhook would")
    command.add_argument(
        "-f", "--filename", required=True, metavar="FILE|-", help="YAML or JSON; - for stdin"
    )
    command.add_argument(
        "-p",
        "--policies",
        action="append",
        default=[],
        metavar="FILE",
        help="a file with TransactionPolicies, beside those among the manifests; may be repeated",
    )
    command.add_argument("--from-cluster", action="store_true", help="add the policies of the namespace")
    command.add_argument("--sidecar-image", default=DEFAULT_SIDECAR_IMAGE, help="(default: %(default)s)")
    command.add_argument(
        "--etcd-endpoints",
        action="append",
        default=[],
        metavar="URL",
        help="the store is etcd; may be repeated",
    )
    command.add_argument(
        "--etcd-prefix", default=DEFAULT_PREFIX, help="what its keys begin with (%(default)s)"
    )
    command.add_argument(
        "--etcd-secret", action="append", default=[], metavar="NAME", help="what enters it; may be repeated"
    )
    command.set_defaults(run=inject.inject)


def _schema(commands: _Subparsers) -> None:
    command = _command(
        commands, "schema", "print the SQL that makes globaltx_undo in a schema and grants the rights on it"
    )
    command.add_argument("schema", metavar="SCHEMA", help="the business schema (database)")
    command.add_argument("--app-account", metavar="'USER'@'HOST'", help="the application's own account")
    command.add_argument("--sidecar-account", metavar="'USER'@'HOST'", help="the account of phase two")
    command.add_argument("--guard", action="store_true", help="also globaltx_guard, for guardCalls")
    command.set_defaults(run=schema.schema)


def _version(commands: _Subparsers) -> None:
    command = _command(commands, "version", "print the version")
    command.set_defaults(run=_print_version)


def _print_version(_arguments: argparse.Namespace, _connect: object) -> int:
    print(f"globaltx {__version__}")
    return 0


def _command(commands: _Subparsers, name: str, what: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    command.add_argument("--context", help="the context of the kubeconfig (default: its current one)")
    command.add_argument("-n", "--namespace", help="(default: the context's)")
    return command


def _output(command: argparse.ArgumentParser) -> None:
    command.add_argument("-o", "--output", choices=["table", "json"], default="table")


if __name__ == "__main__":
    sys.exit(main())
