"""Calls to real servers that answer badly, and to places that are never called."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from globaltx.transaction.declared import RESULT_BYTES_MAX, Exchange
from globaltx_sidecar.saga.caller import StepCaller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECONDS = 20.0


@asynccontextmanager
async def server(answer: bytes, *, stay: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer each request with these bytes; gives the URL and what was asked."""
    asked: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].partition(b":")[2])) if length else b""
        asked.append(head + body)
        writer.write(answer)
        await writer.drain()
        if stay:
            await over.wait()
        writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with made:
        yield f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}", asked
        over.set()


def message(status: int, body: bytes, *more: str) -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(head).encode() + body


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"id": 7}', '{"id": 7}'),
        (b"", ""),
        (b"not json", ""),
        (b"\xff", ""),
        (b"NaN", ""),
        (b"[" * 100 + b"1" + b"]" * 100, "[" * 100 + "1" + "]" * 100),
        (b"[" * 99 + b'{"a": {}}' + b"]" * 99, ""),
        (b"[" * 8000 + b"]" * 8000, ""),
        (b'"' + b"x" * RESULT_BYTES_MAX + b'"', ""),
    ],
    ids=[
        "json",
        "nothing",
        "text",
        "no utf-8",
        "no json number",
        "nested",
        "nested too deep",
        "nested far too deep",
        "too large",
    ],
)
async def test_of_an_answer_only_bounded_json_is_kept(body: bytes, kept: str) -> None:
    async with server(message(200, body)) as (url, _), StepCaller() as caller:
        answer = await caller.call(Exchange(url), {}, SECONDS)
    assert (answer.status, answer.result, answer.problem) == (200, kept, "")


async def test_what_is_sent_is_what_was_asked_for_and_our_headers_stand() -> None:
    async with server(message(200, b"{}")) as (url, asked), StepCaller() as caller:
        exchange = Exchange(f"{url}/a%2Fb?q=%26", "PUT", (("X-A", "1"), ("Globaltx-Saga", "forged")), '"x"')
        await caller.call(exchange, {"globaltx-saga": "shop.t1"}, SECONDS)
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /a%2Fb?q=%26 HTTP/1.1")
    assert body == b'"x"'
    assert head.lower().count(b"globaltx-saga: shop.t1") == 1
    assert b"forged" not in head
    assert b"content-type: application/json" in head.lower()


@pytest.mark.parametrize(
    ("said", "found"), [("repeated", True), ("empty", True), ("late", False), ("", False)]
)
async def test_what_a_guard_row_has_said_is_heard(said: str, *, found: bool) -> None:
    async with server(message(200, b"", f"globaltx-found: {said}")) as (url, _), StepCaller() as caller:
        answer = await caller.call(Exchange(f"{url}/a"), {}, SECONDS)
    assert (answer.status, answer.found) == (200, found)


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with server(message(200, b"{}")) as (other, asked):
        moved = message(307, b"", f"Location: {other}/secret")
        async with server(moved) as (url, _), StepCaller() as caller:
            answer = await caller.call(Exchange(url), {}, SECONDS)
    assert answer.status == 307
    assert not asked


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/meta-data", "http://localhost:1/"])
async def test_what_is_never_called(url: str) -> None:
    async with StepCaller() as caller:
        answer = await caller.call(Exchange(url), {}, SECONDS)
    assert answer.status == 0
    assert "never called" in answer.problem


async def test_an_answer_that_does_not_come_in_time_is_none() -> None:
    async with server(b"HTTP/1.1 200 X\r\n", stay=True) as (url, _), StepCaller() as caller:
        answer = await caller.call(Exchange(url), {}, 0.2)
    assert answer.status == 0
    assert "no answer within" in answer.problem


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{"])
async def test_half_an_answer_is_none(answer: bytes) -> None:
    async with server(answer) as (url, _), StepCaller() as caller:
        found = await caller.call(Exchange(url), {}, SECONDS)
    assert found.status == 0
    assert found.problem
