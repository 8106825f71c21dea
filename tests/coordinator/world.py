"""A small world around ``decide``: an API server, sidecars, an initiator and operators, as values.

Every move of anybody is one atomic step, as one call to the API server is. A test explores them in
every order. Operators see the world through caches that are as old as can be, and may crash between
any two of their writes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from globaltx.coordinator.conditions import Status
from globaltx.coordinator.decide import decide
from globaltx.coordinator.observed import Observed, ObservedBranch, Plan
from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction
from globaltx.transaction.states import ENDS, Outcome, State
from globaltx.transaction.xid import Xid

if TYPE_CHECKING:
    from collections.abc import Iterator

XID = Xid("shop", "01abc")
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUT = timedelta(seconds=60)
APPS = ("order", "product")
NEW = Status()

Step: TypeAlias = tuple[str, object]


class Process(StrEnum):
    """How far one process of an app has come with its branch."""

    BEGUN = "begun"
    READ = "read"
    CREATED = "created"
    JOINED = "joined"
    WORKED = "worked"
    REFUSED = "refused"


@dataclass(frozen=True)
class Server:
    """What the API server holds; branches by app, None where there is none (yet)."""

    exists: bool = True
    decision: Decision | None = None
    status: Status = NEW
    held: bool = True
    deleting: bool = False
    branches: tuple[ObservedBranch | None, ...] = (None, None)
    carried: tuple[State | None, ...] = (None, None)
    """How each app's branch ended; kept after the branch is gone, for the checks alone."""

    def observed(self, *, complete: bool = False) -> Observed:
        transaction = GlobalTransaction(
            XID,
            "a",
            TIMEOUT,
            ttl=timedelta(),
            begun_at=BEGUN,
            decision=self.decision,
            state=self.status.state,
        )
        known = tuple(each for each in self.branches if each is not None)
        return Observed(transaction, self.status, known, complete, self.held, self.deleting)


@dataclass(frozen=True)
class Operator:
    """A replica that carries out: what it believes, what it has gathered, what it will write next."""

    cache: Server = Server()
    gathered: Observed | None = None
    pending: tuple[Step, ...] = ()


@dataclass(frozen=True)
class World:
    """Everything; ``processes`` are (app's index, how far), ``late`` is after the deadline.

    ``outcomes`` are those that the initiator may take.
    """

    server: Server
    processes: tuple[tuple[int, Process], ...]
    operators: tuple[Operator, ...]
    late: bool = False
    deletable: bool = False
    outcomes: tuple[Outcome, ...] = tuple(Outcome)

    @property
    def now(self) -> datetime:
        return BEGUN + (timedelta(hours=1) if self.late else timedelta(seconds=2))


def begin(processes: tuple[int, ...], operators: int = 1, **more: Any) -> World:
    stages = tuple((app, Process.BEGUN) for app in processes)
    return World(Server(), stages, (Operator(),) * operators, **more)


def branch_of(app: int) -> ObservedBranch:
    return ObservedBranch(Branch(BranchId(XID, APPS[app], "db")))


def end_of(outcome: Outcome) -> State:
    return State.COMMITTED if outcome is Outcome.COMMIT else State.ROLLED_BACK


def next_worlds(world: World) -> Iterator[tuple[str, World]]:
    """Every world that one step of anybody leads to, with the step's name."""
    yield from _initiator(world)
    for index in range(len(world.processes)):
        yield from _process(world, index)
    for app in range(len(APPS)):
        yield from _leader(world, app)
    for index in range(len(world.operators)):
        yield from _operator(world, index)


def _initiator(world: World) -> Iterator[tuple[str, World]]:
    server = world.server
    if world.deletable and server.exists and not server.deleting:
        yield "somebody deletes it", replace(world, server=_gone_if_free(replace(server, deleting=True)))
    if server.exists and server.decision is None:
        for outcome in world.outcomes:
            decision = Decision(outcome, "RequestSucceeded" if outcome is Outcome.COMMIT else "RequestFailed")
            yield (
                f"the initiator decides {outcome}",
                replace(world, server=replace(server, decision=decision)),
            )


def _process(world: World, index: int) -> Iterator[tuple[str, World]]:
    """`join` (read, create, read), then the local commit, which the fence may refuse."""
    app, stage = world.processes[index]
    server = world.server
    undecided = server.exists and server.decision is None
    name = f"process {index} of {APPS[app]}"

    def moved(stage: Process, server: Server = server) -> World:
        processes = (*world.processes[:index], (app, stage), *world.processes[index + 1 :])
        return replace(world, processes=processes, server=server)

    if stage is Process.BEGUN:
        yield f"{name} reads", moved(Process.READ if undecided else Process.REFUSED)
    elif stage is Process.READ:
        known = server.branches[app]
        made = server if known is not None else _with_branch(server, app, branch_of(app))
        yield f"{name} creates its branch", moved(Process.CREATED, made)
    elif stage is Process.CREATED:
        yield f"{name} reads again", moved(Process.JOINED if undecided else Process.REFUSED)
    elif stage is Process.JOINED:
        branch = server.branches[app]
        fenced = branch is not None and branch.branch.state is State.ROLLED_BACK
        yield f"{name} commits locally", moved(Process.REFUSED if fenced else Process.WORKED)


