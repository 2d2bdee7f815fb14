"""What callers are told of a store that fails: a plain sentence, and nothing of what redis-py or the server said."""

from __future__ import annotations

import ssl

import pytest
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from tocsin_server.store.redis.connection.errors import NotSent, SlotMoves, domain_error

INSIDE = "10.9.8.7:6399 <redis.asyncio.client.Redis(<ConnectionPool(host=db.internal)>)> at 0x7f88ab5c7a50, user tocsin"
FAILURES: list[Exception] = [
    *(kind(INSIDE) for kind in (MasterNotFoundError, BusyLoadingError, AuthenticationError, NoPermissionError)),
    *(kind(INSIDE) for kind in (ReadOnlyError, MaxConnectionsError, TryAgainError, ClusterError, SlotMoves, NotSent)),
    *(kind(INSIDE) for kind in (RedisClusterException, ConnectionError, TimeoutError, OSError, ssl.SSLError)),
    *(ResponseError(f"{word} {INSIDE}") for word in ("BUSY", "NOREPLICAS", "MASTERDOWN", "OOM", "MISCONF")),
    ClusterDownError(f"CLUSTERDOWN {INSIDE}"),
    OutOfMemoryError(f"OOM {INSIDE}"),
    ssl.SSLCertVerificationError(1, INSIDE),
]


def behind(error: Exception) -> Exception:
    """The same as a connection tells it that could not be made."""
    try:
        try:
            raise error
        except Exception as reason:
            raise NotSent(f"Error 111 connecting to {INSIDE}") from reason
    except NotSent as failure:
        return failure


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("error", [*FAILURES, *map(behind, FAILURES)], ids=lambda one: type(one).__name__)
def test_nothing_of_the_stores_inside_is_told(error: Exception, read_only: bool) -> None:
    refusal = domain_error(error, read_only=read_only)
    assert refusal is not None
    told = f"{refusal} {refusal.metadata}"
    assert [part for part in ("10.9.8.7", "6399", "redis", "0x7f", "internal", "user tocsin") if part in told] == []
