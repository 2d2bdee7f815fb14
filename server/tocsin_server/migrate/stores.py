"""The two stores of a move, or the one of an import: opened from an address, told apart, and named by the option that
names each where one is in trouble."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.settings import Flag, Settings, SettingsError, load
from tocsin_server.store.calendar_store import CalendarStore
from tocsin_server.store.interface import JobStore
from tocsin_server.store.open import address_trouble, joined_store
from tocsin_server.store.schedule_store import ScheduleStore
from tocsin_server.telemetry.redaction import redact_url, secrets_in_url, without_secrets

_EMBEDDED = "embedded:"
#: A store that takes in a whole queue may be slow, and nobody waits for one call.
_ANSWER_WITHIN = "1m"


@dataclass(frozen=True, slots=True)
class Side:
    """An opened store."""

    store: JobStore
    address: str  # as it may be shown: no password in it; the same place has the same address in every run


async def is_same(one: Side, other: Side) -> bool:
    """Whether both are one store, however their addresses are spelled: a note that is written to the one is read from
    the other. It makes no queue appear, and goes by itself."""
    if one.address == other.address:
        return True
    value = secrets.token_bytes(16)
    until = await one.store.ping() + timedelta(minutes=1)
    queue, key = "default", f"migration/{value.hex()}"
    await one.store.write_note(queue, key, value, revision=0, until=until)
    found = await other.store.read_note(queue, key)
    return found is not None and found.value == value


def settings_of(
    option: str,
    address: str,
    *,
    namespace: str | None = None,
    collection: str | None = None,
    keyring: Path | None = None,
) -> Settings:
    """The settings of a store from its address alone: an URL, or embedded:FOLDER. SettingsError names the option.

    `keyring` is the file of its keys, where it is encrypted."""
    flags = [Flag(option, "store.answer_within", _ANSWER_WITHIN)]
    if address.startswith(_EMBEDDED):
        flags += [Flag(option, "store.provider", "embedded"), Flag(option, "data", address.removeprefix(_EMBEDDED))]
    elif address.startswith("mongodb"):
        flags.append(Flag(option, "store.mongodb_url", address))
    else:
        flags.append(Flag(option, "store.url", address))
    if namespace is not None:
        flags.append(Flag(f"{option}-namespace", "store.namespace", namespace))
    if collection is not None:
        flags.append(Flag(f"{option}-collection", "store.collection", collection))
    if keyring is not None:
        flags.append(Flag(f"{option}-keyring", "encryption.keyring_file", str(keyring)))
    settings = load(flags, {}).settings
    if (trouble := address_trouble(settings)) is not None:
        raise SettingsError([f"{option}: {trouble[1]}"])
    return settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Side]:
    """The store, opened. StoreUnfit, StoreAway."""
    async with joined_store(settings) as made:
        await made.store.open()
        yield Side(made.store, address_of(settings))


def address_of(settings: Settings) -> str:
    """Where a store is, with nothing secret: two settings of the same jobs have the same."""
    store = settings.store
    if store.kind == "embedded":
        return f"{_EMBEDDED}{settings.data.resolve()} ({store.namespace})"
    name = store.collection if store.kind == "mongo" else store.namespace
    address = store.address()
    return f"{without_secrets(redact_url(address), secrets_in_url(address))} ({name})"


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
    def __init__(self, store: JobStore | ScheduleStore | CalendarStore, option: str) -> None:
        self._store = store
        self._option = option

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if isinstance(method, ScheduleStore | CalendarStore):
            return _Sided(method, self._option)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            with told_of(self._option):
                return await method(*args, **kwargs)

        return call
