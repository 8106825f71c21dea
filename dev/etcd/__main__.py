"""The command line: `python -m dev.etcd up|down [--name NAME] [--members 1|3] [--tls] [--password WORD]`."""

from __future__ import annotations

import argparse
import sys

from dev.errors import ToolError
from dev.etcd.members import DEFAULT, Etcd
from dev.progress import say, step


def main(arguments: list[str] | None = None) -> int:
    """Run one command; errors are told in a sentence."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except ToolError as error:
        say(f"error: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.etcd", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    texts = {"up": "bring an etcd up", "down": "end it and remove its data"}
    for name, run in (("up", _up), ("down", _down)):
        command = commands.add_parser(name, help=texts[name], description=texts[name])
        command.set_defaults(run=run)
        command.add_argument("--name", default=DEFAULT, help="the etcd")
    add = commands.choices["up"].add_argument
    add("--members", type=int, choices=(1, 3), default=1, help="how many members it has")
    add("--tls", action="store_true", help="clients speak TLS, and show a certificate")
    add("--password", default="", help="clients must enter as root with this password")
    return parser


def _up(options: argparse.Namespace) -> None:
    etcd = Etcd.up(options.name, members=options.members, tls=options.tls, password=options.password)
    print("\n".join([*etcd.endpoints, f"files for clients in {etcd.credentials}"]))


def _down(options: argparse.Namespace) -> None:
    with step(f"etcd {options.name!r} is down"):
        Etcd(Etcd.folder_of(options.name)).down()


if __name__ == "__main__":
    sys.exit(main())
