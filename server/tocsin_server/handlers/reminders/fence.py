"""The last question before a reminder is sent: does its set still want it?"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Fence(Protocol):
    """Knows the revision of each reminder set. Called on the event loop of the store."""

    async def now(self) -> datetime:
        """The store's clock. StoreAway."""

    async def begin(
        self, *, queue: str, kind: str, set_id: str, revision: int, job_id: str, attempt: int, now: datetime
    ) -> str:
        """ "" where this attempt may begin to send, else why nothing is to be sent: the set has been moved or cancelled
        since the job was scheduled, or a later reminder of it is due. `kind` is "booking" or "payment", `set_id` the id
        of either. Raises StoreAway where nobody can say; then nothing is sent either, and the attempt fails.
        """
