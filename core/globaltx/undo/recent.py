"""What was found out lately, bounded: what nobody has asked for the longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by key, at most ``weight_max`` of weight in all (a value's own is told with it, 1 or more)."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._kept: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._weight = 0

    @property
    def weight(self) -> int:
        """The weight of all that is kept."""
        return self._weight

    def get(self, key: Hashable) -> V | None:
        """What was kept under this key, if it still is."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: V, weight: int) -> None:
        """Keep a value, unless it alone is too much."""
        if weight > self._weight_max:
            return
        _, before = self._kept.pop(key, (value, 0))
        self._kept[key] = value, weight
        self._weight += weight - before
        while self._weight > self._weight_max:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._weight -= dropped
