"""Which keys are known before they are stored: those of CHAR, whose trailing spaces no column keeps."""

from __future__ import annotations

import pytest

from globaltx.undo.exact import exact
from globaltx.undo.literal import Text
from globaltx.undo.shape import Column

PADS, PADS_NOT = "utf8mb4_general_ci", "utf8mb4_0900_ai_ci"


def column(type_: str, collation: str) -> Column:
    """A column of a key."""
    return Column("id", type_, f"{type_}(20)", charset="utf8mb4", collation=collation)


@pytest.mark.parametrize("text", ["AB CD", "a b", " a", "", "a\tb"])
@pytest.mark.parametrize("collation", [PADS, PADS_NOT, "utf8mb4_general_nopad_ci"])
@pytest.mark.parametrize("type_", ["char", "varchar"])
def test_a_text_that_is_stored_as_it_is_said_is_known(type_: str, collation: str, text: str) -> None:
    assert exact(column(type_, collation), Text(text.encode(), "utf8mb4")) is not None


@pytest.mark.parametrize(("text", "charset"), [("a ", "utf8mb4"), (" ", "ascii"), ("a ", "utf-16-le")])
@pytest.mark.parametrize("collation", [PADS_NOT, "utf8mb4_general_nopad_ci"])
def test_a_char_with_spaces_at_its_end_is_not_where_it_is_not_padded(
    collation: str, text: str, charset: str
) -> None:
    codec = "utf-8" if charset == "utf8mb4" else charset
    value = Text(text.encode(codec), charset.replace("-", ""))
    assert exact(column("char", collation), value) is None


def test_padding_and_columns_that_keep_them_make_no_difference() -> None:
    value = Text(b"a ", "utf8mb4")
    assert exact(column("char", PADS), value) is not None
    assert exact(column("varchar", PADS_NOT), value) is not None
