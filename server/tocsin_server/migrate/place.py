"""A store that jobs are moved from or to, and where it is."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin_server.store.interface import JobStore


@dataclass(frozen=True, slots=True)
class Place:
    """An opened store."""

    store: JobStore
    address: str  # as it may be shown: no password in it; the same place has the same address in every run
