"""Guard rows of applications that know traces and no hints: which of a call's statements write one.

Instrumentation writes the trace behind every statement, also behind those that begin and end a local
transaction, set something, or read when all is done. A hint stands where somebody wants it; here it is
found out where the row belongs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from globaltx.undo import lexer, sqlcomment
from globaltx.undo.sqlmode import UnreadableTextError
from globaltx.undo.statement import may_change
from globaltx_sidecar.commands import Began
from globaltx_sidecar.mysql import batch, guard_row

if TYPE_CHECKING:
    from collections.abc import Generator

    from globaltx.modes.guard_row import Guarded
    from globaltx.undo.sqlmode import SqlMode
    from globaltx_sidecar.mysql.local import Settings, Standing
    from globaltx_sidecar.mysql.steps import Step

_READS: Final = frozenset({"SELECT", "WITH", "TABLE", "VALUES"})
_HIDES: Final = frozenset(
    {"CALL", "DO", "EXECUTE", "LOAD", "ANALYZE", "CASE", "FOR", "IF", "LOOP", "REPEAT", "TRUNCATE", "WHILE"}
)
_HIDE: Final = (["SET", "STATEMENT"], ["BEGIN", "NOT"])
"""What may write unseen: in autocommit it cannot be guarded, and must not pass unguarded."""
_SAVEPOINT: Final = "SAVEPOINT"


def call_of(standing: Standing, sql: bytes, mode: SqlMode) -> tuple[bytes, Guarded] | None:
    """The call that a statement's trace belongs to, and the statement without it; None for all others.

    Raises:
        RefusedError: it names several traces, or cannot be read.
    """
    traces = standing.traces
    if traces is None or standing.calls is None:
        return None
    if all(traces.call_of(each) is None for each in sqlcomment.named(sql)):
        return None
    traced = sqlcomment.take(sql, mode)
    call = None if traced.trace is None else traces.call_of(traced.trace)
    return None if call is None else (traced.sql, call)


def is_meant(standing: Standing, call: Guarded, sql: bytes, settings: Settings) -> bool:
    """Whether the row of a call must be there before a text of it, of whatever statements.

    In a local transaction also before a read, so that a call that finds nothing to do has looked behind it.
    """
    if standing.guarded == call or standing.local is not None or standing.carried is not None:
        return False
    return any(_is_meant(standing, each, settings.mode) for each in batch.parts(standing, sql, settings))


def _is_meant(standing: Standing, sql: bytes, mode: SqlMode) -> bool:
    words = _words(sql, mode)
    word = words[0] if words else ""
    if word in _HIDES or words[:2] in _HIDE or may_change(sql, mode):
        return True
    return not standing.autocommits and (word in _READS or word == _SAVEPOINT)


def enter(
    standing: Standing, call: Guarded, sql: bytes, work: int, settings: Settings
) -> Generator[Step, Any, None]:
    """Write the row of the local transaction; a read behind work that was committed goes without.

    Raises:
        RefusedError, ServerError: as `guard_row.enter`.
    """
    reads = all(_reads(each, settings.mode) for each in batch.parts(standing, sql, settings))
    yield from guard_row.enter(standing, call, work, reads=reads)
    if standing.guarded == call:
        yield Began(call, work)


def _reads(sql: bytes, mode: SqlMode) -> bool:
    words = _words(sql, mode)
    return bool(words) and words[0] in _READS and not may_change(sql, mode)


def _words(sql: bytes, mode: SqlMode) -> list[str]:
    """The words of a statement; none if it cannot be read."""
    try:
        tokens = lexer.tokens(mode.decode(sql), mode)
    except (lexer.UnclosedError, UnreadableTextError):
        return []
    return [word for each in tokens if each.kind not in lexer.BLANK and (word := each.word())]
