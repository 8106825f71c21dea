"""What a session wants of the sidecar around it: registrations, shapes, outcomes, time, and to be counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pymysql.err import MySQLError

from globaltx_sidecar.commands import (
    Began,
    Committed,
    Decipher,
    Describe,
    Found,
    HasJoined,
    Join,
    LookUp,
    Now,
    Pause,
    Refused,
    Register,
    ShowKey,
)

if TYPE_CHECKING:
    from globaltx.undo.shape import TableShape
    from globaltx_sidecar.commands import Answered, Command
    from globaltx_sidecar.mysql.server import Environment

NOT_AT_HAND: Final = object()


def at_hand(environment: Environment, command: Answered) -> object:
    """The answer that nobody has to be waited for; `NOT_AT_HAND`: `ask`."""
    match command:
        case HasJoined():
            return environment.branches.has_joined(command.xid, environment.datasource.name)
        case Join() if environment.branches.has_joined(command.xid, environment.datasource.name):
            return None
        case Describe(fresh=False):
            shape = environment.schemas.known(command.schema, command.table)
            return NOT_AT_HAND if shape is None else shape
        case Now():
            return asyncio.get_running_loop().time()
    return NOT_AT_HAND


async def ask(environment: Environment, command: Answered) -> object:
    """Wait for an answer.

    Raises:
        StoreError, LookupError, OSError: what the session is told instead.
    """
    match command:
        case Join():
            await environment.branches.joined(command.xid, environment.datasource.name)
        case Describe():
            return await _describe(environment, command)
        case LookUp():
            async with asyncio.timeout(environment.lock_wait.total_seconds()):
                return await environment.branches.outcome(command.xid)
        case Pause():
            await asyncio.sleep(command.seconds)
        case ShowKey():
            return await environment.key.shown()
        case Decipher():
            return environment.key.deciphered(command.data)
    return None


async def _describe(environment: Environment, command: Describe) -> TableShape:
    try:
        return await environment.schemas.shape(command.schema, command.table, fresh=command.fresh)
    except MySQLError as error:
        message = f"the shape of {command.schema}.{command.table} could not be read: {error}"
        raise ConnectionError(message) from error


def tell(environment: Environment, command: Command) -> None:
    """Do what is neither sent nor answered."""
    resource = environment.datasource.name
    match command:
        case Register():
            environment.branches.start(command.xid, resource)
        case Refused():
            environment.meter.statement_refused(resource, command.reason)
        case Found() if environment.guards is not None:
            environment.guards.found(command.call, command.finding)
        case Began() if environment.guards is not None:
            environment.guards.began(command.call, command.work)
        case Committed():
            environment.meter.branch_committed(resource)
            if command.waited_seconds:
                environment.meter.lock_waited(resource, command.waited_seconds)
