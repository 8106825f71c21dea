from __future__ import annotations

import pytest
from multidict import CIMultiDict

from globaltx_sidecar.http1.heads import (
    LAST_CHUNK,
    NotSendableError,
    answer_head,
    chunk,
    decoded,
    last_chunk,
    request_head,
)


def test_a_head_is_written_as_it_came() -> None:
    raw = bytes(range(0x80, 0x100))
    headers = CIMultiDict([("Host", "a"), ("X-Same", "1"), ("x-same", decoded(raw))])
    assert request_head("GET", "/%7Ea?b", headers) == (
        b"GET /%7Ea?b HTTP/1.1\r\nHost: a\r\nX-Same: 1\r\nx-same: " + raw + b"\r\n\r\n"
    )
    assert answer_head(299, "", CIMultiDict()) == b"HTTP/1.1 299 \r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nX: 1", "a\rb", "a\nb", "a\0b", "\r", "\n"])
def test_a_value_that_would_be_another_header_is_not_sent(value: str) -> None:
    for headers in (CIMultiDict({"X": value}), CIMultiDict({value: "x"})):
        with pytest.raises(NotSendableError):
            request_head("POST", "/", headers)
        with pytest.raises(NotSendableError):
            answer_head(200, "OK", headers)
        with pytest.raises(NotSendableError):
            last_chunk(list(headers.items()))


@pytest.mark.parametrize("target", ["/a HTTP/1.1\r\nX: 1", "/a b", "/a\r\n"])
def test_a_target_that_would_be_more_is_not_sent(target: str) -> None:
    with pytest.raises(NotSendableError):
        request_head("GET", target, CIMultiDict())


def test_chunks_and_what_may_stand_behind_the_last() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert last_chunk([]) == last_chunk([("Content-Length", "5"), ("transfer-encoding", "x")]) == LAST_CHUNK
    assert last_chunk([("X-Sum", "1"), ("Host", "a")]) == b"0\r\nX-Sum: 1\r\n\r\n"
