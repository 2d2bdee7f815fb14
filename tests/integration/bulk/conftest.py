"""The stores of the contract suite, and servers of a test's own on a store of each provider."""

from __future__ import annotations

from contract.conftest import backdate, flavour, provider, providers, running, store

from integration.housekeeping.conftest import connect, empty_store, start

__all__ = ["backdate", "connect", "empty_store", "flavour", "provider", "providers", "running", "start", "store"]
