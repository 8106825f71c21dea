"""An account that is asked by gRPC: a debit is a try, a booking a step, a payment begins and makes both.

A hold is a try that runs out by itself; one that is late has run out when it is confirmed.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

STATE = {"free": 1000, "reserved": 0, "spent": 0, "booked": 0}
CALLS: list[tuple[str, str]] = []
"""What was asked, and at which attempt."""
LOCK = threading.Lock()
CARRIED = ("globaltx-xid",)
FAILS = b"fail"
LATE = b"late"
HOLDS: dict[str, str] = {}
"""What became of each branch's hold."""
MOVES = {
    "Debit": ("free", "reserved"),
    "ConfirmDebit": ("reserved", "spent"),
    "CancelDebit": ("reserved", "free"),
    "Book": ("free", "booked"),
    "Unbook": ("booked", "free"),
    "Hold": ("free", "reserved"),
    "ConfirmHold": ("reserved", "spent"),
    "RunOut": ("reserved", "free"),
}


def move(name: str) -> None:
    """Move one from here to there."""
    source, target = MOVES[name]
    with LOCK:
        STATE[source] -= 1
        STATE[target] += 1


def pay(request: bytes, metadata: list[tuple[str, str]]) -> bool:
    """Ask for a debit and a booking through the Service; whether both were done."""
    with grpc.insecure_channel(os.environ["ACCOUNTS"]) as channel:
        for name in ("Debit", "Book"):
            message = request if name == "Book" else b"ok"
            try:
                channel.unary_unary(f"/bank.Account/{name}")(message, metadata=metadata, timeout=30)
            except grpc.RpcError:
                return False
    return True


def hold(name: str, request: bytes, branch: str) -> bool:
    """Hold one, or confirm that; whether there is one to confirm."""
    if name == "Hold":
        move(name)
        HOLDS[branch] = "RESERVED"
        return True
    if request != LATE:
        move(name)
        HOLDS[branch] = "CONFIRMED"
    elif HOLDS[branch] == "RESERVED":
        move("RunOut")
        HOLDS[branch] = "CANCELLED"
    return request != LATE


def as_text(text: str) -> bytes:
    """A google.protobuf.StringValue."""
    return b"\x0a" + bytes([len(text)]) + text.encode()


class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library is not typed
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        name = str(handler_call_details.method).rpartition("/")[2]

        def answer(request: bytes, context: Any) -> bytes:
            told = dict(context.invocation_metadata())
            if name == "Look":
                with LOCK:
                    return json.dumps({**STATE, "calls": CALLS}).encode()
            if name == "HoldState":
                return as_text(HOLDS[told["globaltx-branch"]])
            CALLS.append((name, told.get("globaltx-operation", "")))
            done = True
            if name == "Pay":
                done = pay(request, [(each, told[each]) for each in CARRIED])
            elif name.endswith("Hold"):
                done = hold(name, request, told["globaltx-branch"])
            else:
                move(name)
                done = request != FAILS or name not in {"Debit", "Book"}  # it has moved it all the same
            if not done:
                late = name == "ConfirmHold"
                code = grpc.StatusCode.NOT_FOUND if late else grpc.StatusCode.FAILED_PRECONDITION
                context.abort(code, f"{name} failed")
            return b"done"

        return grpc.unary_unary_rpc_method_handler(answer)


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Handlers(),))
    server.add_insecure_port("0.0.0.0:3000")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(5))
    server.wait_for_termination()
