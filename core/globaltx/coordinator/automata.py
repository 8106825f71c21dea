"""Automata of positions: texts matched in linear time, and compared exactly.

An expression becomes an automaton with a position for each of its characters (V. M. Glushkov, The
abstract theory of automata, 1961), which reads each character of a text once. Two automata have a text
in common if they can walk side by side to an end.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, TypeAlias

from globaltx.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REMEMBERED_MAX = 4096
"""How many steps of an automaton are remembered."""
_LAST = 0x10FFFF

Chars: TypeAlias = tuple[tuple[int, int], ...]
"""A set of characters: code points from and to, in order."""
ANY: Chars = ((0, _LAST),)


class TooLargeError(ValueError):
    """An automaton would have more positions than allowed."""


@dataclass(frozen=True, slots=True)
class One:
    """One of these characters."""

    chars: Chars


@dataclass(frozen=True, slots=True)
class Row:
    """One part after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Any one part."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part so often; ``most`` None: without end."""

    part: Node
    least: int
    most: int | None


Node: TypeAlias = "One | Row | Choice | Repeat"
"""An expression."""


class Automaton:
    """A position for each character of an expression; sets of positions are the bits of a number.

    Raises:
        TooLargeError: there are more than ``positions_max``.
    """

    def __init__(self, node: Node, positions_max: int) -> None:
        self.chars: list[Chars] = []
        self.follows: list[int] = []
        self._positions_max = positions_max
        made = self._made(node)
        self.empty, self.starts, self.ends = made.empty, made.first, made.last
        self._steps: dict[tuple[int, str], tuple[int, int]] = {}

    def matches(self, text: str) -> bool:
        """Whether it stands for the whole text."""
        if not text:
            return self.empty
        allowed, reached = self.starts, 0
        for char in text:
            step = self._steps.get((allowed, char))
            if step is None:
                step = self._step(allowed, char)
            reached, allowed = step
        return bool(reached & self.ends)

    def after(self, reached: int) -> int:
        """Where it may go on from these positions."""
        allowed = 0
        for each in _bits(reached):
            allowed |= self.follows[each]
        return allowed

    def _step(self, allowed: int, char: str) -> tuple[int, int]:
        point = ord(char)
        reached = sum(1 << each for each in _bits(allowed) if _holds(self.chars[each], point))
        if len(self._steps) >= REMEMBERED_MAX:
            self._steps.clear()
        step = self._steps[allowed, char] = (reached, self.after(reached))
        return step

    def _made(self, node: Node) -> _Part:
        match node:
            case One(chars):
                return self._position(chars)
            case Choice(parts):
                made = [self._made(each) for each in parts]
                first, last = _union(each.first for each in made), _union(each.last for each in made)
                return _Part(any(each.empty for each in made), first, last)
            case Row(parts):
                whole = _NOTHING
                for each in parts:
                    whole = self._joined(whole, self._made(each))
                return whole
            case Repeat(part, least, most):
                return self._repeated(part, least, most)

    def _position(self, chars: Chars) -> _Part:
        if len(self.chars) == self._positions_max:
            message = f"it is longer than {self._positions_max} characters with its repetitions written out"
            raise TooLargeError(message)
        here = 1 << len(self.chars)
        self.chars.append(chars)
        self.follows.append(0)
        return _Part(empty=False, first=here, last=here)

    def _joined(self, one: _Part, other: _Part) -> _Part:
        self._goes_on(one.last, other.first)
        first = one.first | other.first if one.empty else one.first
        last = one.last | other.last if other.empty else other.last
        return _Part(one.empty and other.empty, first, last)

    def _goes_on(self, last: int, first: int) -> None:
        for each in _bits(last):
            self.follows[each] |= first

    def _repeated(self, part: Node, least: int, most: int | None) -> _Part:
        whole = _NOTHING
        for number in range(max(least, 1) if most is None else most):
            again = self._made(part)
            if not again.first:  # nothing but the empty text, however often
                return whole
            if most is None and number >= least - 1:
                self._goes_on(again.last, again.first)
            whole = self._joined(whole, replace(again, empty=again.empty or number >= least))
        return whole


@dataclass(frozen=True, slots=True)
class _Part:
    empty: bool
    first: int
    last: int


_NOTHING = _Part(empty=True, first=0, last=0)


def meet(one: Automaton, other: Automaton) -> bool:
    """Whether some text is matched by both."""
    if one.empty and other.empty:
        return True
    shared = [
        sum(1 << at for at, theirs in enumerate(other.chars) if _share(mine, theirs)) for mine in one.chars
    ]
    found = [0] * len(one.chars)
    waiting = [(each, other.starts) for each in _bits(one.starts)]
    while waiting:
        mine, reached = waiting.pop()
        new = reached & shared[mine] & ~found[mine]
        if not new:
            continue
        if one.ends >> mine & 1 and new & other.ends:
            return True
        found[mine] |= new
        beyond = other.after(new)
        waiting += [(each, beyond) for each in _bits(one.follows[mine])]
    return False


def _bits(positions: int) -> Iterator[int]:
    while positions:
        lowest = positions & -positions
        yield lowest.bit_length() - 1
        positions ^= lowest


def _union(every: Iterable[int]) -> int:
    return reduce(or_, every, 0)


def literal(text: str) -> Node:
    """Exactly this text."""
    return Row(tuple(One(single(char)) for char in text))


def row(*parts: Node) -> Node:
    """One after the other."""
    return Row(parts)


def some(chars: Chars, least: int) -> Node:
    """So many of these characters, or more."""
    return Repeat(One(chars), least, None)


def perhaps(part: Node) -> Node:
    """It, or nothing."""
    return Repeat(part, 0, 1)


def but(chars: Chars) -> Chars:
    """All other characters."""
    found: list[tuple[int, int]] = []
    after = 0
    for low, high in sorted(chars):
        if after < low:
            found.append((after, low - 1))
        after = max(after, high + 1)
    return (*found, (after, _LAST)) if after <= _LAST else tuple(found)


def single(char: str) -> Chars:
    """The set of one character."""
    return ((ord(char), ord(char)),)


def _holds(chars: Chars, point: int) -> bool:
    return any(low <= point <= high for low, high in chars)


def _share(one: Chars, other: Chars) -> bool:
    return any(low <= top and bottom <= high for low, high in one for bottom, top in other)
