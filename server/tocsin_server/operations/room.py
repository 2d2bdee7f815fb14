"""How much may begin where jobs run, and of which queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Room(Protocol):
    """Free slots as they are at one moment, and what is promised of them."""

    def of(self, queue: str) -> Mapping[str, int]:
        """How many jobs of each type may begin from the queue; types without room are left out."""
        ...

    def take(self, queue: str, type: str, /) -> bool:
        """Promise a slot to a job. False: there is none for it."""
        ...


class SameForAll:
    """Room that is no different for one queue than for another."""

    def __init__(self, free: Mapping[str, int]) -> None:
        self._free = dict(free)

    def of(self, queue: str) -> Mapping[str, int]:
        """What is left, by type."""
        return {type_: count for type_, count in self._free.items() if count > 0}

    def take(self, queue: str, type_: str, /) -> bool:
        """One less of the type."""
        if self._free.get(type_, 0) <= 0:
            return False
        self._free[type_] -= 1
        return True
