"""A store of each provider, empty at each test's start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.providers import Flavour, Provider, flavours

Contents = Callable[[], Mapping[bytes, bytes]]


@pytest.fixture(scope="session", params=flavours(), ids=lambda flavour: flavour.name)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """One after another."""
    found = request.param
    assert isinstance(found, Flavour)
    return found


@pytest.fixture(scope="session")
def running(flavour: Flavour) -> Iterator[Provider]:
    """One process for the whole session."""
    with flavour.started() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    """The running provider, emptied."""
    running.clear()
    return running


@pytest.fixture
async def store(provider: Provider) -> AsyncIterator[JobStore]:
    """An opened store on an empty provider."""
    async with provider.store() as store:
        yield store


@pytest.fixture
def backdate(provider: Provider) -> Backdate:
    """Moves times into the past."""
    return provider.backdate


@pytest.fixture
def contents(provider: Provider) -> Contents:
    """Reads all that the provider holds."""
    return provider.contents
