"""Who was reached by earlier attempts, as the job's own errors say it.

A failed attempt leaves nothing behind in the store but its error, which the store keeps with the attempt's end in one
step, and through retries, until the job is replaced. So an error of ours begins with who was reached so far: people can
read it, and the next attempt does.

The digest is the payload's: where that was updated, it is another message, and everyone gets it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_MARK = re.compile(r"sent already to ([0-9,-]+) of ([0-9]+) \(([0-9a-f]{8})\)")


def written(reached: Collection[int], total: int, digest: str) -> str:
    """The mark of those reached, by their places from 0; "" where there are none."""
    return f"sent already to {_ranges(sorted(reached))} of {total} ({digest})" if reached else ""


def reached_before(errors: Iterable[str], total: int, digest: str) -> frozenset[int]:
    """Places of those whom earlier attempts reached, by the job's errors, the oldest first."""
    # Each error of ours names all who were reached until then. The runtime's (a timeout, a lost lease) name nobody.
    for error in reversed(list(errors)):
        found = _MARK.match(error)
        if found:
            ranges, said_total, said_digest = found.groups()
            same = (int(said_total), said_digest) == (total, digest)
            return frozenset(_places(ranges, total)) if same else frozenset()
    return frozenset()


def _ranges(places: list[int]) -> str:
    shown: list[list[int]] = []
    for place in places:
        if shown and shown[-1][1] == place:
            shown[-1][1] = place + 1
        else:
            shown.append([place + 1, place + 1])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in shown)


def _places(ranges: str, total: int) -> Iterable[int]:
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        if first:
            yield from range(int(first) - 1, min(int(last or first), total))
