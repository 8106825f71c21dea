"""The hints XID, XidGuard, GlobalLock in a statement, as ``/*+ XID('namespace.name') */``: found and cut out.

Only a comment outside of literals counts. ``TraceParent('...')`` beside the xid goes with it; any
other hint in the same comment stays.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from globaltx.undo import lexer
from globaltx.undo.refusal import INVALID_XID, RefusedError, refuse
from globaltx.undo.sqlmode import SqlMode, UnreadableTextError

_OURS = re.compile(
    r"\s*\b(?P<name>XID|XIDGUARD|TRACEPARENT|GLOBALLOCK)\s*\(\s*(?P<quote>['\"]?)(?P<value>[^'\"()]*)(?P=quote)\s*\)",
    re.IGNORECASE | re.ASCII,
)
_NAMES_XID = re.compile(rb"/\*\+[^*]*?\bXID(?:GUARD)?\s*\(", re.IGNORECASE)
_AT_THE_FRONT = re.compile(
    rb"\s*(?P<verb>[A-Za-z]+)[A-Za-z\s(]*+(?P<hint>/\*\+[^*'\"]*+(?>'[^*'\"]*+'[^*'\"]*+)*+\*/)"
)
"""A hint with nothing but words before it, so that it cannot stand in a literal or in a comment."""
_NAMES_ONLY_XID = re.compile(rb"/\*\+\s*XID\s*\(\s*'(?P<xid>[^'\"()]*)'\s*\)\s*\*/", re.IGNORECASE).fullmatch
"""All that nearly every hint says."""
_RUNS_TEXT = frozenset({"PREPARE", "EXECUTE"})
_DEFAULT = SqlMode()


class Taken(NamedTuple):
    """A statement without its xid hint, and the text in the hint (not yet checked to be an xid).

    ``global_lock``: it asks to respect other transactions' locks although it may take part in none.
    ``guard``: the call that its local transaction works for, not yet checked either.
    """

    sql: bytes
    xid: str | None
    traceparent: str | None = None
    global_lock: bool = False
    guard: str | None = None


def take(sql: bytes, mode: SqlMode = _DEFAULT) -> Taken:
    """Cut the xid hint out of a statement; without one it is returned as it is.

    A statement that cannot be read (a quote is left open) is passed on as it is, unless it looks
    as if it named an xid: the server may read it all the same, and must not run it as if it did not.

    Raises:
        RefusedError: two hints name different xids, or one stands where it cannot be followed.
    """
    if b"/*+" not in sql:
        return Taken(sql, None)
    quickly = _taken_from_the_front(sql)
    if quickly is not None:
        return quickly
    try:
        found = lexer.tokens(mode.decode(sql), mode)
    except (lexer.UnclosedError, UnreadableTextError) as error:
        if _NAMES_XID.search(sql):
            refuse(f"a statement with an xid that cannot be read ({error})", "write it in standard SQL")
        return Taken(sql, None)
    _check_places(found)
    values = _none_yet()
    kept = [
        _without(token.text, values) if token.kind is lexer.TokenKind.HINT else token.text for token in found
    ]
    if not (values["XID"] or values["GLOBALLOCK"] or values["XIDGUARD"]):
        return Taken(sql, None)
    return Taken(
        mode.encode("".join(kept)),
        _only(values["XID"]) if values["XID"] else None,
        next(iter(values["TRACEPARENT"]), None),
        global_lock=bool(values["GLOBALLOCK"]),
        guard=_only(values["XIDGUARD"]) if values["XIDGUARD"] else None,
    )


def _taken_from_the_front(sql: bytes) -> Taken | None:
    """Take the one hint of a statement that begins with it, as nearly all do; None if it is not so simple.

    What is behind it is not looked at but for a second comment: whoever reads the statement will.
    """
    front = _AT_THE_FRONT.match(sql)
    if front is None or front["verb"].upper().decode() in _RUNS_TEXT or not front["hint"].isascii():
        return None
    before, behind = sql[: front.start("hint")], sql[front.end() :]
    if b"/*" in behind:
        return None
    alone = _NAMES_ONLY_XID(front["hint"])
    if alone is not None:
        return Taken(before + b" " + behind, alone["xid"].decode())
    values = _none_yet()
    rest = _without(front["hint"].decode(), values)
    if not values["XID"] or values["XIDGUARD"]:
        return None
    parent = next(iter(values["TRACEPARENT"]), None)
    lock = bool(values["GLOBALLOCK"])
    return Taken(before + rest.encode() + behind, _only(values["XID"]), parent, global_lock=lock)


def _none_yet() -> dict[str, set[str]]:
    return {"XID": set(), "XIDGUARD": set(), "TRACEPARENT": set(), "GLOBALLOCK": set()}


def _check_places(found: list[lexer.Token]) -> None:
    """Refuse an xid in a text that only the server takes apart: what it runs would not take part."""
    words = (token.word() for token in found if token.kind not in lexer.BLANK)
    runs_text = next(words, "") in _RUNS_TEXT
    for token in found:
        hidden = token.kind is lexer.TokenKind.EXECUTABLE or (
            runs_text and token.kind is lexer.TokenKind.STRING
        )
        if hidden and _NAMES_XID.search(token.text.encode("utf-8", "surrogateescape")):
            refuse("an xid in a text that the server takes apart", "write the hint into the statement itself")


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
