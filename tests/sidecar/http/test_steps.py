"""Calls of declared sagas that no route names: what a guard row has said of one stands above its answer."""

from __future__ import annotations

import json

import pytest

from globaltx.modes.guard_row import Finding, Guarded
from globaltx.modes.tcc import Operation
from globaltx.transaction.xid import Xid
from tests.sidecar.http.scene import Seen, answering, staged
from tests.sidecar.http.test_tries import OK

STEP = Guarded(Xid("shop", "trip-1"), "flight-4b8e", Operation.STEP)
FAILED = b"HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\nfail"


def request(guard: object = STEP, *, saga: bool = True) -> bytes:
    head = ["POST /elsewhere HTTP/1.1", "Host: shop", "Content-Length: 0", f"globaltx-guard: {guard}"]
    head += [f"globaltx-saga: {STEP.xid}"] if saga else []
    return "\r\n".join([*head, "Connection: close", "", ""]).encode()


def told(answer: bytes) -> tuple[int, str, bytes]:
    """The status, what was found, the body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    found = [each.partition(": ")[2] for each in lines if each.startswith("globaltx-found: ")]
    return int(lines[0].split()[1]), "".join(found), body


@pytest.mark.parametrize("finding", [Finding.REPEATED, Finding.EMPTY])
async def test_what_was_done_is_told_instead_of_the_error(finding: Finding) -> None:
    async with staged(answering([], FAILED)) as scene:
        scene.guards.found(STEP, finding)
        assert told(await scene.ask(request())) == (200, str(finding), b"")
        assert told(await scene.ask(request())) == (500, "", b"fail")  # it was forgotten with its answer


async def test_an_answer_that_says_so_itself_is_kept() -> None:
    async with staged(answering([], OK)) as scene:
        scene.guards.found(STEP, Finding.REPEATED)
        assert told(await scene.ask(request())) == (200, "", b"done")


@pytest.mark.parametrize("answer", [FAILED, OK])
async def test_what_came_too_late_is_refused_whatever_the_answer_is(answer: bytes) -> None:
    async with staged(answering([], answer)) as scene:
        scene.guards.found(STEP, Finding.LATE)
        status, found, body = told(await scene.ask(request()))
    assert (status, found, json.loads(body)["reason"]) == (409, "", "AlreadyDecided")


@pytest.mark.parametrize(
    ("guard", "saga", "handed_on"),
    [
        (STEP, True, [str(STEP)]),
        ("something", True, ["something"]),
        (STEP, False, [str(STEP)]),
        (Guarded(Xid("elsewhere", "trip-1"), "flight-4b8e", Operation.STEP), True, []),
    ],
)
async def test_a_guard_of_another_namespace_does_not_reach_the_application(
    guard: object, handed_on: list[str], *, saga: bool
) -> None:
    """Nobody here could tell when its rows may go."""
    seen: list[Seen] = []
    async with staged(answering(seen, OK)) as scene:
        assert told(await scene.ask(request(guard, saga=saga)))[0] == 200
    assert seen[0].header("globaltx-guard") == handed_on
