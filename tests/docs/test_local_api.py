"""The page of the local API: what it shows in each language runs, against a real local API."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from globaltx.transaction.model import Mode
from globaltx.transaction.states import Outcome
from tests.sidecar.local.scene import local_api

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE = Path(__file__).parents[2] / "docs" / "local-api.md"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SECONDS = 240
LINES = {
    "sh": ("program.sh", ("sh", "-e")),
    "python": ("program.py", (sys.executable,)),
    "php": ("program.php", ("php", "-d", "display_errors=stderr", "-d", "error_reporting=-1")),
    "go": ("program.go", ("go", "run")),
}


def shown(language: str) -> Iterator[str]:
    return (
        match[1]
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    )


async def stock(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The service that the program calls with its xid."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(OK if b"globaltx-xid: shop." in head.lower() else OK.replace(b"200 OK", b"400 No"))
    writer.close()


async def run(line: Sequence[str], url: str, folder: Path) -> str:
    """Run a program to its end; what it said, and a failure if it failed."""
    environment = os.environ | {"GLOBALTX_URL": url, "GOTOOLCHAIN": "local"}
    program = await asyncio.create_subprocess_exec(
        *line,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    assert program.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.parametrize("language", LINES)
async def test_what_the_page_shows_commits_with_its_branch(language: str, tmp_path: Path) -> None:
    name, line = LINES[language]
    if shutil.which(line[0]) is None:
        pytest.skip(f"{line[0]} is not installed")
    (text,) = shown(language)
    called = await asyncio.start_server(stock, "127.0.0.1", 0)
    port = called.sockets[0].getsockname()[1]
    (tmp_path / name).write_text(text.replace("http://stock/", f"http://127.0.0.1:{port}/"))
    async with called, local_api() as scene:
        said = await run([*line, name], scene.url, tmp_path)
        (transaction,) = scene.memory.transactions.values()
        branches = sorted(scene.memory.branches.values(), key=lambda each: each.mode, reverse=True)
    branch = branches[0]
    assert [each.mode for each in branches] == [Mode.TCC, *([Mode.SAGA] if language == "python" else [])]
    assert transaction.decision is not None, said
    assert transaction.decision.outcome is Outcome.COMMIT
    assert (branch.id.xid, branch.started) == (transaction.xid, True)
    assert branch.calls is not None
    assert (branch.calls.on_commit, branch.calls.request.body) == ("/seat/confirm", b"12A")


@pytest.mark.parametrize("language", LINES)
async def test_what_the_page_shows_ends_with_an_error_when_it_is_refused(
    language: str, tmp_path: Path
) -> None:
    """No HTTP is captured, so the branch is refused, and nothing may be committed."""
    name, line = LINES[language]
    if shutil.which(line[0]) is None:
        pytest.skip(f"{line[0]} is not installed")
    (text,) = shown(language)
    (tmp_path / name).write_text(text)
    async with local_api(callable_=False) as scene:
        with pytest.raises(AssertionError):
            await run([*line, name], scene.url, tmp_path)
        (transaction,) = scene.memory.transactions.values()
    assert transaction.decision is None or transaction.decision.outcome is Outcome.ROLLBACK
    if language != "sh":  # which leaves it to the deadline
        assert transaction.decision is not None
