"""How a store's commands fare, counted where they are sent."""

from __future__ import annotations

from bisect import bisect_left

#: Seconds, of the buckets of round trips: a command takes 50 µs beside the store, and 5 s where it is given up.
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class RoundTrips:
    """Counts what one connection to a store has sent since it was made."""

    __slots__ = ("errors", "row")

    def __init__(self) -> None:
        self.row: list[float] = [0] * (len(BOUNDS) + 1) + [0.0]  # as instruments.Timings has them
        self.errors: dict[str, int] = {}  # by the refusal that they became: "StoreAway"

    def took(self, seconds: float) -> None:
        """One more, answered well or not."""
        self.row[bisect_left(BOUNDS, seconds)] += 1
        self.row[-1] += seconds

    def failed(self, error: Exception) -> None:
        """One that became this refusal."""
        name = type(error).__name__
        self.errors[name] = self.errors.get(name, 0) + 1
