"""Starting, finding and ending the cluster's programs.

No file of process ids is kept, because such a file is wrong after a crash: a
program is ours when it runs under one of our names with our state folder among
its arguments. That finds it also after a kill -9 of everything that started it.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dev.shell import run
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_spawned: set[int] = set()
_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A running program and its arguments."""

    pid: int
    argv: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name that it was started under."""
        return Path(self.argv[0]).name


def spawn(argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None) -> int:
    """Start a program that outlives us, in a session of its own, its output added to a log."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(argv[0], [*argv], {**os.environ, **(env or {})}, file_actions=actions, setsid=True)
    _spawned.add(pid)
    # For a moment after its start a program has no arguments to be found by.
    while not _argv(pid) and pid in _spawned:
        time.sleep(0.001)
        _reap()
    return pid


def owned(folder: Path, names: Iterable[str]) -> list[Process]:
    """The running programs of these names that have the state folder in their arguments."""
    _reap()
    wanted, mark = frozenset(names), f"{folder}/"
    return [
        process
        for process in _running()
        if process.name in wanted and any(mark in word for word in process.argv[1:])
    ]


def end(processes: Iterable[Process], *, grace: float) -> None:
    """Ask programs to stop, and kill those that have not done so within the grace given."""
    waiting = list(processes)
    for process in waiting:
        _signal(process, signal.SIGTERM)
    waiting = _await_end(waiting, grace)
    kill(waiting)


def kill(processes: Iterable[Process]) -> None:
    """End programs as a crash does, and wait until they are gone."""
    doomed = list(processes)
    for process in doomed:
        _signal(process, signal.SIGKILL)
    _await_end(doomed, 10)


def freeze(pid: int) -> None:
    """Stop a program where it is, and return when all of it stands still; one that has ended is let be.

    One of its threads takes the signal and stops the others: until that one is given a processor they go on.
    """
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        wait_for(f"all threads of {pid} to stop", lambda: _stands_still(pid), seconds=30, every=0.001)


def thaw(pid: int) -> None:
    """Let a frozen program go on; one that has ended is let be."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    try:
        return all(_state(each) in "TtZX" for each in (_PROC / str(pid) / "task").iterdir())
    except OSError:  # it has ended, or there is no such file system
        return True


def _state(folder: Path) -> str:
    """The letter that says how a program or a thread stands (proc_pid_stat(5))."""
    return (folder / "stat").read_text().rpartition(")")[2].split()[0]


def _await_end(processes: list[Process], seconds: float) -> list[Process]:
    deadline = time.monotonic() + seconds
    while processes and time.monotonic() < deadline:
        time.sleep(0.02)
        _reap()
        processes = [process for process in processes if not _is_gone(process)]
    return processes


def _is_gone(process: Process) -> bool:
    """Whether the program has let go of its ports and files, which it does after its arguments are gone."""
    argv = _argv(process.pid)
    if argv or not _PROC.exists():
        return argv != process.argv
    try:
        threads = len(list((_PROC / str(process.pid) / "task").iterdir()))
        state = _state(_PROC / str(process.pid))
    except OSError:
        return True
    # Ended, and waiting for its parent to ask: the files went with its last thread.
    return state in "ZX" and threads <= 1


def _signal(process: Process, number: int) -> None:
    # A process id may have been given to another program since it was read.
    if _argv(process.pid) == process.argv:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _reap() -> None:
    for pid in tuple(_spawned):
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            ended = pid
        if ended:
            _spawned.discard(pid)


def _running() -> list[Process]:
    if not _PROC.exists():
        return _listed()
    pids = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())
    return [Process(pid, argv) for pid in pids if (argv := _argv(pid))]


def _argv(pid: int) -> tuple[str, ...]:
    """A program's arguments; none where it is gone or ended and not yet collected."""
    if not _PROC.exists():
        return next((process.argv for process in _listed() if process.pid == pid), ())
    try:
        text = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(text.decode(errors="replace").rstrip("\0").split("\0")) if text else ()


def _listed() -> list[Process]:
    lines = (line.split(None, 1) for line in run("ps", "-axww", "-o", "pid=,args=").splitlines())
    return [Process(int(pid), tuple(args.split())) for pid, args in lines]
