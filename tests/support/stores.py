"""What tests ask of either store, so that they run on both."""

from __future__ import annotations

from typing import Protocol

import pytest

#: The providers, as test ids name them.
STORES = ("redis", "mongo")

#: A mark: the test's `shared_server`, and what is built on it, is on each store in turn.
on_each_store = pytest.mark.parametrize("shared_server", STORES, indirect=True)


class StoreBackend(Protocol):
    """A running store of a test's own."""

    @property
    def provider(self) -> str:
        """Its name among STORES."""

    @property
    def url(self) -> str:
        """Its address, which names its provider."""

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""

    def url_at(self, port: int) -> str:
        """Its address by way of another port, a proxy's."""

    def empty(self) -> None:
        """Drop all that it holds under whoever uses it: FLUSHALL, dropDatabase."""

    def dump(self) -> dict[bytes, str]:
        """A fingerprint of all that it holds: two equal dumps are two equal stores."""


def store_settings(url: str) -> dict[str, str]:
    """The environment that chooses the store at this address."""
    if url.startswith("mongodb"):
        return {"QUEUE_PROVIDER": "mongo", "MONGODB_URL": url}
    return {"REDIS_URL": url}
