"""The trace that a statement belongs to, as a sqlcommenter comment behind it tells.

https://google.github.io/sqlcommenter/spec/: ``/*db_driver='...',traceparent='00-<trace>-<span>-01'*/``. Only
such a comment counts, outside of literals and of what the server executes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from globaltx.undo import lexer
from globaltx.undo.refusal import INVALID_XID, RefusedError, refuse
from globaltx.undo.sqlmode import SqlMode, UnreadableTextError

_MEMBER = r"[\w.%-]+=(?:'(?>[^'\\]|\\.)*+'|[^',\s]++)"
_COMMENT = re.compile(rf"/\*\s*{_MEMBER}(?:\s*,\s*{_MEMBER})*\s*\*/", re.ASCII)
_PARENT = re.compile(
    r"(?:/\*|,)\s*traceparent='[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}[^']*'",
    re.IGNORECASE | re.ASCII,
)
_DEFAULT = SqlMode()


_NAMED = re.compile(rb"traceparent='[0-9a-f]{2}-([0-9a-f]{32})-", re.IGNORECASE).findall


class Traced(NamedTuple):
    """A statement, and the id of its trace, lower case; with one, the comment that told it is cut out."""

    sql: bytes
    trace: str | None


def named(sql: bytes) -> list[str]:
    """Look where a statement might name traces, also in literals: what `take` finds is among them."""
    return [each.decode().lower() for each in _NAMED(sql)]


def take(sql: bytes, mode: SqlMode = _DEFAULT) -> Traced:
    """Find the trace of a statement; without one it is returned as it is.

    Raises:
        RefusedError: it cannot be read, or comments of it name several traces.
    """
    if not named(sql):
        return Traced(sql, None)
    try:
        found = lexer.tokens(mode.decode(sql), mode)
    except (lexer.UnclosedError, UnreadableTextError) as error:
        refuse(f"a traced statement that cannot be read ({error})", "write it in standard SQL")
    traces: set[str] = set()
    kept: list[str] = []
    for token in found:
        told = _traces(token)
        traces |= told
        kept.append(" " if told else token.text)
    if len(traces) > 1:
        message = "comments of the statement name more than one trace; it belongs to one transaction"
        raise RefusedError(INVALID_XID, message)
    return Traced(mode.encode("".join(kept)), traces.pop()) if traces else Traced(sql, None)


def _traces(token: lexer.Token) -> set[str]:
    if token.kind is not lexer.TokenKind.COMMENT or not _COMMENT.fullmatch(token.text):
        return set()
    return {each["trace"].lower() for each in _PARENT.finditer(token.text)}
