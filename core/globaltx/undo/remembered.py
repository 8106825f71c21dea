"""Analyses that are remembered, so that a statement that comes again with other literals is not read again.

A change is kept by its skeleton, where it does not depend on its literals, and everything else by its text.
A statement of a known skeleton has the same tokens but for its literals and comments, which are put in.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeAlias

from globaltx.undo import skeleton
from globaltx.undo.forms import Delete, Insert, Source, Statement, Update
from globaltx.undo.lexer import Token
from globaltx.undo.recent import Recent
from globaltx.undo.sqlmode import UnreadableTextError
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx.undo.lexer import TokenKind
    from globaltx.undo.refusal import RefusedError
    from globaltx.undo.skeleton import Cut
    from globaltx.undo.sqlmode import SqlMode

TEXT_BYTES_MAX = 8192
"""Longer statements are read each time."""
KEPT_BYTES_MAX = 128 * 1024
"""So much text is kept of either kind; its tokens take up to a hundred times as much."""

_CHANGES = (Insert, Update, Delete)

Found: TypeAlias = "Statement | RefusedError"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A change that stands for all of its skeleton.

    ``kind`` and ``rest`` are the change but for its tokens; ``places`` are the tokens that differ, and their
    kinds; ``whole``: the tokens are all of the text.
    """

    kind: type[Insert | Update | Delete]
    tokens: tuple[Token, ...]
    rest: tuple[Any, ...]
    places: tuple[tuple[int, TokenKind], ...]
    whole: bool

    def bound(self, texts: list[str], text: str) -> Insert | Update | Delete:
        """Give the change with other literals; comments behind its last token belong to none."""
        tokens = list(self.tokens)
        for (place, kind), each in zip(self.places, texts, strict=False):
            tokens[place] = Token(kind, each)
        return self.kind(Source(tuple(tokens), text if self.whole else None), *self.rest)


class Analyses:
    """Remembers what ``analyse`` finds out about statements."""

    def __init__(self, analyse: Callable[[bytes, SqlMode], Found]) -> None:
        self._analyse = analyse
        self._texts: Recent[Found] = Recent(KEPT_BYTES_MAX)
        self._patterns: Recent[Pattern] = Recent(KEPT_BYTES_MAX)

    def of(self, sql: bytes, mode: SqlMode) -> Found:
        """What ``analyse`` finds out about this statement."""
        if len(sql) > TEXT_BYTES_MAX:
            return self._analyse(sql, mode)
        found = self._texts.get((sql, mode))
        if found is not None:
            return found
        try:
            text = mode.decode(sql)
        except UnreadableTextError:
            return self._analyse(sql, mode)
        return self._by_skeleton(sql, text, mode)

    def _by_skeleton(self, sql: bytes, text: str, mode: SqlMode) -> Found:
        cut = skeleton.cut(text, mode)
        key = cut and (mode.ansi_quotes, mode.backslash_escapes, mode.oracle, cut.skeleton)
        pattern = self._patterns.get(key)
        if cut is not None and pattern is not None:
            return pattern.bound(cut.texts, text)
        found = self._analyse(sql, mode)
        pattern = cut and _pattern(found, cut, text)
        if pattern:
            self._patterns.put(key, pattern, len(sql))
        else:
            self._texts.put((sql, mode), found, len(sql))
        return found


def _pattern(found: Found, cut: Cut, text: str) -> Pattern | None:
    """Make a pattern of a change; None if it cannot stand for others, or if there are none."""
    if not (cut.texts and isinstance(found, _CHANGES)):
        return None
    from globaltx.undo import grammar  # noqa: PLC0415  it has been loaded only where there was a change

    tokens = found.source.tokens
    places = tuple((at, token.kind) for at, token in enumerate(tokens) if token.kind in skeleton.TAKEN_OUT)
    if not grammar.fits_all(found) or [tokens[at].text for at, _ in places] != cut.texts[: len(places)]:
        return None
    _, *rest = (getattr(found, each.name) for each in fields(found))  # the first one is the source
    return Pattern(type(found), tokens, tuple(rest), places, whole=found.source.render() == text)
