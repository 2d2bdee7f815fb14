"""`shared_limits` of both clients: a line a method over `_shared_limit_calls`."""

from __future__ import annotations

from collections.abc import Iterable

from tocsin import _shared_limit_calls
from tocsin._connection import Connection
from tocsin._schedules import Invoke
from tocsin._times import Span
from tocsin.limits import Rate
from tocsin.shared_limits import SharedLimit


class AsyncSharedLimits:
    """`AsyncClient.shared_limits`: limits that several queues share."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(
        self,
        name: str,
        queues: Iterable[str],
        *,
        max_active: int | None = None,
        rate: Rate | None = None,
        deadline: Span | None = None,
    ) -> SharedLimit:
        """Make a shared limit, or put it whole in the place of what stands. Give max_active, rate, or both. Raises
        InvalidArgument; ResourceExhausted where there are 100."""
        return await self._connection.invoke(_shared_limit_calls.put_limit(name, queues, max_active, rate), deadline)

    async def get(self, name: str, *, deadline: Span | None = None) -> SharedLimit:
        """One shared limit, and how full it is. Raises NotFound."""
        return await self._connection.invoke(_shared_limit_calls.get(name), deadline)

    async def list(self, *, deadline: Span | None = None) -> list[SharedLimit]:
        """All shared limits by name. `deadline` is that of each page."""
        found: list[SharedLimit] = []
        token = ""
        while True:
            page, token = await self._connection.invoke(_shared_limit_calls.list_page(token), deadline)
            found += page
            if not token:
                return found

    async def delete(self, name: str, *, deadline: Span | None = None) -> None:
        """Delete a shared limit. Raises NotFound."""
        await self._connection.invoke(_shared_limit_calls.delete(name), deadline)


class SharedLimits:
    """`Client.shared_limits`: limits that several queues share."""

    def __init__(self, invoke: Invoke) -> None:
        self._invoke = invoke

    def put(
        self,
        name: str,
        queues: Iterable[str],
        *,
        max_active: int | None = None,
        rate: Rate | None = None,
        deadline: Span | None = None,
    ) -> SharedLimit:
        """Make a shared limit, or put it whole in the place of what stands. Give max_active, rate, or both. Raises
        InvalidArgument; ResourceExhausted where there are 100."""
        return self._invoke(_shared_limit_calls.put_limit(name, queues, max_active, rate), deadline)

    def get(self, name: str, *, deadline: Span | None = None) -> SharedLimit:
        """One shared limit, and how full it is. Raises NotFound."""
        return self._invoke(_shared_limit_calls.get(name), deadline)

    def list(self, *, deadline: Span | None = None) -> list[SharedLimit]:
        """All shared limits by name. `deadline` is that of each page."""
        found: list[SharedLimit] = []
        token = ""
        while True:
            page, token = self._invoke(_shared_limit_calls.list_page(token), deadline)
            found += page
            if not token:
                return found

    def delete(self, name: str, *, deadline: Span | None = None) -> None:
        """Delete a shared limit. Raises NotFound."""
        self._invoke(_shared_limit_calls.delete(name), deadline)
