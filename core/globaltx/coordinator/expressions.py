r"""Regular expressions for paths, regular in the strict sense.

Python's own expressions step back, so some take exponentially long for a path that somebody makes up,
and nothing can be told about two of them. These become automata (`globaltx.coordinator.automata`).

Understood are characters, ``.`` and classes (``[a-z]``, ``[^/]``, ``\d``, ``\w``), groups, ``|``, ``*``,
``+``, ``?`` and ``{m,n}``; the whole text is matched, so there are no anchors.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NoReturn

from globaltx.coordinator.automata import (
    ANY,
    Automaton,
    Chars,
    Choice,
    Node,
    One,
    Repeat,
    Row,
    TooLargeError,
    but,
    single,
)

POSITIONS_MAX = 128
"""How many characters an expression may have when its repetitions are written out."""
_SPECIAL = frozenset("\\.[](){}|*+?^$")


class PatternError(ValueError):
    """It is no expression that is understood; the text says what is wrong, and where."""


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Automaton:
    """The automaton of an expression.

    Raises:
        PatternError: it is none that is understood.
    """
    try:
        return Automaton(_Reader(pattern).whole(), POSITIONS_MAX)
    except TooLargeError as error:
        raise PatternError(str(error)) from error


_DIGITS: Chars = ((0x30, 0x39),)
_WORD: Chars = (*_DIGITS, (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_CLASSES = {"d": _DIGITS, "w": _WORD, "D": but(_DIGITS), "W": but(_WORD)}
_NESTED_MAX = 32


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._choice()
        if self._at < len(self._text):
            self._refuse("there is a ) that nothing opens")
        return node

    def _choice(self) -> Node:
        parts = [self._row()]
        while self._take("|"):
            parts.append(self._row())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _row(self) -> Node:
        parts: list[Node] = []
        while self._next() not in {"", "|", ")"}:
            parts.append(self._repeat(self._atom()))
        return parts[0] if len(parts) == 1 else Row(tuple(parts))

    def _atom(self) -> Node:
        char = self._next()
        if char == "(":
            return self._group()
        self._at += 1
        if char == ".":
            return One(ANY)
        if char == "[":
            return One(self._class())
        if char == "\\":
            return One(self._escape())
        if char in _SPECIAL:
            self._at -= 1
            self._refuse(f"{char!r} is not understood here; write \\{char} for the character itself")
        return One(single(char))

    def _group(self) -> Node:
        self._at += 1
        if self._take("?") and not self._take(":"):
            self._refuse("only (...) and (?:...) are understood of groups")
        self._depth += 1
        if self._depth > _NESTED_MAX:
            self._refuse(f"groups are nested deeper than {_NESTED_MAX}")
        node = self._choice()
        self._depth -= 1
        if not self._take(")"):
            self._refuse("a group is not closed")
        return node

    def _repeat(self, node: Node) -> Node:
        if self._take("*"):
            node = Repeat(node, 0, None)
        elif self._take("+"):
            node = Repeat(node, 1, None)
        elif self._take("?"):
            node = Repeat(node, 0, 1)
        elif self._take("{"):
            node = Repeat(node, *self._bounds())
        else:
            return node
        if self._next() and self._next() in "*+?{":
            self._refuse("a repetition is repeated; put it in a group")
        return node

    def _bounds(self) -> tuple[int, int | None]:
        least = self._number()
        if self._take("}"):
            return least, least
        if not self._take(","):
            self._refuse("a repetition is {n}, {n,} or {n,m}")
        most = None if self._next() == "}" else self._number()
        if not self._take("}") or (most is not None and most < least):
            self._refuse("a repetition is {n}, {n,} or {n,m}, with n not above m")
        return least, most

    def _number(self) -> int:
        digits = ""
        while self._next() and self._next() in "0123456789":
            digits += self._next()
            self._at += 1
        if not digits or len(digits) > len(str(POSITIONS_MAX)):
            self._refuse(f"a repetition needs a number up to {POSITIONS_MAX}")
        return int(digits)

    def _class(self) -> Chars:
        negated = self._take("^")
        found: list[tuple[int, int]] = []
        while self._next() not in {"", "]"}:
            found += self._range()
        if not self._take("]") or not found:
            self._refuse("a class is empty or not closed")
        return but(tuple(found)) if negated else tuple(found)

    def _range(self) -> Chars:
        low = self._member()
        if self._next() != "-" or self._text[self._at + 1 : self._at + 2] in {"]", ""}:
            return low
        self._at += 1
        high = self._member()
        if len(low) > 1 or len(high) > 1 or low[0][0] != low[0][1] or low[0][0] > high[0][0]:
            self._refuse("a range of a class goes from a character to one after it")
        return ((low[0][0], high[0][1]),)

    def _member(self) -> Chars:
        char = self._next()
        self._at += 1
        return self._escape() if char == "\\" else single(char)

    def _escape(self) -> Chars:
        char = self._next()
        if char in _CLASSES:
            self._at += 1
            return _CLASSES[char]
        if not char or (char.isascii() and char.isalnum()):
            self._refuse(f"\\{char} is not understood; \\d, \\w, \\D and \\W are")
        self._at += 1
        return single(char)

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, char: str) -> bool:
        if self._next() != char:
            return False
        self._at += 1
        return True

    def _refuse(self, told: str) -> NoReturn:
        message = f"at character {self._at + 1}: {told}"
        raise PatternError(message)
