"""The connection to the MongoDB that Agenda writes to. It is read, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from tocsin_server.migrate.systems.foreign import SourceAway
from tocsin_server.telemetry.redaction import secrets_in_url, without_secrets

#: Where Agenda puts its jobs if its address names no database: the driver's own default.
DEFAULT_DATABASE = "test"

_SELECT_MS = 10_000
_ANSWER_MS = 120_000  # the first answer comes when all documents are sorted
_BATCH = 200  # documents of one answer, which has at most 16 MiB
# Where the driver begins to picture the topology: long, and of no use here.
_DRIVERS_OWN = (", full error:", ", Timeout:", ", Topology Description:", " (configured timeouts:")
_NAMED = 8  # collections that a refusal names


#: What servers answer that may sort and group in 100 MB of memory and not on disk.
_CANNOT_SORT = frozenset({292, 16819, 16820, 16945})


class CannotSort(SourceAway):
    """The server has too little memory for that order, or to group so many, and does not use its disk."""


class AgendaSource:
    """One collection, read from the primary. The constructor raises SourceAway where the address cannot be used."""

    def __init__(self, url: str, collection: str) -> None:
        # Agenda takes an address without its scheme, too.
        self._url = url if "://" in url else f"mongodb://{url}"
        with self._translated((PyMongoError, ValueError, TypeError, OSError)):
            self.database = parse_uri(self._url, validate=True, warn=False).get("database") or DEFAULT_DATABASE
            self._client: AsyncMongoClient[RawBSONDocument] = AsyncMongoClient(
                self._url,
                appname="tocsin migrate",
                connectTimeoutMS=_SELECT_MS,
                serverSelectionTimeoutMS=_SELECT_MS,
                socketTimeoutMS=_ANSWER_MS,
                retryReads=True,
            )
            options: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
            self._database = self._client.get_database(
                self.database, codec_options=options, read_preference=ReadPreference.PRIMARY
            )
            self.collection = self._database[collection]

    async def open(self) -> None:
        """Make sure that the collection is there. SourceAway."""
        with self._translated():
            names = await self._database.list_collection_names(authorizedCollections=True)
        if self.collection.name in names:
            return
        there = ", ".join(sorted(name for name in names if not name.startswith("system."))[:_NAMED])
        raise SourceAway(
            f"the database {self.database!r} has no collection {self.collection.name!r}: name Agenda's with "
            f"--source-collection, and its database in the address (there: {there or 'no collection'})"
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def now(self) -> datetime:
        """The server's clock."""
        with self._translated():
            hello: Mapping[str, Any] = await self._client.admin.command("hello")
        now: datetime = hello["localTime"]
        return now.replace(tzinfo=UTC)

    async def found(self, pipeline: Sequence[Mapping[str, Any]]) -> AsyncGenerator[bytes, None]:
        """What a pipeline that only reads gives, each document's BSON. SourceAway; CannotSort before the first."""
        with self._translated():
            # On disk where it does not fit in the server's memory. Hosted servers, the small ones, ignore that.
            async with await self.collection.aggregate(list(pipeline), allowDiskUse=True, batchSize=_BATCH) as cursor:
                async for document in cursor:
                    yield bytes(document.raw)

    @contextmanager
    def _translated(self, errors: tuple[type[Exception], ...] = (PyMongoError,)) -> Iterator[None]:
        """What goes wrong inside, as SourceAway: one line, without the password that the address may hold."""
        try:
            yield
        except errors as error:
            kind = CannotSort if getattr(error, "code", None) in _CANNOT_SORT else SourceAway
            raise kind(f"Agenda's MongoDB cannot be read: {self._line(error)}") from None

    def _line(self, error: Exception) -> str:
        text = str(error)
        for end in _DRIVERS_OWN:
            text = text.partition(end)[0]
        text = without_secrets(text, secrets_in_url(self._url))
        return text.splitlines()[0][:300] if text.strip() else type(error).__name__
