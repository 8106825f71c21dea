"""Looks at what is left: whether the one invariant held, and the history of what broke it."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from dev.errors import ToolError
from tests.chaos.plans import BANKS, START, Ending
from tests.chaos.teller import FAILED, GAVE_UP
from tests.sidecar.programs import get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.bank import Bank
    from tests.chaos.clients import Clients
    from tests.chaos.plans import Leg, Plan
    from tests.chaos.teller import Teller, Told

Json = dict[str, Any]

END_OF = {"Commit": "Committed", "Rollback": "RolledBack"}
QUIET_SECONDS = 150.0
MEMORY_MAX = 300 * 1024 * 1024
"""Of one of our processes, in bytes; several times what each takes."""


@dataclass(slots=True)
class Found:
    """How everything stands at one moment."""

    transactions: dict[str, Json]
    branches: dict[str, list[Json]]
    entries: dict[int, set[tuple[str, str, int, int, int]]] = field(default_factory=lambda: defaultdict(set))
    """Of each request: bank, leg, part, account, amount."""
    orders: dict[int, list[tuple[str, str, str]]] = field(default_factory=lambda: defaultdict(list))
    """Of each request: bank, leg, state."""
    balances: dict[tuple[str, int], int] = field(default_factory=dict)
    plain: dict[str, int] = field(default_factory=dict)
    undo: list[str] = field(default_factory=list)
    """Undo records, and fences of local commits."""


def look(bank: Bank) -> Found:
    """Ask the API server and the databases, past the sidecars."""
    found = Found(
        {each["metadata"]["name"]: each for each in _listed(bank, "globaltransactions")}, defaultdict(list)
    )
    for branch in _listed(bank, "branches"):
        found.branches[branch["spec"]["transaction"]].append(branch)
    for name in BANKS:
        run = bank.database_of(name).execute
        for line in run("SELECT request, leg, part, account, amount FROM entry", schema=name).splitlines():
            request, leg, part, account, amount = line.split("\t")
            found.entries[int(request)].add((name, leg, int(part), int(account), int(amount)))
        for line in run("SELECT request, leg, state FROM orders", schema=name).splitlines():
            request, leg, state = line.split("\t")
            found.orders[int(request)].append((name, leg, state))
        for line in run("SELECT id, balance FROM account", schema=name).splitlines():
            account, balance = line.split("\t")
            found.balances[name, int(account)] = int(balance)
        found.plain[name] = int(run("SELECT count FROM plain", schema=name))
        left = run("SELECT table_name, row_key, xid FROM globaltx_undo WHERE xid NOT LIKE '!%'", schema=name)
        found.undo += [f"{name}\t{line}" for line in left.splitlines()]
    return found


def quiet(bank: Bank) -> tuple[Found, float]:
    """Wait until nothing is under way, or patience ends; how it stands then, and after how many seconds."""
    began = time.monotonic()
    while True:
        found, seconds = look(bank), time.monotonic() - began
        unsettled = [each for each in _resources(found) if each["status"]["state"] not in END_OF.values()]
        if not unsettled and not found.undo:
            return found, seconds
        if seconds > QUIET_SECONDS:
            return found, seconds
        time.sleep(0.3)


def faults_of(bank: Bank, clients: Clients, teller: Teller, found: Found) -> Iterator[tuple[str, str]]:
    """What is wrong: a sentence, and the name of the transaction in question (or nothing)."""
    yield from _of_money(found)
    yield from _of_settling(found)
    for number, told in sorted(teller.told.items()):
        name = told.xid.partition(".")[2]
        for wrong in _of_request(told, clients.answers.get(number, 0), found, name):
            yield f"request {number}: {wrong}", name
    for number in found.entries.keys() - teller.told.keys():
        yield f"request {number} was never served and has effects", ""
    for number, answer in clients.answers.items():
        if answer == 200 and number not in teller.told:
            yield f"request {number} was answered 200 and never served", ""
    yield from _of_plain(clients, found)
    yield from ill(bank)


def _of_money(found: Found) -> Iterator[tuple[str, str]]:
    moved: dict[tuple[str, int], int] = defaultdict(int)
    for entries in found.entries.values():
        for bank, _, _, account, amount in entries:
            moved[bank, account] += amount
    for (bank, account), balance in found.balances.items():
        expected = START + moved[bank, account]
        if balance != expected:
            yield f"{bank} account {account} holds {balance}, its entries make {expected}", ""
    total, expected = sum(found.balances.values()), START * len(found.balances)
    if total != expected:
        yield f"all accounts together hold {total}, not {expected}", ""


def _of_settling(found: Found) -> Iterator[tuple[str, str]]:
    for name, transaction in found.transactions.items():
        outcome, state = transaction["spec"].get("outcome"), transaction["status"]["state"]
        if state != END_OF.get(outcome):
            yield f"{name} is {state}, its outcome {outcome}", name
        for branch in found.branches[name]:
            told, ended = branch["spec"].get("outcome"), branch["status"]["state"]
            if told != outcome or ended != END_OF.get(outcome):
                yield f"branch {branch['metadata']['name']} was told {told} and is {ended}: {outcome}", name
    for name in found.branches.keys() - found.transactions.keys():
        yield f"branches of {name} without a transaction", name
    for record in found.undo:
        yield f"an undo record is left: {record}", record.rpartition("\t")[2].partition(".")[2]


def _of_request(told: Told, answer: int, found: Found, name: str) -> Iterator[str]:
    outcome = found.transactions.get(name, {}).get("spec", {}).get("outcome")
    number = told.plan.number
    entries, orders = found.entries[number], sorted(found.orders[number])
    if answer == 200 and outcome != "Commit":
        yield f"answered 200, the outcome is {outcome}"
    if answer in {FAILED, GAVE_UP} and outcome != "Rollback":
        yield f"answered {answer}, the outcome is {outcome}"
    if outcome == "Commit" and told.plan.ending not in {Ending.ANSWER, Ending.EARLY}:
        yield f"the application did not answer 200 ({told.plan.ending}), the outcome is Commit"
    allowed = _allowed(told.plan) if outcome == "Commit" else [(set(), [])]
    if (entries, orders) not in allowed:
        yield f"outcome {outcome}, entries {sorted(entries)}, orders {orders}; allowed {allowed}"


def _allowed(plan: Plan) -> list[tuple[set[tuple[str, str, int, int, int]], list[tuple[str, str, str]]]]:
    """The effects that a committed request may have: with and without what came late."""
    choices = [plan.legs] if plan.late is None else [plan.legs, (*plan.legs, plan.late)]
    return [
        (
            {entry for leg in legs for entry in _entries(leg)},
            sorted((leg.bank, leg.name, "paid") for leg in legs if leg.order),
        )
        for legs in choices
    ]


def _entries(leg: Leg) -> Iterator[tuple[str, str, int, int, int]]:
    for part, move in enumerate(leg.moves):
        yield leg.bank, leg.name, part, move.account, move.amount


def _of_plain(clients: Clients, found: Found) -> Iterator[tuple[str, str]]:
    for bank, (done, unknown) in clients.plain.items():
        if not done <= found.plain[bank] <= done + unknown:
            told = f"{done} were answered, of {unknown} it is not known"
            yield f"{bank} has run {found.plain[bank]} plain statements; {told}", ""


def ill(bank: Bank) -> Iterator[tuple[str, str]]:
    """Which of our programs is not well."""
    for name, program in bank.programs.items():
        status, body = get(program.ready)
        if status != 200:
            yield f"{name} is not ready: {status} {body}", ""
            continue
        for part, state in json.loads(body).get("parts", {}).items() if name in bank.sidecars else ():
            if not state["up"]:
                yield f"{name}: {part} waits: {state}", ""
    for name, size in memory(bank).items():
        if size > MEMORY_MAX:
            yield f"{name} takes {size >> 20} MiB", ""


def memory(bank: Bank) -> dict[str, int]:
    """Bytes that each of our processes takes."""
    return {
        name: psutil.Process(program.process.pid).memory_info().rss
        for name, program in bank.programs.items()
        if program.process is not None and program.process.poll() is None
    }


def history(bank: Bank, teller: Teller, found: Found, name: str) -> str:
    """Everything that is known of one transaction."""
    told = [each for each in teller.told.values() if each.xid.endswith("." + name)]
    lines = [json.dumps(found.transactions.get(name), indent=1)]
    lines += [json.dumps(each, indent=1) for each in found.branches.get(name, ())]
    for each in told:
        number = each.plan.number
        lines += [f"plan {each.plan}", *each.steps, f"status {each.status}"]
        lines += [f"entries {sorted(found.entries[number])}", f"orders {found.orders[number]}"]
    lines += [f"undo {each}" for each in found.undo if name in each]
    for program in bank.programs.values():
        said = [line for line in program.log.read_text(errors="replace").splitlines() if name in line]
        lines += [f"{program.name}: {line}" for line in said]
    return "\n".join(lines)


def _resources(found: Found) -> Iterator[Json]:
    yield from found.transactions.values()
    for branches in found.branches.values():
        yield from branches


def _listed(bank: Bank, kind: str) -> list[Json]:
    try:
        said = bank.cluster.kubectl("get", kind, "-n", bank.namespace, "-o", "json")
    except ToolError:
        time.sleep(1)  # the API server may just have come back
        said = bank.cluster.kubectl("get", kind, "-n", bank.namespace, "-o", "json")
    items: list[Json] = json.loads(said)["items"]
    return items
