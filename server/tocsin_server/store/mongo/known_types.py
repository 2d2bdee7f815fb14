"""Which types queues have; they may have limits.TYPES_PER_QUEUE."""

from __future__ import annotations

from collections.abc import Collection

from tocsin_server.store.mongo.records import Records


class KnownTypes:
    """What was found out before is good enough where it holds all that are wanted."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._types: dict[str, set[str]] = {}  # queue -> types it had when it was asked, and those added since

    async def of(self, queue: str, wanted: set[str]) -> set[str]:
        """The types of a queue, to which the caller adds those that it adds."""
        known = self._types.get(queue, set())
        if not wanted <= known:
            found = await self._records.run(
                lambda: self._records.jobs.distinct("type", {"queue": queue}), read_only=True
            )
            known = self._types[queue] = set(found)
        return known

    def keep(self, queues: Collection[str]) -> None:
        """These queues are there, and no other."""
        self._types = {queue: types for queue, types in self._types.items() if queue in queues}
