"""What becomes of leases whose worker is not there to be given them, or is there no more."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from tocsin_server.background import Unbroken
from tocsin_server.domain import limits
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.lease import Extension, Lease
from tocsin_server.operations.finishing import Finishing
from tocsin_server.store.interface import JobStore

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class HandingBack:
    """Lets go of leases. It goes on beside whoever asked for it, who may be cancelled already."""

    def __init__(self, store: JobStore, finishing: Finishing) -> None:
        self._store = store
        self._finishing = finishing
        self._unbroken = Unbroken()

    def give_back(self, leases: Sequence[Lease]) -> None:
        """They were handed to nobody: no attempt is spent."""
        if leases:
            self._unbroken.begin(self._finishing.give_back(leases))

    def shorten(self, leases: Sequence[Lease]) -> None:
        """Let them end in limits.CUT_LEASE, unless somebody extends them: their worker may be gone."""
        if leases:
            self._unbroken.begin(self._shorten(leases))

    @property
    def busy(self) -> bool:
        """Whether some are still on their way back."""
        return self._unbroken.busy

    async def close(self) -> None:
        """Wait until all that is under way is done."""
        await self._unbroken.close()

    async def _shorten(self, leases: Sequence[Lease]) -> None:
        try:
            await self._store.extend([Extension(lease) for lease in leases], limits.CUT_LEASE)
        except TocsinError as error:
            _log.debug("leases_not_shortened", leases=len(leases), error=str(error))  # they end by themselves
        except Exception:
            _log.exception("leases_not_shortened", leases=len(leases))
