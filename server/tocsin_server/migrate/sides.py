"""Which of the two stores is in trouble, said by the option that names it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.store.interface import JobStore


class SideTrouble(Exception):
    """One of the stores is away or full: one line that names it and says what to do.

    What the store itself says is for those who call a server, and speaks of job ids and conflicts.
    """

    def __init__(self, option: str, error: StoreAway | StoreFull | OutcomeUnknown) -> None:
        match error:
            case StoreFull():
                what, mend = "the store has no room for this", "make room"
            case StoreAway():
                what, mend = "the store cannot be reached", "see that it can"
            case OutcomeUnknown():
                what, mend = "the answer of the store did not come", "see that it can be reached"
        super().__init__(f"{option}: {what} ({error.detail}); {mend}, and run this again")


@contextmanager
def told_of(option: str) -> Iterator[None]:
    """SideTrouble in the place of a store's own errors."""
    try:
        yield
    except (StoreAway, StoreFull, OutcomeUnknown) as error:
        raise SideTrouble(option, error) from error


def sided(store: JobStore, option: str) -> JobStore:
    """The store, whose troubles say which it is."""
    return cast(JobStore, _Sided(store, option))


class _Sided:
    def __init__(self, store: JobStore, option: str) -> None:
        self._store = store
        self._option = option

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            with told_of(self._option):
                return await method(*args, **kwargs)

        return call
