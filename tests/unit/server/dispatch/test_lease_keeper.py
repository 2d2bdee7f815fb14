"""Leases that heartbeats are late with are renewed from another thread, over connections that last no longer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from contract.builders import MILLISECOND, a_draft, added, claimed_one
from redis import Redis
from support.eventually import until
from support.redis_servers import ServerProcess
from support.spied_store import SpiedStore
from tocsin_server.dispatch.lease_keeper import LeaseKeeper
from tocsin_server.domain.lease import Lease
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.store import RedisStore

LEASE = 300 * MILLISECOND


@dataclass
class Held:
    """A lease of a process whose loop renews nothing."""

    lease: Lease
    renewed: float


async def test_a_late_lease_is_renewed_over_a_connection_that_is_closed_when_none_is_late_any_more(
    shared_valkey: ServerProcess, valkey_client: Redis, spied: SpiedStore
) -> None:
    await added(spied.as_store, a_draft())
    claimed = await claimed_one(spied.as_store)
    held = Held(claimed.lease, time.monotonic() - 1)
    late = True

    def connections() -> int:
        return len(valkey_client.client_list())

    before = connections()

    def overdue(span: timedelta) -> Sequence[Held]:
        return [held] if late and time.monotonic() - held.renewed > span.total_seconds() else []

    keeper = LeaseKeeper(lambda: RedisStore(RedisConnection(shared_valkey.url), "tests"), overdue, LEASE)
    keeper.start()
    try:
        begun = held.renewed
        await asyncio.to_thread(until, lambda: held.renewed > begun, within=10, what="it is renewed")
        assert connections() > before
        late = False
        await asyncio.to_thread(until, lambda: connections() == before, within=10, what="it is closed")
        late, begun = True, held.renewed
        await asyncio.to_thread(until, lambda: held.renewed > begun, within=10, what="it is opened and renewed again")
    finally:
        await keeper.close()
    assert connections() == before
