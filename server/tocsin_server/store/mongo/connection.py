"""The connection to MongoDB: what every command to it goes through."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any, TypeVar

import structlog
from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, InvalidName, InvalidURI, PyMongoError
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from tocsin_server.background import Unbroken
from tocsin_server.domain.errors import StoreAway, TocsinError
from tocsin_server.store.mongo.errors import domain_error
from tocsin_server.store.refusal_log import RefusalLog
from tocsin_server.telemetry.redaction import HIDDEN, secrets_in_url, show_address, without_secrets
from tocsin_server.telemetry.round_trips import RoundTrips

DEFAULT_DATABASE = "tocsin"

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

#: What a connection says of its own before it takes commands, and at its end.
_OF_CONNECTIONS = frozenset({"hello", "ismaster", "saslStart", "saslContinue", "authenticate", "endSessions"})

T = TypeVar("T")
Document = dict[str, Any]


@dataclass(slots=True)
class _Sent:
    commands: int = 0


_sent: ContextVar[_Sent | None] = ContextVar("commands sent for this call", default=None)


class _Counter(CommandListener):
    """Counts what is handed to a connection, for the call that it is sent for. pymongo tells of it in the task that
    sends, just before; a second attempt of the driver's own is told of like the first."""

    def started(self, event: CommandStartedEvent) -> None:
        if (sent := _sent.get()) is not None and event.command_name not in _OF_CONNECTIONS:
            sent.commands += 1

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


class MongoConnection:
    """One client for all of a store's commands. ValueError, one line without secrets: the URL cannot be used.

    Writes wait until a majority of the replica set has them in its journal, whatever the URL says; reads are of the
    primary. A write whose answer was lost is sent once more by the driver under the same number, and the server runs
    it once (retryable writes; not on a standalone server).
    """

    def __init__(
        self,
        url: str,
        *,
        answer_within: timedelta = timedelta(seconds=5),
        max_connections: int = 16,
        select_within: timedelta | None = None,
    ) -> None:
        self.answer_within = answer_within
        try:
            database = parse_uri(url, validate=True, warn=False).get("database") or DEFAULT_DATABASE
            milliseconds = int(answer_within.total_seconds() * 1000)
            self.client: AsyncMongoClient[Document] = AsyncMongoClient(
                url,
                appname="tocsin",
                maxPoolSize=max_connections,
                waitQueueTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=milliseconds,
                serverSelectionTimeoutMS=int((select_within or answer_within).total_seconds() * 1000),
                retryWrites=True,
                retryReads=True,
                event_listeners=[_Counter()],
            )
            options: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
            self.database: AsyncDatabase[Document] = self.client.get_database(
                database,
                codec_options=options,
                read_preference=ReadPreference.PRIMARY,
                read_concern=ReadConcern(),  # the server's own: what the primary has
                write_concern=WriteConcern(w="majority", j=True),
            )
        except (InvalidURI, InvalidName, ConfigurationError, ValueError, TypeError, OSError) as error:
            raise ValueError(f"the MongoDB URL cannot be used: {_without(url, str(error))}") from None
        self._unbroken = Unbroken()
        self._closed = False
        self.refusals = RefusalLog()
        self.trips = RoundTrips()

    async def open(self) -> Document:
        """Make sure that the store answers; what it says of itself. StoreAway."""
        return await self.run(lambda: self.client.admin.command("hello"), read_only=True)

    async def close(self) -> None:
        """Wait for the commands under way, also those whose callers left, and close all connections."""
        self._closed = True
        await self._unbroken.close()
        await self.client.close()

    async def run(self, command: Callable[[], Awaitable[T]], *, read_only: bool = False) -> T:
        """Call `command`, which sends through `database`, and return what it returns.

        StoreAway: it did not act. OutcomeUnknown: it may have acted (with read_only StoreAway). StoreFull. Other errors
        of pymongo pass as they are. A command that was begun runs to its end, whoever has lost interest.
        """
        if self._closed:
            raise StoreAway("the connection was closed")
        return await self._unbroken.run(self._translated(command, read_only))

    def later(self, command: Callable[[], Awaitable[object]]) -> None:
        """Send something that nobody waits for. A failure is none of anybody's: it is tried again when it is due."""

        async def send() -> None:
            try:
                await self._translated(command, False)
            except TocsinError:
                pass  # it was noted
            except Exception:
                _log.exception("mongo_command_failed")

        if not self._closed:
            self._unbroken.begin(send())

    async def _translated(self, command: Callable[[], Awaitable[T]], read_only: bool) -> T:
        sent = _Sent()
        _sent.set(sent)  # in the context of this task, which is the command's own
        began = time.monotonic()
        try:
            return await command()
        except PyMongoError as error:
            refusal = domain_error(error, sent=None if read_only else sent.commands)
            if refusal is None:
                raise
            self.refusals.note(refusal, error)
            self.trips.failed(refusal)
            raise refusal from error
        finally:
            self.trips.took(time.monotonic() - began)


def _without(url: str, message: str) -> str:
    """The driver's message without the password that the URL may hold."""
    if show_address(url) == HIDDEN:  # what the driver took for a host or a port may be a piece of a password
        return (
            "are user and password percent-encoded (: / ? # @ % as %3A %2F %3F %23 %40 %25), and is the port a number?"
        )
    message = without_secrets(message, secrets_in_url(url))
    return message.splitlines()[0] if message else "it is not a MongoDB URL"
