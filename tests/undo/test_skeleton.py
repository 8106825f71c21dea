"""The skeleton is what the lexer finds between literals and comments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.undo import lexer, skeleton
from globaltx.undo.lexer import TokenKind
from globaltx.undo.sqlmode import SqlMode

MODES = [
    SqlMode(ansi_quotes=ansi, backslash_escapes=escapes)
    for ansi in (False, True)
    for escapes in (False, True)
]
KINDS = {TokenKind.STRING: "s", TokenKind.NUMBER: "n", TokenKind.BYTES: "b", TokenKind.COMMENT: "c"}
PIECES = [
    *("SELECT ", "'a''b\\'c'", "'a' 'b'", "'", '"', '"d"', "`e`", "`", "\\"),
    *("/* f */", "/*", "*/", "/*! x */", "/*M!5 y */", "/*+ h */", "-- g\n", "--", "-"),
    *("#h\n", "#", "?", "5", ".5e3", "5.", "1e", "1e5", "0xFF"),
    *("0x", "0b01", "x'4'", "X'41'", "b'1'", "n'a'", "N", "x", "b"),
    *("_", "_utf8", "_utf8 ", "_utf8'a'", "_latin1 x'41'", "@x", "@", "@@a.b", "@`c`"),
    *("@'d'", "=", ":=", "->", "->>", "(", ")", ",", ";"),
    *(" ", "\n", "a1", "1a", ".", "..", "a.5", "ab'c'", "$"),
    *("é", "\x00", "\x1c", "{", "|", "||", "<=>", "!", "%"),
    *("\udc80"),
]
OTHERS = {
    TokenKind.STRING: ["'z'", "''", "_utf8'z'"],
    TokenKind.NUMBER: ["0", "7.5"],
    TokenKind.BYTES: ["x'00'", "0xAB"],
    TokenKind.COMMENT: ["/* z */", "-- z\n"],
}
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=2)), max_size=12).map("".join)


@given(texts, st.sampled_from(MODES))
def test_what_is_taken_out_is_what_the_lexer_finds(text: str, mode: SqlMode) -> None:
    cut = skeleton.cut(text, mode)
    try:
        tokens = lexer.tokens(text, mode)
    except lexer.UnclosedError:
        assert cut is None
        return
    assert cut is not None
    taken = [token for token in tokens if token.kind in skeleton.TAKEN_OUT]
    assert cut.texts == [token.text for token in taken]
    between = [""]
    for token in tokens:
        if token.kind in skeleton.TAKEN_OUT:
            between.append("")
        else:
            between[-1] += token.text
    *found, kinds = cut.skeleton
    assert found[: len(between)] == between
    assert not any(found[len(between) :])
    assert kinds == "".join(KINDS[token.kind] for token in taken)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.data(), st.sampled_from(MODES))
def test_other_literals_of_the_same_kinds_leave_the_other_tokens_as_they_are(
    text: str, data: st.DataObject, mode: SqlMode
) -> None:
    try:
        tokens = lexer.tokens(text, mode)
    except lexer.UnclosedError:
        return
    exchanged = [
        token._replace(text=data.draw(st.sampled_from(OTHERS.get(token.kind, [token.text]))))
        for token in tokens
    ]
    the_tokens_of_one_are_those_of_the_other(text, "".join(token.text for token in exchanged), mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("text", "other"), [("5..5e3", "7.57.5"), ("'a' 'b'", "'z' ''"), ("(5,?)", "(7,?)")])
def test_literals_beside_each_other_may_be_cut_elsewhere(text: str, other: str, mode: SqlMode) -> None:
    assert the_tokens_of_one_are_those_of_the_other(text, other, mode)


def the_tokens_of_one_are_those_of_the_other(text: str, other: str, mode: SqlMode) -> bool:
    """Put the other's literals into the tokens of one, as it is done with what is remembered of one."""
    one, two = skeleton.cut(text, mode), skeleton.cut(other, mode)
    assert one is not None
    if two is None or one.skeleton != two.skeleton:
        return False
    literals = iter(two.texts)
    put = [
        token._replace(text=next(literals)) if token.kind in skeleton.TAKEN_OUT else token
        for token in lexer.tokens(text, mode)
    ]
    assert lexer.tokens(other, mode) == put
    return True


@pytest.mark.parametrize("piece", ["/*", "'a", "_a ", "x'", "1a", "(", "a'", "--a"])
def test_what_cannot_be_read_is_found_out_in_one_pass(piece: str) -> None:
    text = piece * (8192 // len(piece)) + "'"
    for mode in MODES:
        cut = skeleton.cut(text, mode)
        assert cut is None or "".join(cut.texts)
