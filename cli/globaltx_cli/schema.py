"""``schema``: the SQL of our tables, for whoever does not let the sidecar create them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from globaltx.modes.guard_row import GUARD_TABLE, create_guard_table
from globaltx.undo.literal import identifier
from globaltx.undo.table import UNDO_TABLE, create_undo_table
from globaltx_cli.errors import CliError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from globaltx_cli.cluster import Cluster

_ACCOUNT = re.compile(r"'[^'\\]{1,80}'@'[^'\\]{1,255}'")
_RIGHTS = "SELECT, INSERT, UPDATE, DELETE"


def schema(arguments: argparse.Namespace, _connect: Callable[[str | None], Cluster]) -> int:
    """Print the statements; nothing is carried out."""
    accounts = arguments.app_account, arguments.sidecar_account
    print(statements(arguments.schema, *accounts, guard=arguments.guard))
    return 0


def statements(
    name: str, app_account: str | None, sidecar_account: str | None, *, guard: bool = False
) -> str:
    """Write the CREATE TABLE and the GRANTs; with ``guard`` those of the guard table too.

    Raises:
        CliError: an account is not written as 'USER'@'HOST'.
    """
    app = _account("--app-account", app_account, "'APPLICATION'@'%'")
    sidecar = _account("--sidecar-account", sidecar_account, "'GLOBALTX'@'%'")
    quoted = identifier(name)
    guarding = [
        f"{create_guard_table(name)};",
        "",
        "-- The same account, on whose connections the guard rows are written.",
        f"GRANT {_RIGHTS} ON {quoted}.{GUARD_TABLE} TO {app};",
        "",
    ]
    return "\n".join(
        [
            f"{create_undo_table(name)};",
            "",
            "-- The application's own account, on whose connections the undo records are written.",
            f"GRANT {_RIGHTS} ON {quoted}.{UNDO_TABLE} TO {app};",
            "",
            *(guarding if guard else ()),
            "-- The account of phase two: it reads the tables' shapes, triggers too, and restores rows.",
            f"GRANT {_RIGHTS}, TRIGGER ON {quoted}.* TO {sidecar};",
        ]
    )


def _account(option: str, text: str | None, example: str) -> str:
    if text is None:
        return example
    if _ACCOUNT.fullmatch(text) is None:
        message = f"{option} {text}: write it as SQL does, 'USER'@'HOST'"
        raise CliError(message)
    return text
