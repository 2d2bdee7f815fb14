"""What a store must be to be used, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.redis_servers import REDIS, ServerProcess
from tocsin_server.store.interface import Durability, StoreInfo, StoreUnfit
from tocsin_server.store.redis.checks import check
from tocsin_server.store.redis.connection.connection import RedisConnection

StartServer = Callable[..., ServerProcess]


async def checked(url: str) -> tuple[StoreInfo, list[str]]:
    connection = RedisConnection(url)
    try:
        return await check(connection)
    finally:
        await connection.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
async def test_a_store_that_may_evict_jobs_is_refused_with_what_to_do(start_server: StartServer, policy: str) -> None:
    server = start_server("--maxmemory-policy", policy)
    with pytest.raises(StoreUnfit, match=f"{policy}.*set maxmemory-policy noeviction") as refusal:
        await checked(server.url)
    assert "\n" not in str(refusal.value)


async def test_a_replica_is_refused(start_server: StartServer) -> None:
    server = start_server("--replicaof", "127.0.0.1", "1")
    with pytest.raises(StoreUnfit, match="replica"):
        await checked(server.url)


@pytest.mark.parametrize(
    ("options", "durability", "warned"),
    [
        (("--appendonly", "yes", "--appendfsync", "always"), Durability.EACH_WRITE, False),
        (("--appendonly", "yes", "--appendfsync", "everysec"), Durability.EVERY_SECOND, False),
        (("--appendonly", "yes", "--appendfsync", "no"), Durability.NONE, True),
        (("--appendonly", "no", "--save", "60 1"), Durability.NONE, True),
    ],
)
async def test_the_durability_in_force_is_told(
    start_server: StartServer, options: tuple[str, ...], durability: Durability, warned: bool
) -> None:
    info, warnings = await checked(start_server(*options).url)
    assert info.durability is durability
    assert bool(warnings) == warned


async def test_valkey_is_named_with_its_own_version(valkey: ServerProcess) -> None:
    info, _ = await checked(valkey.url)
    assert info.version.startswith("valkey 9.")
    assert (info.provider, info.embedded) == ("redis", False)


async def test_redis_is_named_with_its_version(start_server: StartServer) -> None:
    info, _ = await checked(start_server(binary=REDIS).url)
    assert info.version.startswith("redis ")


async def test_a_user_who_may_not_ask_gets_warnings_instead_of_a_refusal(start_server: StartServer) -> None:
    server = start_server("--appendonly", "yes")
    admin = RedisConnection(server.url)
    await admin.execute("ACL", "SETUSER", "meek", "on", ">pw", "~*", "&*", "+@all", "-config")
    await admin.execute("ACL", "SETUSER", "mute", "on", ">pw", "~*", "&*", "+@all", "-config", "-info")
    await admin.close()

    info, warnings = await checked(f"unix://meek:pw@{server.socket}")
    assert info.durability is Durability.UNKNOWN
    assert [w for w in warnings if "CONFIG" in w]

    info, warnings = await checked(f"unix://mute:pw@{server.socket}")
    assert info.durability is Durability.UNKNOWN
    assert [w for w in warnings if "INFO" in w]
