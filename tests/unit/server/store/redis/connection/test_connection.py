"""Each failure says whether the command may have acted; nothing is sent twice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from redis.exceptions import NoScriptError, ResponseError
from support.redis_servers import Proxy, ServerProcess
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.store.redis.connection.connection import RedisConnection

StartServer = Callable[..., ServerProcess]
SOON = timedelta(milliseconds=300)


@asynccontextmanager
async def connected(url: str, **options: object) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(url, answer_within=SOON, connect_within=SOON, **options)
    try:
        yield connection
    finally:
        await connection.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_a_command_is_answered_in_bytes(valkey: ServerProcess) -> None:
    async with connected(valkey.url) as connection:
        await connection.open()
        assert await connection.execute("SET", "k", b"\xff\x00") in (True, b"OK")
        assert await connection.execute("GET", "k", read_only=True) == b"\xff\x00"


async def test_nobody_listening_is_store_away() -> None:
    async with connected(f"redis://127.0.0.1:{free_port()}") as connection:
        with pytest.raises(StoreAway, match="nothing was sent"):
            await connection.execute("INCR", "k")


async def test_a_listener_that_never_greets_is_store_away() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        async with connected(f"redis://127.0.0.1:{listener.getsockname()[1]}") as connection:
            with pytest.raises(StoreAway):
                await connection.execute("INCR", "k")


async def test_a_swallowed_answer_is_outcome_unknown_and_the_command_ran_once(
    proxy: Proxy, valkey: ServerProcess
) -> None:
    async with connected(proxy.url) as connection:
        await connection.open()
        proxy.swallow_after = b"INCR"
        with pytest.raises(OutcomeUnknown):
            await connection.execute("INCR", "k")
        proxy.swallow_after = None
        assert await connection.execute("GET", "k", read_only=True) == b"1"


async def test_a_cut_instead_of_an_answer_is_outcome_unknown_and_the_command_ran_once(proxy: Proxy) -> None:
    async with connected(proxy.url) as connection:
        await connection.open()
        proxy.cut_after = b"INCR"
        with pytest.raises(OutcomeUnknown):
            await connection.execute("INCR", "k")
        proxy.cut_after = None
        assert await connection.execute("GET", "k", read_only=True) == b"1"


async def test_a_lost_answer_to_a_read_is_store_away(proxy: Proxy) -> None:
    async with connected(proxy.url) as connection:
        await connection.open()
        proxy.swallow_after = b"GET"
        with pytest.raises(StoreAway):
            await connection.execute("GET", "k", read_only=True)


async def test_a_connection_whose_answer_came_late_is_not_used_again(start_server: StartServer) -> None:
    server = start_server("--enable-debug-command", "yes")
    async with connected(server.url, max_connections=1) as connection:
        await connection.execute("SET", "k", "right")
        with pytest.raises(OutcomeUnknown):
            await connection.execute("DEBUG", "SLEEP", "0.5")
        async with asyncio.timeout(5):
            while True:  # until the server has slept
                try:
                    answer = await connection.execute("GET", "k", read_only=True)
                except StoreAway:
                    continue
                break
        assert answer == b"right"


async def test_what_was_begun_outlives_a_caller_that_was_cancelled(valkey: ServerProcess) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()
    async with connected(valkey.url) as connection:

        async def two_commands() -> None:
            await connection.client.execute_command("INCR", "k")
            begun.set()
            await gate.wait()
            await connection.client.execute_command("INCR", "k")

        caller = asyncio.create_task(connection.run(two_commands))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        gate.set()
    async with connected(valkey.url) as connection:
        assert await connection.execute("GET", "k", read_only=True) == b"2"


async def test_a_cancelled_read_leaves_no_stray_answer(valkey: ServerProcess) -> None:
    async with connected(valkey.url) as connection:
        reading = asyncio.create_task(
            connection.blocking_client.execute_command("BLPOP", "never", 5)  # its answer would come later
        )
        while (
            not await connection.execute("INFO", "clients", read_only=True)
            or not ((await connection.client.info("clients"))["blocked_clients"])
        ):
            pass
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await connection.execute("RPUSH", "never", "x")
        assert await connection.blocking_client.execute_command("GET", "k") is None


async def test_a_server_that_restarted_is_found_again_without_an_error(start_server: StartServer) -> None:
    server = start_server()
    async with connected(server.url) as connection:
        await connection.open()
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        assert await connection.execute("INCR", "k") == 1


async def test_while_the_server_is_away_calls_say_so_and_afterwards_they_work(start_server: StartServer) -> None:
    server = start_server()
    async with connected(server.url) as connection:
        await connection.open()
        await asyncio.to_thread(server.stop)
        with pytest.raises(StoreAway):
            await connection.execute("INCR", "k")
        await asyncio.to_thread(server.start)
        assert await connection.execute("INCR", "k") == 1


async def test_no_memory_left_is_store_full(start_server: StartServer) -> None:
    server = start_server("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")
    async with connected(server.url) as connection:
        with pytest.raises(StoreFull):
            await connection.execute("SET", "k", b"x" * 2_000_000)
        with pytest.raises(StoreFull):
            await connection.execute("EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", 1, "k", b"x")


async def test_a_replica_is_store_away_for_writes(start_server: StartServer) -> None:
    server = start_server("--replicaof", "127.0.0.1", str(free_port()))
    async with connected(server.url) as connection:
        with pytest.raises(StoreAway):
            await connection.execute("SET", "k", "v")


async def test_a_wrong_password_is_store_away(start_server: StartServer) -> None:
    server = start_server()
    async with connected(server.url) as admin:
        await admin.execute("CONFIG", "SET", "requirepass", "right-one")
    async with connected(f"unix://:wrong-one@{server.socket}") as connection:
        with pytest.raises(StoreAway) as refusal:
            await connection.execute("SET", "k", "v")
    assert "wrong-one" not in str(refusal.value)
    async with connected(f"unix://:right-one@{server.socket}") as connection:
        await connection.open()


async def test_answers_of_scripts_pass_unchanged(valkey: ServerProcess) -> None:
    async with connected(valkey.url) as connection:
        with pytest.raises(NoScriptError):
            await connection.execute("EVALSHA", "0" * 40, 0)
        with pytest.raises(ResponseError, match="OURS"):
            await connection.execute("EVAL", "return redis.error_reply('OURS said')", 0)


async def test_more_calls_than_connections_wait_their_turn(proxy: Proxy) -> None:
    async with connected(proxy.url, max_connections=3) as connection:
        answers = await asyncio.gather(*(connection.execute("INCR", "k") for _ in range(50)))
        assert sorted(answers) == list(range(1, 51))
    assert proxy.connections <= 3


async def test_a_turn_that_does_not_come_is_store_away(valkey: ServerProcess) -> None:
    async with connected(valkey.url, max_connections=1) as connection:
        begun, gate = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            begun.set()
            await gate.wait()

        holder = asyncio.create_task(connection.run(hold))
        await begun.wait()
        with pytest.raises(StoreAway, match="busy"):
            await connection.execute("INCR", "k")
        gate.set()
        await holder
        assert await connection.execute("INCR", "k") == 1


async def test_closing_waits_for_calls_under_way(valkey: ServerProcess) -> None:
    connection = RedisConnection(valkey.url)
    calls = [asyncio.create_task(connection.execute("INCR", "k")) for _ in range(20)]
    await asyncio.sleep(0)  # let them begin
    await connection.close()
    assert sorted([await call for call in calls]) == list(range(1, 21))
    with pytest.raises(StoreAway, match="closed"):
        await connection.execute("INCR", "k")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "localhost:6379",
        "redis://localhost:port",
        "redis://localhost?no_such_option=1",
        "redis+sentinel://localhost:26379",
        "redis+cluster://localhost/3",
        "redis+cluster://localhost?no_such_option=1",
        "redis+sentinel://localhost:26379/main?no_such_option=1",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ValueError, match="address") as refusal:
        RedisConnection(url)
    assert "\n" not in str(refusal.value)


def test_no_option_of_the_address_brings_re_sending_back() -> None:
    connection = RedisConnection("redis://localhost?retry_on_timeout=yes&health_check_interval=1&decode_responses=yes")
    link = connection.client.connection_pool.make_connection()
    assert link.retry.get_retries() == 0
    assert link.health_check_interval == 0
