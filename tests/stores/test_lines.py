from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.stores.lines import Lines, LineTooLongError


def cut(text: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"").rstrip(b"\r"))), st.data())
def test_any_cutting_gives_the_same_lines(lines: list[bytes], data: st.DataObject) -> None:
    text = b"".join(line + b"\n" for line in lines)
    places = data.draw(st.lists(st.integers(0, 1000)))
    fed = Lines(20)
    assert [line for piece in cut(text, places) for line in fed.feed(piece)] == [
        each for each in lines if each
    ]


def test_byte_by_byte() -> None:
    fed = Lines(10)
    text = b"one\r\n\ntwo\nrest"
    assert [line for byte in text for line in fed.feed(bytes([byte]))] == [b"one", b"two"]
    assert fed.feed(b"\n") == [b"rest"]


@pytest.mark.parametrize("pieces", [[b"12345"], [b"1"] * 5, [b"ok\n12345\n"], [b"12", b"345\n"]])
def test_a_line_is_bounded(pieces: list[bytes]) -> None:
    fed = Lines(4)
    *before, last = pieces
    for piece in before:
        fed.feed(piece)
    with pytest.raises(LineTooLongError):
        fed.feed(last)


def test_the_bound_is_for_each_line() -> None:
    assert Lines(4).feed(b"1234\n1234\n1234") == [b"1234", b"1234"]
