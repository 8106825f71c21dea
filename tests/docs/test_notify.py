"""The receiver that the page shows: what is genuine is told once, all else is refused."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from globaltx.modes import notify
from tests.ports import LOOPBACK, free_port
from tests.sidecar.programs import Program, get

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "notify.md"
KEY = "whsec_" + "a2V5" * 8
BODY = json.dumps({"type": "globaltx.outcome", "data": {"xid": "shop.1", "outcome": "Commit"}}).encode()


def write_receiver(folder: Path) -> Path:
    """Write the program of the page into a folder, and give its file."""
    (text,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    file = folder / "receiver.py"
    file.write_text(text)
    return file


def receiver(folder: Path, port: int, *keys: str) -> Program:
    """The program of the page, as a process of its own; what it is told stands in its log."""
    return Receiver(
        name="receiver",
        command=[sys.executable, str(write_receiver(folder))],
        ready=f"http://{LOOPBACK}:{port}/",
        log=folder / "receiver.log",
        environment={"PORT": str(port), "NOTIFY_KEYS": " ".join(keys)},
    )


class Receiver(Program):
    """It knows no GET, and says so when it is up."""

    def _is_ready(self) -> bool:
        return get(self.ready)[0] == 501


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with receiver(tmp_path, free_port(), KEY) as running:
        yield running


def send(
    program: Program, id_: str = "msg_1", body: bytes = BODY, *, late: int = 0, key: str = KEY, more: str = ""
) -> int:
    """What somebody sends who signs with this key; ``more`` comes behind what was signed."""
    timestamp = int(time.time()) + late
    signed = notify.signature([notify.read_key(key)], id_, timestamp, body)
    headers = {"webhook-id": id_, "webhook-timestamp": str(timestamp), "webhook-signature": signed}
    return get(program.ready, method="POST", body=body + more.encode(), headers=headers)[0]


def told(program: Program) -> list[str]:
    found = [line for line in program.log.read_text().splitlines() if line.startswith("{")]
    return [json.loads(line)["xid"] for line in found]


def test_a_genuine_one_is_told_once_however_often_it_comes(program: Program) -> None:
    assert [send(program), send(program), send(program, late=-120)] == [204] * 3
    assert told(program) == ["shop.1"]
    assert send(program, "msg_2") == 204
    assert told(program) == ["shop.1"] * 2


@pytest.mark.parametrize("late", [-301, 301])
def test_a_replay_of_what_is_old_is_refused(program: Program, late: int) -> None:
    assert send(program, late=late) == 401
    assert told(program) == []


def test_what_somebody_else_has_signed_or_changed_is_refused(program: Program) -> None:
    assert send(program, key="whsec_" + "b3Ro" * 8) == 401
    assert send(program, more=" ") == 401
    assert get(program.ready, method="POST", body=BODY)[0] == 401
    headers = {"webhook-id": "é", "webhook-timestamp": "²", "webhook-signature": "v1,é"}
    assert get(program.ready, method="POST", body=BODY, headers=headers)[0] == 401
    assert told(program) == []
