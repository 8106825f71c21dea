"""The command line: `python -m dev.databases up|down|sql [--name NAME]`."""

from __future__ import annotations

import argparse
import shutil
import sys

from dev.cluster import processes
from dev.databases.mariadb import DEFAULT, LOOPBACK, MariaDB, database_folder
from dev.errors import ToolError
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
    parser = argparse.ArgumentParser(prog="python -m dev.databases", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    texts = {"up": "bring a MariaDB up", "down": "end it and remove its data", "sql": "run SQL as root"}
    runs = {"up": _up, "down": _down, "sql": _sql}
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=runs[name])
        command.add_argument("--name", default=DEFAULT, help="the server")
    commands.choices["up"].add_argument(
        "--bind", action="append", help=f"an address to listen at ({LOOPBACK}); may be given again"
    )
    commands.choices["sql"].add_argument("sql", nargs="?", help="else from standard input")
    return parser


def _up(options: argparse.Namespace) -> None:
    server = MariaDB.up(options.name, bind=options.bind or (LOOPBACK,))
    print(f"port {server.port}, socket {server.socket}")


def _down(options: argparse.Namespace) -> None:
    folder = database_folder(options.name)
    with step(f"MariaDB {options.name!r} is down"):
        processes.kill(processes.owned(folder, ["mariadbd"]))
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)


def _sql(options: argparse.Namespace) -> None:
    folder = database_folder(options.name)
    server = MariaDB(folder, bind=(), options=(), durable=True)
    print(server.execute(options.sql or sys.stdin.read()), end="")


if __name__ == "__main__":
    sys.exit(main())
