"""The way to Redis: commands are sent once, and each failure says whether the command may have acted.

redis-py re-sends a command by default when its answer is lost, so that a write runs twice. Here nothing is re-sent
(but in a cluster after MOVED: the command did not run). A connection on which a command failed, or whose
caller left in the middle of an answer, is closed and never used again.

Measured on a Unix socket (2 busy cores, uvloop), processor time of a small EVALSHA in this process: 45 µs on a bare
connection, 85 through redis-py's client and pool (its blocking pool: the same), 100 with the turn and the shield of
`run`; beside seven others 75. Commands carry up to 100 jobs each, so a client of our own that writes all commands to
one socket is not worth its risk. Turns are a semaphore, not the blocking pool's: who waits for one has sent nothing.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from tocsin_server.background import Unbroken
from tocsin_server.domain.errors import StoreAway
from tocsin_server.store.redis.connection.cluster import Cluster, NodeReads
from tocsin_server.store.redis.connection.errors import domain_error, unfit
from tocsin_server.store.redis.connection.links import (
    LinkPool,
    SentinelLink,
    SentinelLinkPool,
    SentinelTlsLink,
    TcpLink,
    TlsLink,
    UnixLink,
)
from tocsin_server.store.redis.connection.login import Login
from tocsin_server.store.redis.connection.sentinels import Sentinels
from tocsin_server.store.redis.connection.url import RedisUrl, Topology, read_url
from tocsin_server.store.refusal_log import RefusalLog
from tocsin_server.telemetry.round_trips import RoundTrips

#: The longest BLOCK of a blocking read; a dead peer is noticed that much later. Loop to wait longer.
MAX_BLOCK = timedelta(seconds=10)

#: Blocking reads under way at most. Each has a connection to itself.
MAX_BLOCKING_READS = 256

#: Subscriptions at once at most.
_SUBSCRIPTIONS = 16

#: Seconds that reads of many nodes wait for any one of them.
_NODE_PATIENCE = 1.0

T = TypeVar("T")


class RedisConnection:
    """Clients of one Redis, Valkey, Sentinel group or Cluster. `client` and `blocking_client` answer in bytes.

    url: see tocsin_server.store.redis.connection.url; ValueError where it cannot be read.
    url_now: the same anew, for each connection that is made, where its login may have changed. None: it stays.
    answer_within: an answer later than that counts as none.
    max_connections: commands under way at most; more wait for their turn.
    """

    def __init__(
        self,
        url: str,
        *,
        url_now: Callable[[], str] | None = None,
        answer_within: timedelta = timedelta(seconds=5),
        connect_within: timedelta = timedelta(seconds=2),
        max_connections: int = 16,
        name: str = "tocsin",
    ) -> None:
        self._url = read_url(url)
        self._login = Login(url_now) if url_now is not None else None
        self._answer_within = answer_within
        self._connect_within = connect_within
        self._name = name
        self.cluster = self._url.topology is Topology.CLUSTER
        self._sentinels = self._asked_sentinels() if self._url.topology is Topology.SENTINEL else None
        self._clients: list[Redis | Cluster] = []
        # Twice as many as the semaphore lets through: commands through `translated` do not pass it.
        self.client = self._client(answer_within, 2 * max_connections)
        self.blocking_client = self._client(MAX_BLOCK + answer_within, MAX_BLOCKING_READS)
        # Apart, so that watches never keep a subscription from coming back. A cluster's has clients of its own.
        self._listening_client = self._client(MAX_BLOCK + answer_within, _SUBSCRIPTIONS)
        self._reads: NodeReads | None = None
        if isinstance(self.client, Cluster):
            self._reads = NodeReads(self.client, min(_NODE_PATIENCE, answer_within.total_seconds()))
        # A cluster's nodes have turns of their own: commands to one that hangs must not take all. "": no node's.
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(max_connections))
        self._max_connections = max_connections
        self._unbroken = Unbroken()
        self._closed = False
        self._failed = False
        self.refusals = RefusalLog()
        self.trips = RoundTrips()
        #: Set where the store answers again after a failure, or another server is the primary; whoever waits clears it.
        self.renewed = asyncio.Event()

    async def open(self) -> None:
        """Make sure that the store answers. StoreAway; StoreUnfit where it never will, by this address."""
        try:
            await self.execute("PING", read_only=True)
        except StoreAway as error:
            raise (unfit(error) or error) from error

    async def close(self) -> None:
        """Wait for the calls under way, also those whose callers left, and close all connections."""
        self._closed = True
        await self._unbroken.close()
        if self._reads is not None:
            await self._reads.close()
        for client in (self.client, self.blocking_client, self._listening_client):
            if isinstance(client, Cluster):
                await client.shut()
                continue
            await client.aclose()
        if self._sentinels is not None:
            await self._sentinels.close()

    async def execute(self, *args: bytes | str | int | float, read_only: bool = False) -> Any:
        """Send one command and return its answer; see `run`."""
        return await self.run(lambda: self.client.execute_command(*args), read_only=read_only, key=_key_of(args))

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes | None]:
        """The values of keys. In a cluster those of nodes that do not answer soon are missing; StoreAway where none
        does."""
        if not keys:
            return {}
        if (reads := self._reads) is not None:
            return await self.run(lambda: reads.get(keys), read_only=True)
        return dict(zip(keys, await self.execute("MGET", *keys, read_only=True), strict=True))

    async def scan(self, pattern: str, count: int, *, about: bytes) -> AsyncIterator[Sequence[bytes]]:
        """Names of keys that match a glob, some a time, some perhaps twice; of a cluster, those of the node that has
        the key `about`. Each command looks at about `count` names; a scan costs as many as all keys need. StoreAway."""
        client, cursor = self.client, 0
        while True:
            command = ("SCAN", cursor, "MATCH", pattern, "COUNT", count)

            async def ask(command: tuple[str | int, ...] = command) -> Any:
                # redis-py left the commands of some of its classes untyped.
                node: Any = await client.node_of(about) if isinstance(client, Cluster) else client
                return await node.execute_command(*command)

            cursor, names = await self.run(ask, read_only=True, key=about)
            yield names
            if not cursor:
                return

    @asynccontextmanager
    async def subscribed(self, channel: str) -> AsyncIterator[PubSub]:
        """A subscription. In a cluster, where each message goes to all nodes, at one of them, drawn anew each time."""
        client, own = self._listening_client, None
        if isinstance(client, Cluster):
            await client.initialize()
            node = random.choice(client.get_primaries())  # noqa: S311 - spreads load, guards nothing
            options = {**self._options(MAX_BLOCK + self._answer_within), "host": node.host, "port": node.port}
            client = own = Redis.from_pool(_direct_pool(self._url, options, 1))
        try:
            async with client.pubsub() as pubsub:
                await pubsub.subscribe(channel)
                yield pubsub
        finally:
            if own is not None:
                await own.aclose()

    async def run(
        self, command: Callable[[], Awaitable[T]], *, read_only: bool = False, key: bytes | str | None = None
    ) -> T:
        """Call `command`, which sends through `client`, and return what it returns. key: one that it is about.

        StoreAway: it did not act. OutcomeUnknown: it may have acted (with read_only StoreAway). StoreFull. Other errors
        of redis-py pass as they are: a script's own answers, NOSCRIPT. Cancelling waits for a turn only: a command that
        was begun runs to its end, whoever has lost interest.
        """
        turns = self._turns[self._node_of(key)]
        await self._turn(turns, read_only)
        # From here to the task's start nothing waits, so that the turn is given back by its end, and only by that.
        return await self._unbroken.run(self._translated(command, read_only), then=turns.release)

    @contextmanager
    def translated(self, *, read_only: bool = False) -> Iterator[None]:
        """Translate errors as `run` does, for what is sent inside; without waiting for a turn or shielding."""
        try:
            yield
        except (RedisError, RedisClusterException, OSError) as error:
            refusal = domain_error(error, read_only=read_only)
            if refusal is None:
                raise
            self._failed = True
            self.refusals.note(refusal, error)
            self.trips.failed(refusal)
            if self._sentinels is not None:
                self._sentinels.look()
            raise refusal from error

    async def _translated(self, command: Callable[[], Awaitable[T]], read_only: bool) -> T:
        began = time.monotonic()
        try:
            with self.translated(read_only=read_only):
                answer = await command()
        finally:
            self.trips.took(time.monotonic() - began)
        if self._failed:
            self._failed = False
            self.renewed.set()
        return answer

    def _node_of(self, key: bytes | str | None) -> str:
        return self.client.name_of_node(key) if key is not None and isinstance(self.client, Cluster) else ""

    async def _turn(self, turns: asyncio.Semaphore, read_only: bool) -> None:
        if self._closed:
            raise StoreAway("the connection was closed")
        unsettled = self._sentinels if not read_only and self._sentinels and not self._sentinels.settled else None
        if not turns.locked() and unsettled is None:
            await turns.acquire()  # does not wait
            return
        why = f"all {self._max_connections} connections were busy for {self._answer_within.total_seconds():g} s"
        try:
            async with asyncio.timeout(self._answer_within.total_seconds()):
                if unsettled is not None:
                    why = "its sentinels are about to make another server the primary"
                    await unsettled.until_settled()
                await turns.acquire()
        except TimeoutError:
            raise StoreAway(why) from None

    def _options(self, answer_within: timedelta) -> dict[str, Any]:
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
        if self._login is not None:
            for name in ("username", "password"):
                options.pop(name, None)
            options["credential_provider"] = self._login
        return options

    def _client(self, answer_within: timedelta, max_connections: int) -> Redis | Cluster:
        client = self._made_client(self._options(answer_within), max_connections)
        self._clients.append(client)
        return client

    def _made_client(self, options: dict[str, Any], max_connections: int) -> Redis | Cluster:
        if self._url.topology is Topology.CLUSTER:
            return _cluster(self._url, options, max_connections)
        if self._sentinels is not None:
            return Redis.from_pool(_sentinel_pool(self._url, self._sentinels, options, max_connections))
        return Redis.from_pool(_direct_pool(self._url, options, max_connections))

    def _asked_sentinels(self) -> Sentinels:
        within = self._connect_within.total_seconds()
        options = {
            "socket_connect_timeout": within,
            "socket_timeout": within,
            "retry": Retry(NoBackoff(), 0),
            **self._url.sentinel_options,
            "protocol": 2,
        }
        # redis-py left the constructor untyped.
        client: Any = Redis
        clients = [client(host=host, port=port, **options) for host, port in self._url.nodes]
        return Sentinels(clients, self._url.service, within=within, changed=self._follow)

    def _follow(self) -> None:
        """Another server is the primary: whatever the old one still answers does not count."""
        self.renewed.set()
        for client in self._clients:
            if isinstance(client, Redis) and isinstance(client.connection_pool, SentinelLinkPool):
                client.connection_pool.cut()


def _key_of(command: Sequence[bytes | str | int | float]) -> bytes | str | None:
    """The key of a command, as far as the store's commands go: scripts have theirs behind their hash."""
    at = 3 if command[0] in ("EVALSHA", "EVAL") else 1
    key = command[at] if len(command) > at else None
    return key if isinstance(key, (bytes, str)) else None


