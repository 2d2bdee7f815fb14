"""SharedLimitStore: what a store must do with limits that several queues share. The specification, as interface.py is
for jobs; and SharedPlaces, the little that stores do each in their own way for it.

Queues may stand on different servers, so no step sees several of them. How many places each has stands in a book
(shared_book.py), one record for all shared limits of a store. A claim takes places there first, with a version, then
leases by that version, and then says what it used. A queue refuses versions once it was told to, so whatever was left
between two of these steps is found out and let go by anybody, never by time alone. Each queue is marked as having
shared limits: a claim that does not know of them leases nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tocsin_server.domain.lease import Claim
from tocsin_server.domain.shared_limits import SharedLimit, SharedLimitState
from tocsin_server.store.shared_book import Taken, Word


class SharedLimitStore(ABC):
    """Keeps shared limits, and lets claims have places under them."""

    @abstractmethod
    async def put_shared_limit(self, limit: SharedLimit) -> SharedLimit:
        """Make it stand, whole; jobs that run in its queues count from then on. QuotaExceeded where there are
        limits.SHARED_LIMITS. What a server that dies meanwhile leaves to do is done by the next claim, or `settle`."""

    @abstractmethod
    async def delete_shared_limit(self, name: str) -> bool:
        """Whether it was there."""

    @abstractmethod
    async def shared_limits(self, names: Sequence[str] | None = None) -> list[SharedLimitState]:
        """Those of these names that are there, or all, by name. Cost O(what all of them say)."""

    @abstractmethod
    async def limits_of(self, queue: str) -> list[SharedLimitState]:
        """Those that name a queue, by name."""

    @property
    @abstractmethod
    def knows_some(self) -> bool:
        """Whether this process had to do with a queue that has shared limits."""

    @abstractmethod
    async def settle(self) -> bool:
        """Find what whoever died has left, and ring queues for which there is a place. Once a second all servers
        together; False: there is nothing to look after."""


class NoGrant:
    """What a queue says to a claim instead of leasing."""


#: It has shared limits, and the claim has no grant.
NEEDS_GRANT = NoGrant()
#: It refuses the claim's grant.
GRANT_REFUSED = NoGrant()


class SharedPlaces(ABC):
    """A store's own part: the book's record, and a queue's word."""

    @abstractmethod
    async def read_shared(self) -> tuple[bytes | None, int, datetime]:
        """The book, its revision, and the store's clock. None, 0: there is none."""

    @abstractmethod
    async def swap_shared(self, book: bytes, revision: int) -> bool:
        """Write it in the place of one of this revision; False where another one stands."""

    @abstractmethod
    async def tell_running(
        self,
        queue: str,
        *,
        version: int = 0,
        marked: bool | None = None,
        look_at: datetime | None = None,
        thorough: bool = False,
    ) -> Word:
        """How many jobs of the queue run. version: refuse all grants up to it, where nobody asked for more; marked:
        with it, begin to have shared limits, or cease to. look_at: claims look again then, if jobs wait.
        thorough: what whoever died has left there is put right before."""

    @abstractmethod
    async def claim_granted(
        self,
        queue: str,
        types: Mapping[str, int],
        limit: int,
        *,
        lease: timedelta,
        request: bytes,
        repeated: bool,
        granted: Taken | None,
    ) -> tuple[Claim, Word | None] | NoGrant:
        """As JobStore.claim, by a grant; with the queue's word of after it, where it has shared limits."""

    @abstractmethod
    async def ring(self, queues: Sequence[str]) -> None:
        """Let all servers know that these may be claimed from."""
