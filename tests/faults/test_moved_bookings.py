"""Bookings are moved at random, over two servers, while their reminders are sent over real SMTP.

Once a move was answered, no send begins for an older anchor; each reminder of the last anchor is sent exactly once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from support.eventually import until_async
from support.mail_probe import MailProbe, mail_probe
from support.mongo_servers import MongoServer
from support.redis_backend import RedisBackend
from support.reminder_moves import TEMPLATE, Findings, Moves, examine
from support.servers import Server, Supervisor
from tocsin import AsyncClient

SEED = 20_261_224


@pytest.fixture(params=["redis", "mongo"])
def store_address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings of an empty store of this test's own, of each provider in turn."""
    if request.param == "redis":
        with RedisBackend(tmp_path / "redis") as redis:
            yield {"REDIS_URL": redis.url}
    else:
        server = MongoServer(tmp_path / "mongo")
        yield {"QUEUE_PROVIDER": "mongo", "MONGODB_URL": server.url}
        server.stop()


class Servers:
    """Makes servers that send to one mail server from one folder of templates."""

    def __init__(self, folder: Path, store: dict[str, str], probe: MailProbe, **env: str) -> None:
        templates = folder / "templates"
        templates.mkdir(exist_ok=True)
        (templates / f"{TEMPLATE}.subject").write_text("{{ title }}")
        (templates / f"{TEMPLATE}.txt").write_text("soon")
        self._folder = folder
        self._env = {
            **store,
            "TOCSIN_MAIL__TRANSPORT": probe.url,
            "TOCSIN_MAIL__SENDER": "shop@example.com",
            "TOCSIN_MAIL__TEMPLATES": str(templates),
            "TOCSIN_RETENTION__COMPLETED_FOR": "20s",
            "TOCSIN_TYPE_CONCURRENCY": "10",
            **env,
        }

    def make(self) -> Server:
        """One that has yet to be started."""
        return Server(self._folder, (), self._env)


@asynccontextmanager
async def clients_of(*servers: Server) -> AsyncIterator[list[AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(AsyncClient(server.address)) for server in servers]


async def moved_without_a_death(
    folder: Path, store: dict[str, str], bookings: int, total: int, parallel: int
) -> Findings:
    """Two servers, none of which dies."""
    async with mail_probe(seed=SEED) as probe:
        make = Servers(folder, store, probe).make
        servers = [make(), make()]
        try:
            for server in servers:
                await asyncio.to_thread(server.start)
            async with clients_of(*servers) as clients:
                moves = Moves(clients, "moved", bookings, total, random.Random(SEED), parallel)
                await moves.run()
                return await examine(moves, probe)
        finally:
            for server in servers:
                server.kill()


def check(found: Findings) -> None:
    assert found.late == []
    assert found.missed == []
    assert found.unwanted == []
    assert found.second == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("store_address", ["redis"], indirect=True)  # on SecantusDB with deaths, or at full size, below
async def test_no_send_begins_for_an_old_anchor_and_each_of_the_last_is_sent_once(
    tmp_path: Path, store_address: dict[str, str]
) -> None:
    found = await moved_without_a_death(tmp_path, store_address, 30, 300, 16)
    check(found)
    assert found.superseded >= 20, "too few moves met reminders that were sent"


@pytest.mark.full
@pytest.mark.timeout(3600)
async def test_the_same_with_10000_moves_of_500_bookings_on_redis_and_600_of_60_on_secantusdb(
    tmp_path: Path, store_address: dict[str, str]
) -> None:
    # SecantusDB makes some ten moves a second: 2,000 of 100 take it a quarter of an hour.
    size = (500, 10_000, 64) if "REDIS_URL" in store_address else (60, 600, 6)
    found = await moved_without_a_death(tmp_path, store_address, *size)
    check(found)
    assert found.superseded >= size[0]


@pytest.mark.timeout(240)
async def test_with_servers_killed_second_sends_are_no_more_than_the_attempts_that_ran(
    tmp_path: Path, store_address: dict[str, str]
) -> None:
    async with mail_probe(seed=SEED, longest=0.3) as probe:
        make = Servers(tmp_path, store_address, probe, TOCSIN_LEASE__DURATION="3s").make
        doomed, other = make(), make()
        ran_at_death = 0
        with Supervisor(other):
            with Supervisor(doomed):
                async with clients_of(doomed, other) as clients:
                    total = 300 if "REDIS_URL" in store_address else 100
                    moves = Moves(clients, "moved", 20, total, random.Random(SEED), parallel=4)
                    moving = asyncio.create_task(moves.run())
                    for share in (1 / 4, 1 / 2):
                        await until_async(
                            lambda: running(clients[1], moves, share),  # noqa: B023  # read before it changes
                            within=60,
                            what="moves made and reminders being sent",
                        )
                        doomed.kill()
                        ran_at_death += await running(clients[1], moves, 0)
                    await moving
                    found = await examine(moves, probe)
    assert found.late == []
    assert found.missed == []
    assert found.unwanted == []
    assert found.second <= ran_at_death


async def running(client: AsyncClient, moves: Moves, share: float) -> int:
    """How many attempts run, once this share of the moves was made; 0 before."""
    if moves.total - moves.left < share * moves.total:
        return 0
    return await client.count(queue=moves.queue, states=["ACTIVE"])