def _leader(world: World, app: int) -> Iterator[tuple[str, World]]:
    """The app's leader carries out whatever its branch was told."""
    known = world.server.branches[app]
    if known is None or known.branch.outcome is None or known.branch.settled:
        return
    end = end_of(known.branch.outcome)
    settled = replace(known, branch=replace(known.branch, state=end))
    carried = (*world.server.carried[:app], end, *world.server.carried[app + 1 :])
    server = replace(_with_branch(world.server, app, settled), carried=carried)
    yield f"{APPS[app]} settles", replace(world, server=server)


def _operator(world: World, index: int) -> Iterator[tuple[str, World]]:
    operator, server = world.operators[index], world.server
    name = f"operator {index}"

    def became(operator: Operator, server: Server = server) -> World:
        operators = (*world.operators[:index], operator, *world.operators[index + 1 :])
        return replace(world, operators=operators, server=server)

    for fresher in _deliveries(operator.cache, server):
        yield f"{name} hears", became(replace(operator, cache=fresher))
    if operator.pending:
        yield f"{name} crashes", became(Operator(operator.cache))
        (verb, what), rest = operator.pending[0], operator.pending[1:]
        after, changed = _carry_out(verb, what, replace(operator, pending=rest), world)
        yield f"{name}: {verb}", became(after, changed)
    elif operator.cache.exists:
        seen = operator.cache.observed()
        yield f"{name} decides", became(_decides(replace(operator, gathered=seen), world.now))


def _deliveries(cache: Server, server: Server) -> Iterator[Server]:
    """The transaction's and each branch's watch event come in any order."""
    transaction = replace(server, branches=cache.branches, carried=cache.carried)
    if transaction != cache:
        yield transaction
    for app, branch in enumerate(server.branches):
        if branch != cache.branches[app]:
            yield _with_branch(cache, app, branch)


def _decides(operator: Operator, now: datetime) -> Operator:
    assert operator.gathered is not None
    plan = decide(operator.gathered, now)
    return replace(operator, pending=tuple(_steps(plan)), gathered=operator.gathered if plan.again else None)


def _steps(plan: Plan) -> Iterator[Step]:
    if plan.take is not None:
        yield "take", plan.take
    for stamp in plan.stamp:
        yield "stamp", stamp
    if plan.status is not None:
        yield "status", plan.status
    for branch in plan.release_branches:
        yield "release branch", branch
    if plan.release:
        yield "release", None
    if plan.forget:
        yield "forget", None
    if plan.complete:
        yield "complete", None


def _carry_out(verb: str, what: object, operator: Operator, world: World) -> tuple[Operator, Server]:  # noqa: PLR0911  one return for each step
    server = world.server
    if verb in {"stamp", "release branch"}:
        return operator, _on_branch(verb, what, server)
    if not server.exists:
        return Operator(operator.cache), server  # not found: nothing more to do
    if verb == "take":
        assert isinstance(what, Decision)
        taken = server if server.decision is not None else replace(server, decision=what)
        assert operator.gathered is not None
        seen = replace(taken, branches=operator.cache.branches).observed()
        return _decides(replace(operator, gathered=seen), world.now), taken
    if verb == "complete":
        assert operator.gathered is not None
        listed = tuple(each for each in server.branches if each is not None)
        seen = replace(operator.gathered, branches=listed, complete=True)
        return _decides(replace(operator, gathered=seen), world.now), server
    if verb == "status":
        assert isinstance(what, Status)
        return operator, _write_status(server, what)
    if verb == "release":
        return operator, _gone_if_free(replace(server, held=False))
    return operator, _gone_if_free(replace(server, deleting=True))


def _write_status(server: Server, status: Status) -> Server:
    """As the rules of the schema: an end needs its outcome, and is never left (a refusal ends the pass)."""
    if server.status.state in ENDS and status.state is not server.status.state:
        return server
    if status.state in ENDS:
        assert server.decision is not None
        assert status.state is end_of(server.decision.outcome)
    return replace(server, status=status)


def _on_branch(verb: str, what: object, server: Server) -> Server:
    name = what if isinstance(what, BranchId) else getattr(what, "branch", None)
    app = next(number for number, app in enumerate(APPS) if isinstance(name, BranchId) and name.app == app)
    known = server.branches[app]
    if known is None:
        return server
    if verb == "release branch":
        return _with_branch(server, app, replace(known, held=False))
    outcome: Outcome = getattr(what, "outcome")  # noqa: B009  of a Stamp
    assert known.branch.outcome in {None, outcome}, "an outcome never changes"
    told = replace(known, owned=True, branch=replace(known.branch, outcome=outcome))
    return _with_branch(server, app, told)


def _with_branch(server: Server, app: int, branch: ObservedBranch | None) -> Server:
    return replace(server, branches=(*server.branches[:app], branch, *server.branches[app + 1 :]))


def _gone_if_free(server: Server) -> Server:
    """What the API server and the garbage collector do with what is deleted and not held."""
    if not server.deleting or server.held:
        return server
    left = tuple(each if each is not None and each.held else None for each in server.branches)
    return replace(server, exists=False, branches=left)
