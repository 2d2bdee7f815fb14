"""Claims that travel with the jobs they are for.

A job that is due at once, and for which there is a free slot here, need not wait until the store rings: its claim is
sent behind it, and both are answered together. The claim is one like any other: it brings the best of the queue.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from tocsin_server.domain.errors import OutcomeUnknown, TocsinError
from tocsin_server.domain.job import Added, Draft
from tocsin_server.domain.lease import Claim
from tocsin_server.operations.leasing.seats import Seat
from tocsin_server.store.interface import JobStore

#: So many jobs at most have a claim with them: of more, each is sooner claimed by itself than added with all others.
MOST_RIDING = 20


@dataclass(eq=False, slots=True)
class ClaimCall:
    """One claim. Where its answer was lost it is repeated with the same bytes until an answer comes."""

    queue: str
    lease: timedelta
    alone: Seat | None = None  # for whom it is, where not for all whose leases last so long
    types: dict[str, int] = field(default_factory=dict)  # once it is sent, as the limit
    limit: int = 0
    request: bytes = field(default_factory=lambda: secrets.token_bytes(8))
    sent: float = field(default_factory=time.monotonic)
    may_have_acted: bool = False
    apart: bool = False  # all for whom it is are apart


class Ride:
    """A claim that whoever adds jobs takes along: it must call `add`, once and at once."""

    def __init__(self, store: JobStore, ask: ClaimCall) -> None:
        self._store = store
        self._ask = ask
        self.answer: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()

    async def add(
        self, drafts: Sequence[Draft], tell: Callable[[Sequence[Added | TocsinError]], None]
    ) -> list[Added | TocsinError]:
        """Add jobs to the claim's queue, and `tell` of them before any begins. Raises what the store raises; the claim
        has failed then, too."""
        ask = self._ask
        try:
            added, claim = await self._store.add_and_claim(
                drafts, ask.types, ask.limit, lease=ask.lease, request=ask.request
            )
        except BaseException as error:
            self._end(error if isinstance(error, Exception) else OutcomeUnknown("whoever sent it has left"))
            raise
        tell(added)
        self._end(claim)
        return added

    def _end(self, answer: Claim | Exception) -> None:
        if self.answer.done():
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)
