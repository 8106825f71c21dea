"""The command line: `python -m dev.cluster <command>`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dev.cluster.cluster import DEFAULT, Cluster, remove
from dev.cluster.state import OPTIONAL, Component, Mode, clusters
from dev.errors import ToolError
from dev.images.build import archive_of
from dev.progress import say, step
from dev.shell import tail


def main(arguments: list[str] | None = None) -> int:
    """Run one command; errors are told in a sentence."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except ToolError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, text: str, run: object) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument(
            "--name", default=os.environ.get("GLOBALTX_CLUSTER", DEFAULT), help="the cluster"
        )
        return command

    up = add("up", "bring a cluster up; does nothing when it is", _up)
    up.add_argument("--mode", choices=[str(mode) for mode in Mode], help="as it was, else full")
    up.add_argument(
        "--without", action="append", default=[], choices=sorted(OPTIONAL), help="leave a program out"
    )
    up.add_argument("--durable", action="store_true", help="etcd waits for the disk")
    down = add("down", "end a cluster and remove every trace of it", _down)
    down.add_argument("--all", action="store_true", help="every cluster of this machine")
    add("status", "what runs of the cluster", _status)
    image = add("load-image", "bring an image into the cluster's node", _load_image)
    image.add_argument("image", help="an archive file, or the name of an image that was built here")
    logs = add("logs", "the programs' logs", _logs)
    logs.add_argument("component", nargs="?", choices=[str(component) for component in Component])
    logs.add_argument("--lines", type=int, default=20, help="how many of each, from the end")
    add("env", 'lines for the shell: eval "$(python -m dev.cluster env)"', _env)
    for program in ("kubectl", "helm"):
        tool = add(program, f"run our {program} against the cluster", _pass_on)
        tool.set_defaults(program=program)
        tool.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


def _up(options: argparse.Namespace) -> int:
    cluster = Cluster.up(options.name, options.mode, without=options.without, durable=options.durable)
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    return 0


def _down(options: argparse.Namespace) -> int:
    names = [held.name for held in clusters()] if options.all else [options.name]
    for name in names:
        with step(f"cluster {name!r} is down"):
            remove(name)
    return 0


def _status(options: argparse.Namespace) -> int:
    """Tell what runs; the code is 0 only if all of it does."""
    cluster = Cluster.find(options.name)
    print(f"{cluster.name}  {cluster.mode}  {cluster.server}  KUBECONFIG={cluster.kubeconfig}")
    ready = True
    for component in cluster.settings.components:
        process = cluster.process(component)
        healthy = cluster.is_ready(component)
        ready = ready and healthy
        state = "ready" if healthy else "not ready" if process else "down"
        print(f"  {component:<24} {state:<10} {process.pid if process else '-'}")
    return 0 if ready else 1


def _load_image(options: argparse.Namespace) -> int:
    cluster = Cluster.find(options.name)
    with step(f"{options.image} is in the cluster"):
        given = Path(options.image)
        cluster.load_image(given if given.is_file() else archive_of(options.image))
    return 0


def _logs(options: argparse.Namespace) -> int:
    cluster = Cluster.find(options.name)
    asked = [Component(options.component)] if options.component else cluster.settings.components
    for component in asked:
        log = cluster.log(component)
        print(f"{component}: {log}")
        if log.exists():
            print(tail(log.read_text(errors="replace"), options.lines))
    return 0


def _env(options: argparse.Namespace) -> int:
    cluster = Cluster.find(options.name)
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    print(f'export PATH="{cluster.programs}:$PATH"')
    return 0


def _pass_on(options: argparse.Namespace) -> int:
    cluster = Cluster.find(options.name)
    program = cluster.programs / options.program
    sys.stdout.flush()
    os.execve(program, [options.program, *options.arguments], cluster.env)  # noqa: S606 - it takes our place


if __name__ == "__main__":
    sys.exit(main())
