"""An encrypting store around each of the stores, on a server that was emptied, and its key ring."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from contract.providers import Flavour, Provider, flavours
from tocsin_server.store.encrypting.keyring import LiveKeyring, create_keyring, read_keyring, write_keyring
from tocsin_server.store.encrypting.store import EncryptingStore
from tocsin_server.store.interface import JobStore

PLAIN = {flavour.name: flavour for flavour in flavours() if flavour.name in ("valkey", "mongo")}


@dataclass
class Encrypted:
    """A provider, and the ring of the stores on it."""

    provider: Provider
    file: Path

    @asynccontextmanager
    async def keyed(self) -> AsyncIterator[EncryptingStore]:
        """A store with the ring as it is now, opened."""
        self.provider.encrypted_by = LiveKeyring(self.file)
        async with self.provider.store() as store:
            assert isinstance(store, EncryptingStore)
            yield store

    def bare(self) -> AbstractAsyncContextManager[JobStore]:
        """A store that has no keys, opened."""
        self.provider.encrypted_by = None
        return self.provider.store()

    def rotated(self) -> str:
        """A new key encrypts from now on; its id."""
        more = read_keyring(self.file).with_new_key()
        write_keyring(self.file, replace(more, primary=more.newest))
        return more.newest.key_id

    def without(self, key_id: str) -> None:
        """The ring loses a key."""
        ring = read_keyring(self.file)
        write_keyring(self.file, replace(ring, keys={name: key for name, key in ring.keys.items() if name != key_id}))

    @property
    def primary(self) -> str:
        """The id of the key that encrypts."""
        return read_keyring(self.file).primary.key_id


@pytest.fixture(scope="session")
def plain_providers() -> Iterator[Callable[[Flavour], Provider]]:
    """Each started once."""
    running: dict[str, Provider] = {}
    with ExitStack() as stack:

        def provider(flavour: Flavour) -> Provider:
            if flavour.name not in running:
                running[flavour.name] = stack.enter_context(flavour.started())
            return running[flavour.name]

        yield provider


@pytest.fixture(params=PLAIN.values(), ids=PLAIN.keys())
def encrypted(
    request: pytest.FixtureRequest, plain_providers: Callable[[Flavour], Provider], tmp_path: Path
) -> Encrypted:
    """On an empty store of each kind, with a new ring."""
    provider = plain_providers(request.param)
    provider.unmake()
    file = tmp_path / "keys.toml"
    create_keyring(file)
    return Encrypted(provider, file)
