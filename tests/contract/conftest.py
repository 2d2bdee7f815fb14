"""A store of each provider, empty at each test's start."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Protocol

import pytest
import uvloop
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.damaging import Damage
from contract.providers import ENCRYPTED, Flavour, Provider, flavours

#: Where encryption could make a difference: what an encrypted Redis is held to by default; an encrypted MongoDB, which
#: takes ten times as long, is held to nothing then. TESTS_ENCRYPTED=most: Redis to all of the suite, MongoDB to these;
#: TESTS_ENCRYPTED=all: both to all.
_OF_ENCRYPTED = (
    *("add", "collapse", "extend", "finish", "get", "logs", "notes", "put", "run_again", "schedule_dependents"),
    *("schedules", "update"),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = os.environ.get("TESTS_ENCRYPTED")
    if wanted == "all":
        return
    chosen = {f"test_{name}.py" for name in _OF_ENCRYPTED}

    def left_out(item: pytest.Item) -> bool:
        if f"[{ENCRYPTED}mongo" in item.nodeid:
            return wanted != "most" or item.path.name not in chosen
        return f"[{ENCRYPTED}" in item.nodeid and wanted != "most" and item.path.name not in chosen

    others = [item for item in items if left_out(item)]
    config.hook.pytest_deselected(items=others)
    left = set(others)
    items[:] = [item for item in items if item not in left]


class Contents(Protocol):
    """Provider.contents."""

    def __call__(self, *, counters: bool = True) -> Mapping[bytes, bytes]: ...


@pytest.fixture(scope="session", params=flavours(), ids=lambda flavour: flavour.name)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """One after another."""
    found = request.param
    assert isinstance(found, Flavour)
    return found


@pytest.fixture(scope="session")
def providers() -> Iterator[Callable[[Flavour], Provider]]:
    """Each flavour's provider, started once for the whole session, in whichever order its tests come."""
    running: dict[str, Provider] = {}
    with ExitStack() as stack:

        def provider(flavour: Flavour) -> Provider:
            if flavour.name not in running:
                running[flavour.name] = stack.enter_context(flavour.started())
            return running[flavour.name]

        yield provider


@pytest.fixture(scope="session")
def running(flavour: Flavour, providers: Callable[[Flavour], Provider]) -> Provider:
    """One process for the whole session."""
    return providers(flavour)


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
def unmade(provider: Provider) -> Iterator[Provider]:
    """One that nobody has made a store on, before the test and after it."""
    provider.unmake()
    yield provider
    provider.unmake()


@pytest.fixture
async def movable(unmade: Provider) -> AsyncIterator[JobStore]:
    """A store whose clock is moved by hand."""
    async with unmade.store(manual_clock=True) as store:
        yield store


@pytest.fixture
def backdate(provider: Provider) -> Backdate:
    """Moves times into the past."""
    return provider.backdate


@pytest.fixture
def damage(provider: Provider) -> Damage:
    """Spoils what the provider holds."""
    return provider.damage


@pytest.fixture
def contents(provider: Provider) -> Contents:
    """Reads all that the provider holds."""
    return provider.contents


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the server runs on; it also halves what the suite takes."""
    return {"uvloop": uvloop.new_event_loop}