def _direct_pool(url: RedisUrl, options: dict[str, Any], max_connections: int) -> ConnectionPool:
    link = UnixLink if "path" in options else TlsLink if url.tls else TcpLink
    if link is not UnixLink:
        options.setdefault("socket_keepalive", True)
    _try_options(link, options)
    return LinkPool(connection_class=link, max_connections=max_connections, **options)


def _sentinel_pool(
    url: RedisUrl, sentinels: Sentinels, options: dict[str, Any], max_connections: int
) -> ConnectionPool:
    _try_options(TlsLink if url.tls else TcpLink, options)
    # redis-py left the constructor untyped; who is asked for the primary is ours.
    pool: Any = SentinelLinkPool
    managed: SentinelLinkPool = pool(
        url.service,
        None,
        connection_class=SentinelTlsLink if url.tls else SentinelLink,
        max_connections=max_connections,
        socket_keepalive=True,
        **options,
    )
    managed.sentinels = sentinels
    return managed


def _cluster(url: RedisUrl, options: dict[str, Any], max_connections: int) -> Cluster:
    link = TlsLink if url.tls else TcpLink
    _try_options(link, options)
    nodes = [ClusterNode(host, port) for host, port in url.nodes]
    try:
        # The addresses as given are asked for ever, beside those learned: all nodes may move to others at once.
        client = Cluster(
            startup_nodes=nodes, max_connections=max_connections, ssl=url.tls, dynamic_startup_nodes=False, **options
        )
    except TypeError:
        raise ValueError("the store's address has an option that redis-py does not know") from None
    # RedisCluster takes no class of connections, but hands these arguments to each node it learns of.
    client.connection_kwargs["connection_class"] = link
    for node in client.startup_nodes:
        node.connection_class = link
    return client


def _try_options(link: type[Any], options: dict[str, Any]) -> None:
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in options and not os.access(options[name], os.R_OK):
            raise ValueError(f"the store's address names a file that cannot be read: {name}={options[name]}")
    try:
        link(**options)  # not connected; refuses what it does not know
    except TypeError:
        raise ValueError("the store's address has an option that redis-py does not know") from None
