"""How many attempts run at once, overall and by type."""

from __future__ import annotations

from collections.abc import Mapping


class Slots:
    """Counts free slots. An attempt takes one overall and one of its type, and keeps both until its handler ends."""

    def __init__(self, concurrency: int, by_type: Mapping[str, int | None]) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}: give 1 or more")
        self.total = concurrency
        self.free = concurrency  # below 0 where a source granted more than was asked for
        self._free = {type: min(limit or concurrency, concurrency) for type, limit in by_type.items()}

    def take(self, type: str) -> None:
        """Count one more attempt."""
        self.free -= 1
        self._free[type] -= 1

    def give(self, type: str) -> None:
        """Count one less."""
        self.free += 1
        self._free[type] += 1

    def free_by_type(self) -> dict[str, int]:
        """How many attempts of each type may begin now; types without a free slot are left out."""
        free = self.free
        return {type: min(count, free) for type, count in self._free.items() if count > 0} if free > 0 else {}
