"""The API over a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.spied_store import SpiedStore
from unit.server.api.running_api import Api, running_api


@pytest.fixture
async def api(spied: SpiedStore) -> AsyncIterator[Api]:
    """A server that listens, and stubs that call it."""
    async with running_api(spied) as api:
        yield api
