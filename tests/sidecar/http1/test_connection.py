"""A connection to the application over a transport that only keeps what is written."""

from __future__ import annotations

import asyncio

import pytest

from globaltx_sidecar.http1.call import Call
from globaltx_sidecar.http1.connection import Connection, Reply
from globaltx_sidecar.http1.lost import LostError
from globaltx_sidecar.http1.pool import Pool, awaited
from tests.sidecar.http1.written import Written

GET = b"GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nDate: a\r\nContent-Length: 2\r\nX: HTTP/1.1 200 OK\r\n\r\nok"


class Waiting:
    """A request that was passed on as it came."""

    takes = True

    def __init__(self) -> None:
        self.gave = b""
        self.reply: asyncio.Future[Reply] | None = None

    def answered(self, data: bytes) -> None:
        self.gave = data

    def slowly(self, connection: Connection, answer: asyncio.Future[Reply]) -> None:
        del connection
        self.reply = answer

    def announce(self, head: object) -> None:
        pass


def connected() -> Connection:
    connection = Connection(lambda _: None, lambda _: None)
    connection.connection_made(Written())
    return connection


async def test_the_rest_of_an_answer_is_not_taken_for_all_of_it() -> None:
    for cut in range(1, len(ANSWER)):
        connection, waiting = connected(), Waiting()
        connection.pass_on("GET", GET, waiting)
        connection.data_received(ANSWER[:cut])
        connection.data_received(ANSWER[cut:])
        assert waiting.reply is not None
        reply = await waiting.reply
        assert (waiting.gave, reply.raw, reply.body.take(), len(reply.headers)) == (b"", b"", b"ok", 3)


async def test_an_answer_that_comes_whole_is_given_as_it_came() -> None:
    connection, waiting = connected(), Waiting()
    for _ in range(2):
        connection.pass_on("GET", GET, waiting)
        connection.data_received(ANSWER)
        assert (waiting.gave, waiting.reply) == (ANSWER, None)
    reply = connection.ask("GET", GET, None, whole=True)
    connection.data_received(ANSWER)
    assert (await reply).raw == ANSWER


@pytest.mark.parametrize(("came", "usable"), [(b"", False), (ANSWER[:-1], False), (ANSWER, True)])
async def test_who_gives_up_takes_the_connection_along_only_as_long_as_it_is_its(
    came: bytes, *, usable: bool
) -> None:
    """Once the answer is whole the connection may have the request of somebody else."""
    connection = connected()
    task = asyncio.create_task(awaited(connection, connection.ask("GET", GET, None, whole=True)))
    await asyncio.sleep(0)
    if came:
        connection.data_received(came)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert connection.usable is usable


async def test_none_is_opened_once_all_were_closed() -> None:
    """What was under way then would be sent again, and its connection be nobody's."""
    pool = Pool(1, 1, 1)
    await pool.close()
    with pytest.raises(LostError):
        await pool.send(Call("GET", GET), "127.0.0.1:1")
