"""What moves between stores, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tocsin.enums import Over
from tocsin.errors import TocsinError

OverName: TypeAlias = Over | Literal["KEEP", "REPLACE"]

#: Of the records refused, so many are kept with their reasons.
REFUSALS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A record that an import did not take. `index` is its number among those given, from 0; job_id "" is no job's."""

    index: int
    queue: str
    job_id: str
    error: TocsinError


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: so many records of each kind of end, which make up all that were given."""

    created: int = 0  # did not stand before
    kept: int = 0  # stood, and was left as it is
    same: int = 0  # stood just so
    replaced: int = 0  # stood, and gave way
    refused: int = 0
    released: int = 0  # jobs of those created and replaced that ran where they were exported
    refusals: tuple[RefusedRecord, ...] = field(default=(), repr=False)  # the first 1,000

    @property
    def records(self) -> int:
        """All of them."""
        return self.created + self.kept + self.same + self.replaced + self.refused

    def plus(self, more: Imported) -> Imported:
        """Both together."""
        return Imported(
            self.created + more.created,
            self.kept + more.kept,
            self.same + more.same,
            self.replaced + more.replaced,
            self.refused + more.refused,
            self.released + more.released,
            (self.refusals + more.refusals)[:REFUSALS_KEPT],
        )
