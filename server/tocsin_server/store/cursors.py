"""Cursors of watches: which provider's store made one, in which life of the queue, and how far it had come.

On Redis "<epoch>.<entry>.<changes seen>": the last entry of the stream that was read to its end, and how many changes
were seen in all, so that a cursor can stand inside an entry. On MongoDB "<epoch>.<changes seen>". Without an epoch it
was made before the queue's first use. Both stores read both: what another provider made is a gap, not a fault.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tocsin_server.domain.errors import InvalidFields, Violation

_CURSOR = re.compile(r"([0-9a-f]{0,32})\.(?:([0-9]{1,15}-[0-9]{1,15})\.)?([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a queue's changes. `entry` is "" where the provider has none."""

    epoch: str
    seen: int
    entry: str = ""

    def __str__(self) -> str:
        return f"{self.epoch}.{self.entry}.{self.seen}" if self.entry else f"{self.epoch}.{self.seen}"

    @property
    def provider(self) -> str:
        """Whose store made it."""
        return "redis" if self.entry else "mongo"

    def leads_on(self, provider: str, epoch: str, changes: int) -> bool:
        """Whether a provider's store can go on from here, where the queue's epoch there is `epoch` ("": never used) and
        it has made so many `changes` in all. One that was put back to an earlier state has made fewer than were seen.
        """
        before_its_first_use = not self.epoch and not self.seen
        return self.provider == provider and (self.epoch == epoch or before_its_first_use) and self.seen <= changes


def read_cursor(text: str) -> Cursor:
    """What a cursor says. InvalidFields where no store ever made it."""
    if not (found := _CURSOR.fullmatch(text)):
        raise InvalidFields(
            [Violation("cursor", "is not a cursor of this server; give one from a WatchJobs answer, or none")]
        )
    return Cursor(found[1], int(found[3]), found[2] or "")
