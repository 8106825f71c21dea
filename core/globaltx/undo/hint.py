"""The xid hint ``/*+ XID('namespace.name') */`` in a statement: found, read, and cut out.

Only a comment outside of literals counts. ``TraceParent('...')`` beside the xid goes with it; any
other hint in the same comment stays.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from globaltx.undo import lexer
from globaltx.undo.refusal import INVALID_XID, RefusedError
from globaltx.undo.sqlmode import SqlMode, UnreadableTextError

_OURS = re.compile(
    r"\s*\b(?P<name>XID|TRACEPARENT)\s*\(\s*(?P<quote>['\"]?)(?P<value>[^'\"()]*)(?P=quote)\s*\)",
    re.IGNORECASE | re.ASCII,
)
_DEFAULT = SqlMode()


class Taken(NamedTuple):
    """A statement without its xid hint, and the text in the hint (not yet checked to be an xid)."""

    sql: bytes
    xid: str | None
    traceparent: str | None = None


def take(sql: bytes, mode: SqlMode = _DEFAULT) -> Taken:
    """Cut the xid hint out of a statement; without one it is returned as it is.

    A statement that cannot be read (a quote is left open) is passed on as it is: the server
    will say what is wrong with it.

    Raises:
        RefusedError: two hints name different xids.
    """
    if b"/*+" not in sql:
        return Taken(sql, None)
    try:
        found = lexer.tokens(mode.decode(sql), mode)
    except (lexer.UnclosedError, UnreadableTextError):
        return Taken(sql, None)
    values: dict[str, set[str]] = {"XID": set(), "TRACEPARENT": set()}
    kept = [
        _without(token.text, values) if token.kind is lexer.TokenKind.HINT else token.text for token in found
    ]
    if not values["XID"]:
        return Taken(sql, None)
    return Taken(mode.encode("".join(kept)), _only(values["XID"]), next(iter(values["TRACEPARENT"]), None))


def _without(comment: str, values: dict[str, set[str]]) -> str:
    """Take our own hints out of a comment; an empty one goes whole, leaving a space."""
    rest, end = [], 3
    for match in _OURS.finditer(comment, 3, len(comment) - 2):
        values[match["name"].upper()].add(match["value"])
        rest.append(comment[end : match.start()])
        end = match.end()
    if end == 3:  # noqa: PLR2004  none found: the text still begins behind the comment's opening
        return comment
    rest.append(comment[end:-2])
    kept = "".join(rest)
    return f"/*+{kept}*/" if kept.strip() else " "


def _only(xids: set[str]) -> str:
    if len(xids) > 1:
        raise RefusedError(
            INVALID_XID, "the statement's hints name more than one xid; a statement belongs to one"
        )
    return next(iter(xids))
