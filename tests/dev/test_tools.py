from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

import pytest

from dev import install
from dev.errors import ToolError
from dev.folders import cache_root, locked, state_root
from dev.progress import step
from dev.shell import CommandError, follow, run, succeeds
from dev.waiting import wait_for

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event
    from pathlib import Path


def test_what_a_failed_program_said_is_in_the_error() -> None:
    with pytest.raises(CommandError, match="ended with code 3") as failed:
        run("sh", "-c", "echo reason >&2; exit 3")
    assert failed.value.code == 3
    assert "reason" in str(failed.value)


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(ToolError, match="did not end within"):
        run("sleep", "60", timeout=0.1)


def test_a_program_that_is_missing_is_said() -> None:
    with pytest.raises(ToolError, match="no-such-program is not installed"):
        run("no-such-program")
    assert not succeeds("no-such-program")


def test_lines_are_handed_on_as_they_come() -> None:
    lines: list[str] = []
    said = follow("sh", "-c", "echo one; echo two >&2", on_line=lines.append, timeout=10)
    assert lines == ["one", "two"]
    assert said == "one\ntwo\n"


def test_a_long_program_ends_at_its_deadline() -> None:
    script = "while :; do echo still; sleep 0.05; done"
    with pytest.raises(ToolError, match="did not end in time"):
        follow("sh", "-c", script, on_line=lambda _line: None, timeout=0.2)


def test_a_silent_program_ends_at_its_deadline() -> None:
    started = time.monotonic()
    with pytest.raises(ToolError, match="did not end in time"):
        follow("sleep", "60", on_line=lambda _line: None, timeout=0.2)
    assert time.monotonic() - started < 10


def test_waiting_gives_the_answer_or_says_what_was_waited_for() -> None:
    answers = iter([None, None, "there"])
    assert wait_for("it", lambda: next(answers), seconds=5, every=0) == "there"
    with pytest.raises(ToolError, match="in vain for it"):
        wait_for("it", lambda: None, seconds=0)


def test_a_step_says_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with step("good"):
        pass
    with pytest.raises(ToolError), step("bad"):
        raise ToolError
    good, bad = capsys.readouterr().err.splitlines()
    assert good.startswith("✓ good (")
    assert bad.startswith("✗ bad (")


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GLOBALTX_STATE", str(tmp_path / "s"))
    monkeypatch.delenv("GLOBALTX_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert (state_root(), cache_root()) == (tmp_path / "s", tmp_path / "x" / "globaltx")
    monkeypatch.setenv("GLOBALTX_CACHE", str(tmp_path / "c"))
    monkeypatch.delenv("GLOBALTX_STATE")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert (state_root(), cache_root()) == (tmp_path / "c" / "state", tmp_path / "c")


def _hold(lock: Path, held: Event, leave: Event) -> None:
    with locked(lock):
        held.set()
        leave.wait(30)
        lock.unlink()


def test_a_lock_whose_holder_removed_it_is_taken_anew(tmp_path: Path) -> None:
    lock, context = tmp_path / "lock", multiprocessing.get_context("spawn")
    held, leave = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(lock, held, leave))
    holder.start()
    assert held.wait(30)
    leave.set()
    with locked(lock):
        assert lock.exists()
    holder.join(30)
    assert holder.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="asks dpkg")
def test_what_is_installed_is_not_installed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_missing", lambda _packages: [])
    monkeypatch.setattr(install, "_install", lambda *_: pytest.fail("nothing is missing"))
    install.ensure(["coreutils"], "a test")


def test_who_may_not_install_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_missing", list)
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/apt-get")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ToolError, match="sudo apt-get install mariadb-server"):
        install.ensure(install.MARIADB, "the database")


def test_without_apt_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ToolError, match="Without apt-get, install these yourself"):
        install.ensure(install.NODE, "running pods")


def test_an_unknown_group_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert install.main(["nodes"]) == 2
    assert "there are node, images, mariadb, mysql" in capsys.readouterr().err
