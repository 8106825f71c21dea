"""Which table a name means on a connection: not always the one that information_schema knows.

A statement that was prepared means the schema that was chosen then, whatever is chosen now. And a
temporary table of the same name stands before any other, and is seen by nobody but its own session. Both are
noticed where statements pass, by their look; whether a table is temporary is then asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from globaltx.coordinator.reasons import Reason
from globaltx.undo.literal import identifier
from globaltx_sidecar.mysql import errors
from globaltx_sidecar.mysql.steps import ask, end_of, narrow
from globaltx_sidecar.mysql.trains import single

if TYPE_CHECKING:
    from collections.abc import Generator

    from globaltx_sidecar.mysql.local import Settings, Standing
    from globaltx_sidecar.mysql.statements import Prepared
    from globaltx_sidecar.mysql.steps import Step

_USE: Final = re.compile(rb"(?:\A|;|\*/|\n|/\*!\d*)\s*use\s*(?:`((?:[^`]|``)+)`|(?<=\s)([\w$\x80-\xff]+))")
"""USE, where a statement may begin."""
_MAKES_TEMPORARY: Final = re.compile(rb"temporary|call|execute").search
"""One of these stands in every statement that may make a temporary table, but for calls of functions."""
_IS_TEMPORARY: Final = b"CREATE TEMPORARY TABLE"


def note(standing: Standing, text: bytes) -> None:
    """Note what a statement in lower case, that neither reads nor writes rows, may change about names."""
    for found in _USE.finditer(text):
        quoted, bare = found.groups()
        name = bare if quoted is None else quoted.replace(b"``", b"`")
        standing.chosen = name.decode("utf-8", "surrogateescape")
    standing.temporary = standing.temporary or _MAKES_TEMPORARY(text) is not None


def check_schema(prepared: Prepared, settings: Settings) -> None:
    """See that a prepared statement means what its text means now.

    Raises:
        RefusedError: it was prepared in another schema.
    """
    if prepared.schema is None or prepared.schema.casefold() == (settings.schema or "").casefold():
        return
    details = (
        f"the statement was prepared in the schema {prepared.schema} and is executed in"
        f" {settings.schema or 'none'}; prepare it anew behind USE"
    )
    raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)


def is_temporary(standing: Standing, schema: str, table: str) -> Generator[Step, Any, bool]:
    """Whether a name means a temporary table of this session; nothing is asked where there can be none.

    Raises:
        ServerError: it means nothing at all.
    """
    if not standing.temporary:
        return False
    name = f"{identifier(schema)}.{identifier(table)}"
    settings = standing.settings
    sql = f"SHOW CREATE TABLE {name}"
    arrived = yield from ask(
        standing, single(sql.encode() if settings is None else settings.mode.encode(sql))
    )
    end_of(arrived)
    return any(narrow(row[1] or b"").startswith(_IS_TEMPORARY) for row in arrived.results[-1].rows)
