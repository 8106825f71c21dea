"""The patterns that statements are read by, on every Python: before 3.11.5 one kind of repeat goes wrong."""

from __future__ import annotations

import re
from re import _constants, _parser  # nothing public tells what a pattern is made of
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.undo import hint, lexer, skeleton, sqlcomment
from globaltx.undo.sqlmode import SqlMode

if TYPE_CHECKING:
    from collections.abc import Iterator

MODES = [(quotes, escapes) for quotes in (True, False) for escapes in (True, False)]
PATTERNS: list[re.Pattern[Any]] = [
    hint._AT_THE_FRONT,
    sqlcomment._COMMENT,
    *(lexer._pattern(*mode) for mode in MODES),
    *(skeleton._pattern(*mode) for mode in MODES),
]
ALONE = {_constants.ATOMIC_GROUP, _constants.IN, _constants.LITERAL, _constants.ANY, _constants.NOT_LITERAL}


def _within(items: Any) -> Iterator[Any]:
    """What is repeated possessively anywhere in a parsed pattern."""
    for operator, argument in items:
        if operator is _constants.POSSESSIVE_REPEAT:
            yield argument[2]
        yield from (found for part in _parts(argument) for found in _within(part))


def _parts(argument: Any) -> Iterator[Any]:
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for each in argument:
            yield from _parts(each)


def _unsafe(pattern: str | bytes, flags: int) -> list[Any]:
    repeated = _within(_parser.parse(pattern, flags))
    return [body for body in repeated if len(body) != 1 or body[0][0] not in ALONE]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.pattern[:20])
def test_what_is_repeated_possessively_has_no_way_back(pattern: re.Pattern[Any]) -> None:
    assert _unsafe(pattern.pattern, pattern.flags) == []


def test_a_repeat_that_has_one_is_seen() -> None:
    assert len(_unsafe(r"(a(?:b++|cd)*+)", 0)) == 1


@pytest.mark.parametrize(
    "text", ["''\"X'a", "/*@a''\"q\"\"r\"'x\\'y''it''s \\\\' \"/*5e3", "=--``x')x'\"0b1/* c */"]
)
def test_a_quote_that_is_left_open_is_not_taken_for_a_literal(text: str) -> None:
    with pytest.raises(lexer.UnclosedError):
        lexer.tokens(text, SqlMode())
    assert skeleton.cut(text, SqlMode()) is None
