"""A statement without its literals, found by one pass of one pattern.

What is known of one statement fits every other one that has the same skeleton, as far as it does not
depend on the literals. The pattern is made of the lexer's own, and stops where the lexer finds a literal
or a comment: at each place what is passed over is what the lexer would not read as one of those.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from globaltx.undo.lexer import FLAGS, LITERALS, TokenKind, spellings

if TYPE_CHECKING:
    from globaltx.undo.sqlmode import SqlMode

Skeleton: TypeAlias = "tuple[str, ...]"
"""What stands between the literals, and behind that their kinds, a letter each."""

TAKEN_OUT = LITERALS | {TokenKind.COMMENT}
"""What no skeleton holds."""


class Cut(NamedTuple):
    """A statement's skeleton, and the texts that were taken out of it, in order."""

    skeleton: Skeleton
    texts: list[str]


def cut(text: str, mode: SqlMode) -> Cut | None:
    """Take the literals and comments out of a statement; None if something in it is not closed."""
    between: list[str] = []
    texts: list[str] = []
    kinds = ""
    for found in _pattern(mode.ansi_quotes, mode.backslash_escapes).findall(text):
        before, string, number, digits, comment, unread = found
        between.append(before)
        if string:
            kinds += "s"
            texts.append(string)
        elif number:
            kinds += "n"
            texts.append(number)
        elif digits:
            kinds += "b"
            texts.append(digits)
        elif comment:
            kinds += "c"
            texts.append(comment)
        elif unread:
            return None
    if sum(map(len, between)) + sum(map(len, texts)) != len(text):
        return None  # what is lost would make two statements one
    return Cut((*between, kinds), texts)


@cache
def _pattern(ansi_quotes: bool, backslash_escapes: bool) -> re.Pattern[str]:  # noqa: FBT001  two of sql_mode's flags
    """What is passed over begins with a character that decides what it is, or it is looked at twice.

    A character that begins nothing is a group of its own, so that the rest is not searched again and again.
    """
    lexer = spellings(ansi_quotes, backslash_escapes)
    groups = [
        lexer[kind] for kind in (TokenKind.STRING, TokenKind.NUMBER, TokenKind.BYTES, TokenKind.COMMENT)
    ]
    name = r"[A-Za-z0-9_$\x80-\U0010ffff]"
    passed = (
        r"[\s,()=+*%<>!^~&|;:{}\[\]?]++",
        rf"[AC-MO-WYZac-mo-wyz$\x80-\U0010ffff]{name}*+",
        lexer[TokenKind.HINT],
        lexer[TokenKind.EXECUTABLE],
        rf"(?!{'|'.join(groups)})(?:{name}++|[-./])",
        lexer[TokenKind.QUOTED],
        lexer[TokenKind.VARIABLE],
    )
    taken = "|".join(f"({group})" for group in (*groups, "."))
    return re.compile(rf"((?>{'|'.join(passed)})*+)(?:{taken}|\Z)", FLAGS)
