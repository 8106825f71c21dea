"""Running programs: always with a deadline, always with what they said when they fail."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from dev.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_TAIL = 30


class CommandError(ToolError):
    """A program ended with another code than 0; `said` is all that it printed."""

    def __init__(self, command: Sequence[str], code: int, said: str) -> None:
        self.code = code
        self.said = said
        super().__init__(f"{shlex.join(command)}\n  ended with code {code}:\n{tail(said)}")


def tail(text: str, lines: int = _TAIL) -> str:
    """The last lines of a text, indented for an error message."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-lines:])


def run(
    *command: str | Path, timeout: float = 60, stdin: str | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run a program to its end and give its standard output."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=stdin or "",
            env=_environment(env),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as missing:
        message = f"{words[0]} is not installed"
        raise ToolError(message) from missing
    except subprocess.TimeoutExpired as late:
        message = f"{shlex.join(words)}\n  did not end within {timeout:.0f} s"
        raise ToolError(message) from late
    if done.returncode != 0:
        raise CommandError(words, done.returncode, done.stdout + done.stderr)
    return done.stdout


def succeeds(*command: str | Path, timeout: float = 60) -> bool:
    """Whether a program ends well; what it says is of no interest."""
    try:
        run(*command, timeout=timeout)
    except ToolError:
        return False
    return True


def follow(
    *command: str | Path,
    on_line: Callable[[str], None],
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a long program, hand on each line that it prints as it comes, and give them all."""
    words = [str(word) for word in command]
    said: list[str] = []
    with subprocess.Popen(
        words,
        cwd=cwd,
        env=_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        late = _read(process, said, on_line, timeout)
    if late:
        message = f"{shlex.join(words)}\n  did not end in time; it said last:\n{tail(''.join(said))}"
        raise ToolError(message)
    if process.returncode != 0:
        raise CommandError(words, process.returncode, "".join(said))
    return "".join(said)


def _read(
    process: subprocess.Popen[str], said: list[str], on_line: Callable[[str], None], timeout: float
) -> bool:
    """Read to the end, and tell whether the program had to be ended at the deadline."""
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill_group(process.pid)

    # A program that hangs may say nothing, so the reader cannot keep the time.
    watch = threading.Timer(timeout, end)
    watch.start()
    try:
        for line in process.stdout or ():
            said.append(line)
            on_line(line.rstrip())
    except BaseException:
        _kill_group(process.pid)
        raise
    finally:
        watch.cancel()
    return late.is_set()


def _kill_group(pid: int) -> None:
    # With its children: they hold the pipe open that we read from.
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    # Programs of the system administrator are not on every user's PATH.
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
    return {**os.environ, "PATH": path, **(extra or {})}
