"""The command line: `python -m dev.databases up|down|sql [--kind mariadb|mysql] [--name NAME]`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from dev.databases import MariaDB, MySQL
from dev.databases.server import DEFAULT, LOOPBACK
from dev.errors import ToolError
from dev.progress import say, step

if TYPE_CHECKING:
    from dev.databases import Server

_KINDS: dict[str, type[Server]] = {"mariadb": MariaDB, "mysql": MySQL}


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
    parser = argparse.ArgumentParser(prog="python -m dev.databases", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    texts = {"up": "bring a server up", "down": "end it and remove its data", "sql": "run SQL as root"}
    runs = {"up": _up, "down": _down, "sql": _sql}
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=runs[name])
        command.add_argument("--name", default=DEFAULT, help="the server")
        command.add_argument("--kind", choices=_KINDS, default="mariadb", help="what it is a server of")
    commands.choices["up"].add_argument(
        "--bind", action="append", help=f"an address to listen at ({LOOPBACK}); may be given again"
    )
    commands.choices["sql"].add_argument("sql", nargs="?", help="else from standard input")
    return parser


def _up(options: argparse.Namespace) -> None:
    server = _KINDS[options.kind].up(options.name, bind=options.bind or (LOOPBACK,))
    print(f"port {server.port}, socket {server.socket}")


def _down(options: argparse.Namespace) -> None:
    server = _KINDS[options.kind].of(options.name)
    with step(f"{server.kind} {options.name!r} is down"):
        server.down()


def _sql(options: argparse.Namespace) -> None:
    print(_KINDS[options.kind].of(options.name).execute(options.sql or sys.stdin.read()), end="")


if __name__ == "__main__":
    sys.exit(main())
