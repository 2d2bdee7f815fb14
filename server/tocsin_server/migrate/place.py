"""A store that jobs are moved from or to, and where it is."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from tocsin_server.store.interface import JobStore


@dataclass(frozen=True, slots=True)
class Place:
    """An opened store."""

    store: JobStore
    address: str  # as it may be shown: no password in it; the same place has the same address in every run


async def is_same(one: Place, other: Place) -> bool:
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
