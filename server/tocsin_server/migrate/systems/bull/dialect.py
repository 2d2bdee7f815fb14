"""In what Bull and BullMQ differ where they are much alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Dialect:
    """One of the two."""

    system: str  # as its users call it
    doublings: int  # the first exponential wait, in delays: what doubles from there is never shorter than theirs
    counts_completion: bool  # whether the attempts made count the one that completed
    has_timeout: bool
    no_name: bytes  # what stands for the name of jobs that were added without one
    short_options: Mapping[str, str] = field(default_factory=dict)  # how options are stored, and what they are called


#: Waits of (2^n - 1) delays after failure n: 1, 3, 7. Twice the delay, doubling, is one delay more each time.
BULL = Dialect("Bull", doublings=2, counts_completion=False, has_timeout=True, no_name=b"__default__")

#: Waits of 2^(n-1) delays, as here.
BULLMQ = Dialect(
    "BullMQ",
    doublings=1,
    counts_completion=True,
    has_timeout=False,
    no_name=b"",
    short_options={"de": "deduplication"},
)
