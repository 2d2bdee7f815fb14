"""Bounds how many calls are open, each class of method by itself: open watches never keep other calls out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tocsin_server.api.interceptors.call import Call, Kind
from tocsin_server.domain.errors import TooManyCalls


class Overload:
    """Refuses calls of a class of which `limits` are open already. Health and reflection are not counted at all."""

    def __init__(self, limits: Mapping[Kind, int]) -> None:
        self._limits = limits
        self._open = dict.fromkeys(limits, 0)

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        """Raises TooManyCalls."""
        kind = call.method.kind
        if self._open[kind] >= self._limits[kind]:
            raise TooManyCalls(kind.value, self._limits[kind])
        self._open[kind] += 1
        try:
            yield
        finally:
            self._open[kind] -= 1
