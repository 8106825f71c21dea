"""Expressions beside Python's own, and pairs of them beside all short texts."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.coordinator.automata import Automaton, meet
from globaltx.coordinator.expressions import POSITIONS_MAX, PatternError, compiled

SHORT = ["".join(each) for length in range(5) for each in product("ab/", repeat=length)]
"""All texts of at most four of these."""

atoms = st.sampled_from(["a", "b", "/", ".", "[ab]", "[^/]", "[^a-b]", r"\w", r"\W", r"[\d/]", r"\/", "()"])
counts = st.sampled_from(["", "?", "{0}", "{1}", "{0,1}", "{1,2}"])
endless = st.sampled_from(["*", "+", "{1,}", "{2,}", "{0,}"])


def patterns(repeats: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Expressions that Python understands in the same way."""
    return st.recursive(
        st.builds("{}{}".format, atoms, repeats),
        lambda parts: st.one_of(
            st.lists(parts, min_size=1, max_size=3).map("".join),
            st.builds("(?:{}|{}){}".format, parts, parts, repeats),
            st.builds("({}){}".format, parts, repeats),
        ),
        max_leaves=4,
    )


@given(patterns(st.one_of(counts, endless)))
def test_an_expression_matches_what_python_matches(pattern: str) -> None:
    theirs = re.compile(pattern, re.DOTALL | re.ASCII)
    ours = compiled(pattern)
    assert [text for text in SHORT if ours.matches(text)] == [t for t in SHORT if theirs.fullmatch(t)]


@given(patterns(st.one_of(counts, endless)), patterns(st.one_of(counts, endless)))
def test_two_that_do_not_meet_match_no_text_in_common(one: str, other: str) -> None:
    a, b = compiled(one), compiled(other)
    both = [text for text in SHORT if a.matches(text) and b.matches(text)]
    assert meet(a, b) is meet(b, a)
    assert meet(a, b) or not both


@given(st.lists(st.sampled_from(SHORT), min_size=1, max_size=4), patterns(st.one_of(counts, endless)))
def test_two_meet_only_in_a_text_that_both_match(texts: list[str], pattern: str) -> None:
    words, other = compiled("|".join(texts)), compiled(pattern)
    assert meet(words, other) is any(other.matches(text) for text in texts)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("/v[12]/orders/[0-9]+", "/v1/orders/17", True),
        ("/v[12]/orders/[0-9]+", "/v3/orders/17", False),
        ("/v[12]/orders/[0-9]+", "/v1/orders/17/items", False),
        ("/v[12]/orders/[0-9]+", "/v1/orders/", False),
        (r"/a\.b", "/a.b", True),
        (r"/a\.b", "/axb", False),
        ("/.*", "/é/日本", True),
        ("/[^/]{2,3}", "/ab", True),
        ("/[^/]{2,3}", "/abcd", False),
        ("/[a-]", "/-", True),
        ("/(?:x|yz)?", "/yz", True),
        ("/", "", False),
    ],
)
def test_a_whole_path_is_matched(pattern: str, text: str, expected: bool) -> None:  # noqa: FBT001  a table's column
    assert compiled(pattern).matches(text) is expected


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("/a(", "at character 4: a group is not closed"),
        ("/a)", "at character 3: there is a \\) that nothing opens"),
        ("/[a", "a class is empty or not closed"),
        ("/[]", "a class is empty or not closed"),
        ("/[z-a]", "goes from a character to one after it"),
        (r"/[\d-z]", "goes from a character to one after it"),
        ("^/a", r"'\^' is not understood here; write \\\^"),
        ("/a$", "is not understood here"),
        ("/*?", "a repetition is repeated"),
        ("/+*", "a repetition is repeated"),
        ("*", "is not understood here"),
        ("/a{2,1}", "with n not above m"),
        ("/a{x}", "a repetition needs a number"),
        ("/a{1", "a repetition is"),
        (r"/\b", r"\\b is not understood"),
        (r"/(a)\1", r"\\1 is not understood"),
        ("/\\", "is not understood"),
        ("/(?=a)", "only \\(...\\) and"),
        ("/a{999}", f"longer than {POSITIONS_MAX} characters"),
        ("(" * 40 + ")" * 40, "nested deeper than"),
    ],
)
def test_what_is_not_understood_is_told_with_its_place(pattern: str, told: str) -> None:
    with pytest.raises(PatternError, match=told):
        compiled(pattern)


def test_nothing_repeated_without_end_is_nothing() -> None:
    """Written out, these would be 10 to the 30th of nothing."""
    nothing = compiled("(" * 10 + "){999}" * 10)
    assert nothing.matches("")
    assert not nothing.matches("a")


def test_each_character_of_a_text_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression on which one that steps back takes 2 to the 40th steps."""
    hard = compiled("(a|aa)*(a?){40}b")
    steps = 0
    ours = Automaton._step

    def counted(automaton: Automaton, allowed: int, char: str) -> tuple[int, int]:
        nonlocal steps
        steps += 1
        return ours(automaton, allowed, char)

    monkeypatch.setattr(Automaton, "_step", counted)
    assert not hard.matches("a" * 5000)
    assert steps <= POSITIONS_MAX
