"""What one request does, drawn from a seed: the same seed gives the same plans."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

BANKS = ("east", "west", "ledger")
ACCOUNTS = 20
"""In each bank; few, so that transactions meet."""
START = 1_000_000
"""What each account begins with."""


class Style(StrEnum):
    """How a leg reaches its database."""

    LOCAL = "local"
    AUTOCOMMIT = "autocommit"
    IMPLICIT = "implicit"
    """With ``autocommit = 0``."""
    PREPARED = "prepared"
    """A local transaction of statements that the server has prepared."""


class Drop(StrEnum):
    """Where the application lets its connection go in its first attempt."""

    NOT = "not"
    BEFORE = "before the end"
    WITH = "with the end sent, not waiting for its answer"


class Ending(StrEnum):
    """How a request ends when nothing goes wrong."""

    ANSWER = "answer"
    FAIL = "fail"
    """The application answers by an error after all of its work."""
    BREAK = "break"
    """The application breaks the connection instead of an answer."""
    EARLY = "early"
    """It answers while some work, which leaves the sum as it is, is still under way."""


@dataclass(frozen=True, slots=True)
class Move:
    """So much is added to an account."""

    account: int
    amount: int


@dataclass(frozen=True, slots=True)
class Leg:
    """The work in one bank, one local transaction (but for AUTOCOMMIT); ``name`` is its own in the plan."""

    name: str
    bank: str
    moves: tuple[Move, ...]
    style: Style
    tries: int
    detour: bool
    """Do something and undo it by a savepoint on the way."""
    drop: Drop
    order: bool
    """Write an order too: insert it, change it, and delete its draft."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One request; ``late`` is what EARLY still does after the answer."""

    number: int
    legs: tuple[Leg, ...]
    ending: Ending
    late: Leg | None
    hang_up_after: float | None
    """The client goes after so many seconds."""


def draw(seed: int, number: int) -> Plan:
    """Draw the plan of a request."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311  to be repeated
    amount = chance.randint(1, 50)
    banks = chance.sample(BANKS, chance.choice((2, 2, 3)))
    signs = (-2, 1, 1) if len(banks) == 3 else (-1, 1)
    legs = tuple(
        _leg(chance, f"leg{index}", bank, (Move(chance.randrange(ACCOUNTS), sign * amount),))
        for index, (bank, sign) in enumerate(zip(banks, signs, strict=True))
    )
    ending = chance.choices(tuple(Ending), weights=(70, 15, 5, 10))[0]
    late = None
    if ending is Ending.EARLY:
        one, other = chance.sample(range(ACCOUNTS), 2)
        moves = (Move(one, -amount), Move(other, amount))
        late = _leg(chance, "late", chance.choice(banks), moves)
    hang_up_after = chance.uniform(0, 0.5) if chance.random() < 0.1 else None
    return Plan(number, legs, ending, late, hang_up_after)


def _leg(chance: random.Random, name: str, bank: str, moves: tuple[Move, ...]) -> Leg:
    styles = tuple(Style)
    if len(moves) > 1:
        styles = tuple(style for style in Style if style is not Style.AUTOCOMMIT)
    style = chance.choice(styles)
    return Leg(
        name=name,
        bank=bank,
        moves=moves,
        style=style,
        tries=chance.choice((1, 3, 5)),
        detour=chance.random() < 0.3,
        drop=Drop.NOT if style is Style.PREPARED else chance.choices(tuple(Drop), (90, 3, 7))[0],
        order=chance.random() < 0.5,
    )
