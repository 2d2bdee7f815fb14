"""Limits that queues share, as callers keep them."""

from __future__ import annotations

from tocsin_server.domain.shared_limits import SharedLimit, SharedLimitNotFound, SharedLimitState
from tocsin_server.store.interface import JobStore


class KeptSharedLimits:
    """All shared limits of a store."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def queues(self, name: str) -> tuple[str, ...]:
        """Of the limit that stands; none where none does."""
        found = await self._store.shared.shared_limits([name])
        return found[0].limit.queues if found else ()

    async def put(self, limit: SharedLimit) -> SharedLimit:
        """Make it stand. QuotaExceeded."""
        return await self._store.shared.put_shared_limit(limit)

    async def all(self) -> list[SharedLimitState]:
        """By name."""
        return await self._store.shared.shared_limits()

    async def get(self, name: str) -> SharedLimitState:
        """SharedLimitNotFound."""
        found = await self._store.shared.shared_limits([name])
        if not found:
            raise SharedLimitNotFound(name)
        return found[0]

    async def delete(self, name: str) -> None:
        """SharedLimitNotFound."""
        if not await self._store.shared.delete_shared_limit(name):
            raise SharedLimitNotFound(name)
