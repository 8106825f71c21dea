from __future__ import annotations

import pytest

from globaltx import http2_frames as frames
from globaltx_sidecar.http2.floods import IDLE_FRAMES_MAX, RESETS_MAX, FloodError, Floods
from globaltx_sidecar.http2.unread import Boundaries

PING = bytes.fromhex("000008060000000000") + b"12345678"
SETTINGS = bytes.fromhex("000000040000000000")
DATA = bytes.fromhex("000003000100000001") + b"abc"
WHOLE = SETTINGS + PING + DATA


@pytest.mark.parametrize("piece", [1, 2, 7, len(WHOLE)])
def test_frames_are_cut_out_however_they_come(piece: int) -> None:
    read = frames.FrameReader()
    found = [each for at in range(0, len(WHOLE), piece) for each in read.feed(WHOLE[at : at + piece])]
    assert [each.raw for each in found] == [SETTINGS, PING, DATA]
    assert [(each.kind, each.flags) for each in found] == [(4, 0), (6, 0), (0, 1)]


def test_a_frame_that_is_too_large_is_none() -> None:
    with pytest.raises(frames.PeerError, match="16385"):
        list(frames.FrameReader().feed(bytes.fromhex("004001000000000001")))


def test_a_goaway_reads_as_it_was_written() -> None:
    (found,) = frames.FrameReader().feed(frames.goaway(5, 11))
    assert frames.last_stream_of(found) == 5
    with pytest.raises(frames.PeerError):
        frames.last_stream_of(frames.Frame(7, 0, 0, bytes(9)))


@pytest.mark.parametrize("piece", [1, 2, 7, len(WHOLE)])
def test_boundaries_are_found_however_the_bytes_come(piece: int) -> None:
    boundaries, found, seen = Boundaries(), set(), 0
    ends = {len(SETTINGS), len(SETTINGS + PING), len(WHOLE)}
    for at in range(0, len(WHOLE), piece):
        data = WHOLE[at : at + piece]
        whole = boundaries.last(data)
        seen += len(data)
        if whole:
            found.add(at + whole)
        assert boundaries.reached == (seen in ends)
    assert found <= ends
    assert len(WHOLE) in found


def frame(raw: bytes) -> frames.Frame:
    (found,) = frames.FrameReader().feed(raw)
    return found


def test_what_asks_for_nothing_may_come_so_often_and_no_more() -> None:
    floods = Floods()
    for _ in range(IDLE_FRAMES_MAX):
        floods.frame(frame(PING), 1.0)
    with pytest.raises(FloodError):
        floods.frame(frame(PING), 1.0)
    floods.frame(frame(DATA), 1.0)
    floods.frame(frame(PING), 2.0)  # with time there are more


def test_what_is_taken_back_may_be_so_much_and_no_more() -> None:
    floods = Floods()
    for _ in range(RESETS_MAX):
        floods.reset(1.0)
    with pytest.raises(FloodError):
        floods.reset(1.0)
    floods.reset(1.1)
