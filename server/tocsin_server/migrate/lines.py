"""Lines of a report: all are counted, the first of them kept."""

from __future__ import annotations

KEPT = 20


class Lines:
    """What is to be said of jobs that could be many."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, line: str) -> None:
        """One more."""
        self.count += 1
        if self.count <= KEPT:
            self.first.append(line)

    def __bool__(self) -> bool:
        return self.count > 0
