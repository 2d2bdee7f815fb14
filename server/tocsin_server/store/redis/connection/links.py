"""redis-py's connections and pools, taught to say whether a command was sent before they failed.

redis-py raises the same errors for "cannot connect" and for "no answer". The difference is the difference between
"repeat it" and "it may have acted", so here each failure on the way to a ready connection becomes NotSent; what is
raised after that came with, or after, the writing of the command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hiredis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ConnectionError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

from tocsin_server.store.redis.connection.errors import NotSent, SlotMoves
from tocsin_server.store.redis.connection.sentinels import Sentinels


@contextmanager
def _before_sending() -> Iterator[None]:
    try:
        yield
    except (NotSent, AuthenticationError):
        raise
    except (ConnectionError, TimeoutError, ResponseError, OSError) as error:
        raise NotSent(str(error) or type(error).__name__) from error


class _Telling(AbstractConnection):
    """What the connections below have in common."""

    async def connect(self) -> None:
        parent: Any = super()  # redis-py left this method untyped
        with _before_sending():
            await parent.connect()

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        with _before_sending():
            await super().connect_check_health(*args, **kwargs)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        reader = self._reader
        if reader is not None and (reader.at_eof() or reader.exception() is not None):
            # The server went while the connection lay idle: nothing is lost yet, so connect anew. (redis-py looks
            # before it lends a pool's connection, but not before it lends one to a cluster's node.)
            await self.disconnect(nowait=True)
        await super().send_packed_command(command, check_health=check_health)

    def pack_command(self, *args: Any) -> list[bytes]:
        """The command as bytes. hiredis packs it in C, as redis-py's blocking connections do and its asyncio ones do
        not: in Python it took a tenth of the time of a scheduled job."""
        name, *arguments = args
        words = (name.encode() if isinstance(name, str) else name).split()  # "CLIENT SETINFO" is two
        return [hiredis.pack_command((*words, *arguments))]

    def cut(self) -> None:
        """Close it under whoever uses it: a command without its answer fails as if the server had gone."""
        if self._writer is not None:
            self._writer.close()

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().read_response(*args, **kwargs)
        except MovedError:  # by redis-py's classes an AskError, too
            raise
        except AskError as error:
            # redis-py would go on at the node that the slot moves to. A script names one key, the queue's root, which
            # never exists, so it would run there on the part of the queue that has arrived.
            raise SlotMoves(str(error)) from None
        except ReadOnlyError:
            # The primary has become a replica: the next command must look for the new one.
            await self.disconnect(nowait=True)
            raise
        except ConnectionError as error:
            if isinstance(error.__context__, ReadOnlyError):  # how redis-py's Sentinel connection says the same
                raise NotSent(str(error)) from error
            raise


class TcpLink(_Telling, Connection):
    """redis://"""


class TlsLink(_Telling, SSLConnection):
    """rediss://"""


class UnixLink(_Telling, UnixDomainSocketConnection):
    """unix://"""


class SentinelLink(_Telling, SentinelManagedConnection):
    """redis+sentinel://"""


class SentinelTlsLink(_Telling, SentinelManagedSSLConnection):
    """rediss+sentinel://"""


class LinkPool(ConnectionPool):
    """Connections to one address."""

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        with _before_sending():
            await super().ensure_connection(connection)


class SentinelLinkPool(SentinelConnectionPool):
    """Connections to whatever the sentinels say is the primary, and to no other server."""

    sentinels: Sentinels  # given by whoever makes the pool

    async def get_master_address(self) -> tuple[str, int]:
        return await self.sentinels.primary()

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        link: Any = connection
        with _before_sending():
            await super().ensure_connection(link)
            if (link.host, link.port) != self.sentinels.address:  # another was named since it was made
                await link.disconnect(nowait=True)
                await super().ensure_connection(link)

    def cut(self) -> None:
        """Cut all that are in use; idle ones are made anew before they are lent."""
        for link in self._in_use_connections:
            if isinstance(link, _Telling):
                link.cut()
