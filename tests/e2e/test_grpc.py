"""Tries and steps by gRPC in real pods on a real kubelet: stock grpcio, no library of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.e2e.sample import PORT, SECONDS, deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.places import Place
    from tests.e2e.sample import Sample

FOLDER = Path(__file__).parent / "grpc-accounts"
OK, FAILED = grpc.StatusCode.OK, grpc.StatusCode.FAILED_PRECONDITION


class Accounts:
    """The accounts, and what is asked of them."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample

    def call(self, method: str, message: bytes = b"ok", target: str = "service/accounts") -> Any:
        """Call a method, through the sidecar or at the program itself; the status and the answer."""
        with (
            self.sample.kubectl.forwarded(self.sample.namespace, target, PORT) as port,
            grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            asked = channel.unary_unary(f"/bank.Account/{method}")
            try:
                return OK, asked(message, timeout=SECONDS, wait_for_ready=True)
            except grpc.RpcError as error:
                return error.code(), str(error.details()).encode()

    def ended(self, method: str, message: bytes) -> tuple[Any, str]:
        """Call a method that begins a transaction; the status, and how that ended."""
        known = set(self.sample.transactions())
        status, _ = self.call(method, message)
        return status, self.sample.end(known)[1]

    def look(self) -> dict[str, Any]:
        """What the program holds, asked past its sidecar."""
        found: dict[str, Any] = json.loads(self.call("Look", target="deployment/accounts")[1])
        return found


@pytest.fixture(scope="module")
def accounts(place: Place) -> Iterator[Accounts]:
    with deployed(place, FOLDER, "accounts", own_image=True) as sample:
        yield Accounts(sample)


CASES = [
    ("Debit", b"ok", {"free": -1, "spent": 1}, ["Debit", "ConfirmDebit"]),
    ("Debit", b"fail", {}, ["Debit", "CancelDebit"]),
    ("Book", b"ok", {"free": -1, "booked": 1}, ["Book"]),
    ("Book", b"fail", {}, ["Book", "Unbook"]),
    ("Pay", b"ok", {"free": -2, "spent": 1, "booked": 1}, ["Pay", "Debit", "Book", "ConfirmDebit"]),
    ("Pay", b"fail", {}, ["Pay", "Debit", "Book", "CancelDebit", "Unbook"]),
]


@pytest.mark.parametrize(("method", "message", "moved", "calls"), CASES)
def test_all_is_done_or_nothing(
    accounts: Accounts, method: str, message: bytes, moved: dict[str, int], calls: list[str]
) -> None:
    before = accounts.look()
    good = message == b"ok"
    assert accounts.ended(method, message) == ((OK, "Committed") if good else (FAILED, "RolledBack"))
    after = accounts.look()
    made = [name for name, _ in after["calls"][len(before["calls"]) :]]
    assert sorted(made) == sorted(calls)
    kinds = ("free", "reserved", "spent", "booked")
    assert {each: after[each] - before[each] for each in kinds if after[each] != before[each]} == moved


@pytest.mark.parametrize(
    ("message", "stands", "says", "moved"),
    [(b"ok", "Committed", "CONFIRMED", {"free": -1, "spent": 1}), (b"late", "Conflict", "CANCELLED", {})],
)
def test_a_reservation_is_confirmed_or_has_run_out_and_a_diagnosis_asks_for_it_by_grpc(
    accounts: Accounts, message: bytes, stands: str, says: str, moved: dict[str, int]
) -> None:
    before, known = accounts.look(), set(accounts.sample.transactions())
    assert accounts.call("Hold", message)[0] is OK
    name, state = accounts.sample.end(known)
    assert state == stands
    assert accounts.sample.said(name) == {"accounts": (stands, says)}
    after = accounts.look()
    kinds = ("free", "reserved", "spent")
    assert {each: after[each] - before[each] for each in kinds if after[each] != before[each]} == moved
    if stands == "Conflict":
        assert "ReservationExpired" in accounts.sample.diagnosed(name)
