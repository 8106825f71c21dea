from __future__ import annotations

import pytest

from globaltx.stores.etcd.wire import HEAD_BYTES_MAX, AnswerError, AnswerReader, request

FIXED = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 11\r\n\r\n{"a":"bcd"}'
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"
    b'5\r\n{"a":\r\nA;ext=1\r\n"bcdefgh"}\r\n0\r\nX: y\r\n\r\n'
)
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
CLOSES = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 4\r\n\r\naway"


def read(answer: bytes, size: int) -> AnswerReader:
    reader = AnswerReader()
    for start in range(0, len(answer), size):
        assert not reader.ended
        reader.feed(answer[start : start + size])
    return reader


@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096])
@pytest.mark.parametrize(
    ("answer", "status", "body", "keeps"),
    [
        (FIXED, 200, b'{"a":"bcd"}', True),
        (CHUNKED, 200, b'{"a":"bcdefgh"}', True),
        (EMPTY, 204, b"", True),
        (EARLY + FIXED, 200, b'{"a":"bcd"}', True),
        (CLOSES, 503, b"away", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    ],
)
def test_answers_are_read_whole_and_piece_by_piece(
    answer: bytes, status: int, body: bytes, size: int, *, keeps: bool
) -> None:
    reader = read(answer, size)
    assert reader.ended
    assert (reader.status, b"".join(reader.pieces), reader.keeps) == (status, body, keeps)
    reader.end()


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    reader = read(b"HTTP/1.1 502 Bad Gateway\r\n\r\nno", 1)
    assert not reader.ended
    reader.end()
    assert (reader.ended, reader.keeps, b"".join(reader.pieces)) == (True, False, b"no")


@pytest.mark.parametrize("answer", [FIXED, CHUNKED])
def test_an_answer_that_breaks_off_is_none(answer: bytes) -> None:
    for length in range(len(answer)):
        reader = AnswerReader()
        reader.feed(answer[:length])
        assert not reader.ended
        with pytest.raises(AnswerError):
            reader.end()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_BYTES_MAX,
        FIXED + b"more",
    ],
)
@pytest.mark.parametrize("size", [1, 4096])
def test_what_is_no_answer_is_refused(answer: bytes, size: int) -> None:
    reader = AnswerReader()
    with pytest.raises(AnswerError):  # noqa: PT012  which piece it is depends on the size
        for start in range(0, len(answer), size):
            reader.feed(answer[start : start + size])


def test_a_request_says_its_length_and_no_more_than_it_was_given() -> None:
    said = request("/v3/kv/txn", "etcd:2379", {"Authorization": "t.1"}, b"{}")
    assert said == (
        b"POST /v3/kv/txn HTTP/1.1\r\nHost: etcd:2379\r\nAuthorization: t.1\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    with pytest.raises(ValueError, match="header"):
        request("/v3/kv/txn", "etcd:2379", {"Authorization": "t\r\nX: y"}, b"{}")
