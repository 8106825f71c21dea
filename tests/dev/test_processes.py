from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.cluster import processes
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELL = shutil.which("sh") or "/bin/sh"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    processes.kill(processes.owned(tmp_path, ["sh"]))


def _spawn(folder: Path, script: str) -> int:
    # The shell itself stays: a single command would take its place.
    return processes.spawn([SHELL, "-c", f"{script}; :", f"{folder}/config"], folder / "log")


def test_a_program_is_found_at_once_by_name_and_folder(folder: Path) -> None:
    pid = _spawn(folder, "kill -STOP $$")  # no child, which would be another "sh" until it is something else
    assert [process.pid for process in processes.owned(folder, ["sh"])] == [pid]
    assert processes.owned(folder, ["other"]) == []
    assert processes.owned(folder / "other", ["sh"]) == []


def test_a_folder_with_the_same_beginning_is_another(folder: Path) -> None:
    _spawn(folder, "sleep 60")
    assert processes.owned(folder.with_name(folder.name[:-1]), ["sh"]) == []


def test_a_killed_program_is_gone(folder: Path) -> None:
    _spawn(folder, "sleep 60")
    processes.kill(processes.owned(folder, ["sh"]))
    assert processes.owned(folder, ["sh"]) == []


def test_a_program_that_does_not_stop_is_killed(folder: Path) -> None:
    _spawn(folder, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    wait_for("the trap", (folder / "log").read_text, seconds=10)
    processes.end(processes.owned(folder, ["sh"]), grace=0.1)
    assert processes.owned(folder, ["sh"]) == []


def test_a_program_that_ends_at_once_is_not_waited_for(folder: Path) -> None:
    _spawn(folder, "echo out; echo err >&2")
    wait_for("its end", lambda: not processes.owned(folder, ["sh"]), seconds=10)
    assert sorted((folder / "log").read_text().split()) == ["err", "out"]


BUSY = """
import hashlib, threading
def work():
    while True:
        hashlib.sha256(bytes(1 << 16)).digest()
for _ in range(8):
    threading.Thread(target=work).start()
print("busy", flush=True)
"""
"""Threads that need no lock to go on, more of them than there are processors."""


def test_a_frozen_program_has_no_thread_that_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as busy:
        try:
            assert busy.stdout is not None
            assert busy.stdout.readline() == "busy\n"
            for _ in range(20):
                processes.freeze(busy.pid)
                threads = [each.read_text() for each in Path(f"/proc/{busy.pid}/task").glob("*/stat")]
                processes.thaw(busy.pid)
                assert {each.rpartition(")")[2].split()[0] for each in threads} == {"T"}
        finally:
            busy.kill()
    processes.freeze(busy.pid)  # it has ended: nothing is waited for
