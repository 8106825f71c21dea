"""MySQL's lexical rules: where literals, names and comments begin and end.

Nothing is understood here; joined together the tokens are the statement again, byte for byte.
https://dev.mysql.com/doc/refman/8.4/en/language-structure.html
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from globaltx.undo.sqlmode import SqlMode


class TokenKind(StrEnum):
    """What a token is; STRING, NUMBER and BYTES are the literals."""

    SPACE = "space"
    HINT = "hint"
    EXECUTABLE = "executable"
    COMMENT = "comment"
    BYTES = "bytes"
    STRING = "string"
    QUOTED = "quoted"
    PARAMETER = "parameter"
    NUMBER = "number"
    VARIABLE = "variable"
    NAME = "name"
    SYMBOL = "symbol"


BLANK = frozenset({TokenKind.SPACE, TokenKind.COMMENT, TokenKind.HINT})
"""What may be replaced by a space."""
LITERALS = frozenset({TokenKind.STRING, TokenKind.NUMBER, TokenKind.BYTES})


class Token(NamedTuple):
    """A piece of the statement as it stands there."""

    kind: TokenKind
    text: str

    def word(self) -> str:
        """The upper-case keyword or name; empty for everything that is no unquoted name."""
        return self.text.upper() if self.kind is TokenKind.NAME and self.text.isascii() else ""


_KINDS: dict[str | None, TokenKind] = {str(kind): kind for kind in TokenKind}
"""By the name of the pattern's group; looked up, because every token of every statement asks."""


FLAGS = re.DOTALL | re.ASCII
"""What the patterns of `spellings` are compiled with."""


class UnclosedError(ValueError):
    """A literal, a quoted name or a comment has no end."""


def tokens(text: str, mode: SqlMode) -> list[Token]:
    """Cut a statement into tokens.

    Raises:
        UnclosedError: something that was opened is not closed.
    """
    found: list[Token] = []
    position = 0
    for match in _pattern(mode.ansi_quotes, mode.backslash_escapes).finditer(text):
        if match.start() != position:
            break
        found.append(Token(_KINDS[match.lastgroup], match.group()))
        position = match.end()
    if position != len(text):
        message = f"what begins at character {position + 1} of the statement is not closed"
        raise UnclosedError(message)
    return found


@cache
def spellings(ansi_quotes: bool, backslash_escapes: bool) -> dict[TokenKind, str]:  # noqa: FBT001  two of sql_mode's flags
    """Give a pattern for each kind of token; where several match, the first one counts.

    What is repeated possessively is one character or an atomic group: Python before 3.11.5 goes wrong where
    there is a way back into it (https://github.com/python/cpython/issues/106052).
    """
    escape = r"|\\." if backslash_escapes else ""
    plain = r"\\" if backslash_escapes else ""
    single = rf"'(?>[^'{plain}]++|''{escape})*+'"
    double = rf'"(?>[^"{plain}]++|""{escape})*+"'
    quoted = r"`(?>[^`]++|``)*+`"
    string = single if ansi_quotes else rf"(?:{single}|{double})"
    name = r"(?:[A-Za-z0-9_$]|[^\x00-\x7f])"
    digits = rf"0x[0-9A-Fa-f]++(?!{name})|0b[01]++(?!{name})"
    return {
        TokenKind.SPACE: r"\s++",
        TokenKind.HINT: r"/\*\+.*?\*/",
        TokenKind.EXECUTABLE: r"/\*M?!.*?\*/",
        TokenKind.COMMENT: r"/\*(?!\+|M?!).*?\*/|\#[^\n]*+|--(?=[\x00-\x20]|\Z)[^\n]*+",
        TokenKind.BYTES: rf"(?:_[A-Za-z0-9]++\s*+)?(?:[xX]'[0-9A-Fa-f]*+'|[bB]'[01]*+'|{digits})",
        TokenKind.STRING: rf"(?:_[A-Za-z0-9]++\s*+|[nN])?{string}(?>\s*+{string})*+",
        TokenKind.QUOTED: quoted + (f"|{double}" if ansi_quotes else ""),
        TokenKind.PARAMETER: r"\?",
        TokenKind.NUMBER: rf"(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?(?!{name})",
        TokenKind.VARIABLE: rf"@@?(?>{name}|\.)*+(?:{quoted}|{single}|{double})?",
        TokenKind.NAME: rf"(?>{name})++",
        TokenKind.SYMBOL: r":=|->>|->|<=>|&&|\|\||[-+*/%<>=!^~&|,;:.(){}\[\]]",
    }


@cache
def _pattern(ansi_quotes: bool, backslash_escapes: bool) -> re.Pattern[str]:  # noqa: FBT001  as above
    kinds = spellings(ansi_quotes, backslash_escapes).items()
    return re.compile("|".join(f"(?P<{kind}>{spelling})" for kind, spelling in kinds), FLAGS)


_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}
_INTRODUCER = re.compile(r"_([A-Za-z0-9]+)\s*|([nN])(?=')", re.ASCII)
_PART = re.compile(r"""(?P<q>['"])(?P<body>(?:(?!(?P=q))[^\\]|(?P=q){2}|\\.)*)(?P=q)""", re.DOTALL)
_PLAIN_PART = re.compile(r"""(?P<q>['"])(?P<body>(?:(?!(?P=q)).|(?P=q){2})*)(?P=q)""", re.DOTALL)
_ESCAPED = re.compile(r"""\\(?P<escaped>.)|(?P<quote>['"])(?P=quote)""", re.DOTALL)


def string_value(token: Token, mode: SqlMode) -> tuple[str, str | None]:
    r"""Read a STRING token: what stands in it, and its introducer's character set (None: the connection's).

    ``N'..'`` is utf8. ``\%`` and ``\_`` keep their backslash, as the server has it.
    """
    introducer = _INTRODUCER.match(token.text)
    charset = None if introducer is None else (introducer[1] or "utf8").lower()
    text = token.text[introducer.end() :] if introducer else token.text
    if mode.backslash_escapes:
        return "".join(_unescaped(part["body"], part["q"]) for part in _PART.finditer(text)), charset
    return "".join(
        part["body"].replace(part["q"] * 2, part["q"]) for part in _PLAIN_PART.finditer(text)
    ), charset


def _unescaped(body: str, quote: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match["escaped"] is not None:
            return _ESCAPES.get(match["escaped"], match["escaped"])
        return quote if match["quote"] == quote else match.group()

    return _ESCAPED.sub(one, body)


def name_value(token: Token) -> str:
    """Read a NAME or QUOTED token as the name that it is."""
    if token.kind is TokenKind.QUOTED:
        quote = token.text[0]
        return token.text[1:-1].replace(quote * 2, quote)
    return token.text
