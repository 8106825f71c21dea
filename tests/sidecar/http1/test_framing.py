from __future__ import annotations

import pytest
from multidict import CIMultiDict

from globaltx_sidecar.http1.framing import Framing, frame, tell_keeping
from globaltx_sidecar.http1.names import names_of
from globaltx_sidecar.http1.requests import RequestHead

LENGTH = {"Content-Length": "5"}
CHUNKED = {"Transfer-Encoding": "chunked"}


def asked(method: str = "GET", version: str = "1.1") -> RequestHead:
    return RequestHead(method, "/", version, [], names_of([]), has_body=False, keeps=True, upgrade=False)


@pytest.mark.parametrize(
    ("method", "version", "status", "size", "said", "framing", "told"),
    [
        ("GET", "1.1", 200, None, LENGTH, Framing.LENGTH, LENGTH),
        ("GET", "1.1", 200, None, {}, Framing.CHUNKS, CHUNKED),
        ("GET", "1.1", 200, None, CHUNKED, Framing.CHUNKS, CHUNKED),
        ("GET", "1.0", 200, None, {}, Framing.CLOSE, {}),
        ("GET", "1.0", 200, None, LENGTH, Framing.LENGTH, LENGTH),
        ("GET", "1.0", 200, 3, {}, Framing.LENGTH, {"Content-Length": "3"}),
        ("GET", "1.1", 200, 0, LENGTH, Framing.LENGTH, {"Content-Length": "0"}),
        ("HEAD", "1.1", 200, None, LENGTH, Framing.NOTHING, LENGTH),
        ("HEAD", "1.1", 200, None, {}, Framing.NOTHING, {}),
        ("GET", "1.1", 204, None, LENGTH, Framing.NOTHING, {}),
        ("GET", "1.1", 304, None, LENGTH, Framing.NOTHING, LENGTH),
    ],
)
def test_a_client_is_told_where_its_answer_ends(
    method: str,
    version: str,
    status: int,
    size: int | None,
    said: dict[str, str],
    framing: Framing,
    told: dict[str, str],
) -> None:
    headers = CIMultiDict(said)
    assert frame(asked(method, version), status, headers, size) is framing
    assert dict(headers) == told


@pytest.mark.parametrize(
    ("version", "keeps", "told"),
    [("1.1", True, {}), ("1.1", False, {"Connection": "close"}), ("1.0", True, {"Connection": "keep-alive"})],
)
def test_a_client_is_told_whether_it_may_ask_more(version: str, told: dict[str, str], *, keeps: bool) -> None:
    headers = CIMultiDict({"Connection": "x"})
    tell_keeping(asked(version=version), headers, keeps=keeps)
    assert dict(headers) == told
