"""The way to Redis: commands are sent once, and each failure says whether the command may have acted.

redis-py re-sends a command by default when its answer is lost, so that a write runs twice. Here nothing is re-sent
(but in a cluster after MOVED and ASK: the command did not run). A connection on which a command failed, or whose
caller left in the middle of an answer, is closed and never used again.

Measured on a Unix socket (2 busy cores, uvloop), processor time of a small EVALSHA in this process: 45 µs on a bare
connection, 85 through redis-py's client and pool (its blocking pool: the same), 100 with the turn and the shield of
`run`; beside seven others 75. Commands carry up to 100 jobs each, so a client of our own that writes all commands to
one socket is not worth its risk. Turns are a semaphore, not the blocking pool's: who waits for one has sent nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from tocsin_server.domain.errors import StoreAway
from tocsin_server.store.redis.errors import domain_error
from tocsin_server.store.redis.links import (
    LinkPool,
    SentinelLink,
    SentinelLinkPool,
    SentinelTlsLink,
    TcpLink,
    TlsLink,
    UnixLink,
)
from tocsin_server.store.redis.url import Kind, RedisUrl, read_url

#: The longest BLOCK of a blocking read; a dead peer is noticed that much later. Loop to wait longer.
MAX_BLOCK = timedelta(seconds=10)

#: Blocking reads under way at most. Each has a connection to itself.
MAX_BLOCKING_READS = 256

T = TypeVar("T")


class RedisConnection:
    """Clients of one Redis, Valkey, Sentinel group or Cluster. `client` and `blocking_client` answer in bytes.

    url: see tocsin_server.store.redis.url; ValueError where it cannot be read.
    answer_within: an answer later than that counts as none.
    max_connections: commands under way at most; more wait for their turn.
    """

    def __init__(
        self,
        url: str,
        *,
        answer_within: timedelta = timedelta(seconds=5),
        connect_within: timedelta = timedelta(seconds=2),
        max_connections: int = 16,
        name: str = "tocsin",
    ) -> None:
        self._url = read_url(url)
        self._answer_within = answer_within
        self._connect_within = connect_within
        self._name = name
        self.cluster = self._url.kind is Kind.CLUSTER
        # Twice as many as the semaphore lets through: commands through `translated` do not pass it.
        self.client = self._client(answer_within, 2 * max_connections)
        self.blocking_client = self._client(MAX_BLOCK + answer_within, MAX_BLOCKING_READS)
        self._turns = asyncio.Semaphore(max_connections)
        self._max_connections = max_connections
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def open(self) -> None:
        """Make sure that the store answers. StoreAway."""
        await self.execute("PING", read_only=True)

    async def close(self) -> None:
        """Wait for the calls under way, also those whose callers left, and close all connections."""
        self._closed = True
        while self._under_way:
            await asyncio.wait(self._under_way)
        for client in (self.client, self.blocking_client):
            await client.aclose()
            if isinstance(client, RedisCluster):  # closes nothing by itself once a node was away
                await client.nodes_manager.aclose("startup_nodes")
                await client.nodes_manager.aclose()
            elif isinstance(client.connection_pool, SentinelLinkPool):
                for sentinel in client.connection_pool.sentinel_manager.sentinels:
                    await sentinel.aclose()

    async def execute(self, *args: bytes | str | int | float, read_only: bool = False) -> Any:
        """Send one command and return its answer; see `run`."""
        return await self.run(lambda: self.client.execute_command(*args), read_only=read_only)

    async def run(self, command: Callable[[], Awaitable[T]], *, read_only: bool = False) -> T:
        """Call `command`, which sends through `client`, and return what it returns.

        StoreAway: it did not act. OutcomeUnknown: it may have acted (with read_only StoreAway). StoreFull. Other errors
        of redis-py pass as they are: a script's own answers, NOSCRIPT. Cancelling waits for a turn only: a command that
        was begun runs to its end, whoever has lost interest.
        """
        await self._turn()
        # From here to the task's start nothing waits, so that the turn is given back by the task, and only by it.
        task: asyncio.Task[T] = asyncio.ensure_future(self._translated(command, read_only))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    @contextmanager
    def translated(self, *, read_only: bool = False) -> Iterator[None]:
        """Translate errors as `run` does, for what is sent inside; without waiting for a turn or shielding."""
        try:
            yield
        except (RedisError, RedisClusterException, OSError) as error:
            refusal = domain_error(error, read_only=read_only)
            if refusal is None:
                raise
            raise refusal from error

    async def _translated(self, command: Callable[[], Awaitable[T]], read_only: bool) -> T:
        with self.translated(read_only=read_only):
            return await command()

    async def _turn(self) -> None:
        if self._closed:
            raise StoreAway("the connection was closed")
        if not self._turns.locked():
            await self._turns.acquire()  # does not wait
            return
        try:
            async with asyncio.timeout(self._answer_within.total_seconds()):
                await self._turns.acquire()
        except TimeoutError:
            raise StoreAway(
                f"all {self._max_connections} connections were busy for {self._answer_within.total_seconds():g} s"
            ) from None

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        self._turns.release()
        if not task.cancelled():
            task.exception()  # seen, also where the caller has left

    def _client(self, answer_within: timedelta, max_connections: int) -> Redis | RedisCluster:
        options = {
            "client_name": self._name,
            "socket_connect_timeout": self._connect_within.total_seconds(),
            "socket_timeout": answer_within.total_seconds(),
            **self._url.options,
            # What users may not choose: no re-sending, bytes as they are, and the answers that the store reads.
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "decode_responses": False,
        }
        for name in ("retry_on_timeout", "retry_on_error", "max_connections", "health_check_interval"):
            options.pop(name, None)
        if self._url.kind is Kind.CLUSTER:
            return _cluster(self._url, options, max_connections)
        if self._url.kind is Kind.SENTINEL:
            return Redis.from_pool(_sentinel_pool(self._url, options, max_connections))
        return Redis.from_pool(_direct_pool(self._url, options, max_connections))


def _direct_pool(url: RedisUrl, options: dict[str, Any], max_connections: int) -> ConnectionPool:
    link = UnixLink if "path" in options else TlsLink if url.tls else TcpLink
    if link is not UnixLink:
        options.setdefault("socket_keepalive", True)
    _try_options(link, options)
    return LinkPool(connection_class=link, max_connections=max_connections, **options)


def _sentinel_pool(url: RedisUrl, options: dict[str, Any], max_connections: int) -> ConnectionPool:
    link = SentinelTlsLink if url.tls else SentinelLink
    _try_options(TlsLink if url.tls else TcpLink, options)
    to_sentinel = {
        "socket_connect_timeout": options["socket_connect_timeout"],
        "socket_timeout": options["socket_connect_timeout"],  # a silent sentinel must not hold up the others
        "retry": Retry(NoBackoff(), 0),
        **url.sentinel_options,
    }
    # redis-py left both constructors untyped.
    sentinel: Any = Sentinel
    pool: Any = SentinelLinkPool
    managed: ConnectionPool = pool(
        url.service,
        sentinel(list(url.nodes), sentinel_kwargs=to_sentinel),
        connection_class=link,
        max_connections=max_connections,
        socket_keepalive=True,
        **options,
    )
    return managed


def _cluster(url: RedisUrl, options: dict[str, Any], max_connections: int) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in url.nodes]
    try:
        client = RedisCluster(startup_nodes=nodes, max_connections=max_connections, ssl=url.tls, **options)
    except TypeError:
        raise ValueError("the store's address has an option that redis-py does not know") from None
    # RedisCluster takes no class of connections, but hands these arguments to each node it learns of.
    link = TlsLink if url.tls else TcpLink
    client.connection_kwargs["connection_class"] = link
    for node in client.startup_nodes:
        node.connection_class = link
    return client


def _try_options(link: type[Any], options: dict[str, Any]) -> None:
    try:
        link(**options)  # not connected; refuses what it does not know
    except TypeError:
        raise ValueError("the store's address has an option that redis-py does not know") from None
