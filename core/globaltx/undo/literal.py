"""Values as SQL literals that no character set and no sql_mode can break out of.

Strings and bytes are written in hexadecimal with an introducer, so that neither a quote nor a
backslash ever stands in SQL of ours.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TypeAlias

from globaltx.values import dataclass

_CHARSET = re.compile(r"[a-z0-9_]{1,32}")


@dataclass(frozen=True, slots=True)
class Text:
    """A string in a character set of the server (``utf8mb4``, ``latin1``, ...), still encoded.

    Dates and times of the binary protocol are text too: ``Text(b"2024-02-29 12:00:00.5", "ascii")``.
    """

    data: bytes
    charset: str = "utf8mb4"


_QUOTABLE = re.compile(rb"[ -&(-:<-\[\]-}]*")
Value: TypeAlias = "int | float | Decimal | bytes | Text | None"
"""What a parameter can be; ``bytes`` are binary (the BLOB types), a number is itself."""


def sql(value: Value) -> str:
    """Write a value as a literal, in ASCII.

    Raises:
        ValueError: a number that SQL has no literal for, or no name of a character set.
    """
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    return _text(value)


def plain(data: bytes, introducer: str = "") -> str | None:
    """Write a text as it is, if no character of it can mean anything to any server."""
    return f"{introducer}'{data.decode('ascii')}'" if _QUOTABLE.fullmatch(data) else None


def _text(value: Text) -> str:
    if not _CHARSET.fullmatch(value.charset):
        message = f"{value.charset!r} is no name of a character set"
        raise ValueError(message)
    return f"_{value.charset} X'{value.data.hex()}'"


def _float(value: float) -> str:
    if not math.isfinite(value):
        message = f"SQL has no literal for {value}"
        raise ValueError(message)
    digits = repr(value)
    return digits if "e" in digits else f"{digits}e0"


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        message = f"SQL has no literal for {value}"
        raise ValueError(message)
    return f"{value:f}"


def identifier(name: str) -> str:
    """Quote a name for SQL; backquotes hold under every sql_mode."""
    return "`" + name.replace("`", "``") + "`"
