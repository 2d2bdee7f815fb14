"""A canned server, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tocsin import AsyncClient
from unit.client.canned_server import CannedJobService, serving


@pytest.fixture
async def service() -> CannedJobService:
    return CannedJobService()


@pytest.fixture
async def address(service: CannedJobService) -> AsyncIterator[str]:
    async with serving(service) as found:
        yield found


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as found:
        yield found
