from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.transaction.xid import RANDOM_BITS, XID_LENGTH_MAX, InvalidXidError, Xid, new_xid

LABEL = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
RANDOMNESS = st.integers(0, 2**RANDOM_BITS - 1)
MILLISECONDS = st.integers(0, 2**48 - 1)


@given(LABEL, LABEL)
def test_an_xid_reads_back_as_written(namespace: str, name: str) -> None:
    xid = Xid(namespace, name)
    assert Xid.parse(str(xid)) == xid
    assert len(str(xid)) <= XID_LENGTH_MAX


@given(MILLISECONDS, RANDOMNESS)
def test_a_new_xid_is_one(now_ms: int, randomness: int) -> None:
    xid = new_xid("shop", now_ms, randomness)
    assert Xid.parse(str(xid)) == xid
    assert len(xid.name) == 20


@given(MILLISECONDS, MILLISECONDS, RANDOMNESS, RANDOMNESS)
def test_names_sort_by_time(first_ms: int, second_ms: int, first: int, second: int) -> None:
    names = new_xid("shop", first_ms, first).name, new_xid("shop", second_ms, second).name
    if first_ms != second_ms:
        assert (names[0] < names[1]) == (first_ms < second_ms)
    else:
        assert (names[0] < names[1]) == (first < second)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop",
        ".name",
        "shop.",
        "Shop.name",
        "shop.na_me",
        "shop.name.more",
        "shop.-name",
        "shop.name-",
        "shop.name\n",
        "shop.'; DROP TABLE so_master; --",
        "s" * 64 + ".name",
        "shop." + "n" * 64,
    ],
)
def test_what_is_no_xid_is_refused_and_shown(text: str) -> None:
    with pytest.raises(InvalidXidError, match="is not an xid: an xid is"):
        Xid.parse(text)


def test_a_long_text_is_shown_cut() -> None:
    with pytest.raises(InvalidXidError) as caught:
        Xid.parse("x" * 100_000)
    assert len(str(caught.value)) < 400
