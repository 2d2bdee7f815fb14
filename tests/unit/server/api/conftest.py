"""The API over a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from api_parts import Api, running_api
from support.spied_store import SpiedStore


@pytest.fixture
async def api(spied: SpiedStore) -> AsyncIterator[Api]:
    """A server that listens, and stubs that call it."""
    async with running_api(spied) as api:
        yield api
