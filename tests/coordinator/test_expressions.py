"""Expressions beside the languages that they stand for, as far as their texts are short."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.coordinator.automata import Automaton, meet
from globaltx.coordinator.expressions import POSITIONS_MAX, PatternError, compiled

LENGTH_MAX = 3
SHORT = ["".join(each) for length in range(LENGTH_MAX + 1) for each in product("ab/", repeat=length)]
"""All texts of at most three of these."""

Language = frozenset[str]
"""Those of them that an expression matches. Python's own `re` is no judge: some of these it never ends."""
Written = tuple[str, Language]

ATOMS = {
    **{each: each for each in "ab/"},
    ".": "ab/",
    "[ab]": "ab",
    "[^/]": "ab",
    "[^a-b]": "/",
    r"\w": "ab",
    r"\W": "/",
    r"[\d/]": "/",
    r"\/": "/",
}
REPEATS = {"": (1, 1), "?": (0, 1), "{0}": (0, 0), "{1}": (1, 1), "{0,1}": (0, 1), "{1,2}": (1, 2)}
ENDLESS = {"*": 0, "+": 1, "{1,}": 1, "{2,}": 2, "{0,}": 0}


def joined(one: Language, other: Language) -> Language:
    return frozenset(a + b for a in one for b in other if len(a + b) <= LENGTH_MAX)


def repeated(part: Written, mark: str) -> Written:
    least = ENDLESS[mark] if mark in ENDLESS else REPEATS[mark][0]
    most = least + LENGTH_MAX if mark in ENDLESS else REPEATS[mark][1]
    power, found = frozenset({""}), frozenset[str]()
    for number in range(most + 1):
        found |= power if number >= least else frozenset()
        power = joined(power, part[1])
    return part[0] + mark, found


def in_a_row(parts: list[Written]) -> Written:
    whole = frozenset({""})
    for _, language in parts:
        whole = joined(whole, language)
    return "".join(text for text, _ in parts), whole


marks = st.sampled_from([*REPEATS, *ENDLESS])
atoms = st.sampled_from([("()", frozenset({""})), *((text, frozenset(of)) for text, of in ATOMS.items())])
written = st.recursive(
    st.builds(repeated, atoms, marks),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(in_a_row),
        st.builds(
            lambda a, b, mark: repeated((f"(?:{a[0]}|{b[0]})", a[1] | b[1]), mark), parts, parts, marks
        ),
        st.builds(lambda a, mark: repeated((f"({a[0]})", a[1]), mark), parts, marks),
    ),
    max_leaves=4,
)


@given(written)
def test_an_expression_matches_its_language(of: Written) -> None:
    pattern, language = of
    ours = compiled(pattern)
    assert [text for text in SHORT if ours.matches(text)] == [text for text in SHORT if text in language]


@given(written, written)
def test_two_that_do_not_meet_match_no_text_in_common(one: Written, other: Written) -> None:
    a, b = compiled(one[0]), compiled(other[0])
    both = one[1] & other[1]
    assert meet(a, b) is meet(b, a)
    assert meet(a, b) or not both


@given(st.lists(st.sampled_from(SHORT), min_size=1, max_size=4), written)
def test_two_meet_only_in_a_text_that_both_match(texts: list[str], of: Written) -> None:
    pattern, language = of
    assert meet(compiled("|".join(texts)), compiled(pattern)) is any(text in language for text in texts)


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
