"""The format of what is stored, as a store finds it when it is opened."""

from __future__ import annotations

import pytest
from contract.builders import a_draft, added
from redis import Redis
from support.redis_servers import ServerProcess
from tocsin_server.store.interface import StoreUnfit
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.marker import FORMAT
from tocsin_server.store.redis.store import RedisStore


@pytest.fixture
def store(shared_valkey: ServerProcess, valkey_client: Redis) -> RedisStore:
    """Not open yet; the Valkey behind it is empty."""
    return RedisStore(RedisConnection(shared_valkey.url), "tests")


@pytest.mark.parametrize("other", [FORMAT - 1, FORMAT + 1])
async def test_a_store_of_another_format_is_refused_and_left_as_it_is(
    store: RedisStore, valkey_client: Redis, other: int
) -> None:
    valkey_client.set("tests:format", other)
    valkey_client.sadd("tests:queues", "q")

    with pytest.raises(StoreUnfit, match=f"format {other}.*knows {FORMAT}"):
        await store.open()

    await store.close()
    assert valkey_client.get("tests:format") == b"%d" % other


async def test_an_older_store_in_which_no_queue_stands_takes_the_format_of_now(
    store: RedisStore, valkey_client: Redis
) -> None:
    valkey_client.set("tests:format", FORMAT - 1)

    await store.open()

    await added(store, a_draft())
    await store.close()
    assert valkey_client.get("tests:format") == b"%d" % FORMAT
