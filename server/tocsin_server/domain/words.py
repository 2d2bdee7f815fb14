"""Counts with their nouns, as people say them."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """ "1 job", "2 jobs", "1,000 jobs"; `many` where that is no plain plural: "1 job waits", "2 jobs wait"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
