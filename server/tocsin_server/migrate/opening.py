"""From an address that was typed to an opened store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tocsin_server.migrate.place import Place
from tocsin_server.settings import Flag, Settings, SettingsError, load
from tocsin_server.store.opening import address_trouble, joined_store
from tocsin_server.telemetry.redaction import redact_url, secrets_in_url, without_secrets

_EMBEDDED = "embedded:"
#: A store that takes in a whole queue may be slow, and nobody waits for one call.
_ANSWER_WITHIN = "1m"


def settings_of(option: str, address: str, *, namespace: str | None = None, collection: str | None = None) -> Settings:
    """The settings of a store from its address alone: an URL, or embedded:FOLDER. SettingsError names the option."""
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
    settings = load(flags, {}).settings
    if (trouble := address_trouble(settings)) is not None:
        raise SettingsError([f"{option}: {trouble[1]}"])
    return settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Place]:
    """The store, opened. StoreUnfit, StoreAway."""
    async with joined_store(settings) as made:
        await made.store.open()
        yield Place(made.store, address_of(settings))


def address_of(settings: Settings) -> str:
    """Where a store is, with nothing secret: two settings of the same jobs have the same."""
    store = settings.store
    if store.kind == "embedded":
        return f"{_EMBEDDED}{settings.data.resolve()} ({store.namespace})"
    name = store.collection if store.kind == "mongo" else store.namespace
    address = store.address()
    return f"{without_secrets(redact_url(address), secrets_in_url(address))} ({name})"
