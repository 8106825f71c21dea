"""Carries out, by a driver of Python, what ``tests/clients/conversation.py`` asks for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import aio, alchemy, connector, pure
from .answering import answer_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from .answering import Program

_CLIENTS: dict[str, Callable[[], Program]] = {
    "aiomysql": aio.AioMysql,
    "connector-c": lambda: connector.Connector(pure=False, prepared=False),
    "connector-c-prepared": lambda: connector.Connector(pure=False, prepared=True),
    "connector-pure": lambda: connector.Connector(pure=True, prepared=False),
    "connector-pure-prepared": lambda: connector.Connector(pure=True, prepared=True),
    "pymysql": pure.PyMysql,
    "sqlalchemy": alchemy.Alchemy,
}

answer_all(_CLIENTS[sys.argv[1]]())
