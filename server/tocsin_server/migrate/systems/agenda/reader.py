"""The collection, opened and read: the names that stand in it, then its documents in the order in which Agenda takes
them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from tocsin_server.domain import limits
from tocsin_server.migrate.systems.agenda.decisions import Decisions
from tocsin_server.migrate.systems.agenda.documents import decoded
from tocsin_server.migrate.systems.agenda.fields import quoted
from tocsin_server.migrate.systems.agenda.names import LONGEST, MOST_NAMES, TypeNames, fits
from tocsin_server.migrate.systems.agenda.source import AgendaSource, CannotSort
from tocsin_server.migrate.systems.foreign import Choices, Foreign, ForeignQueue, SourceAway

#: Agenda's own name for it.
DEFAULT_COLLECTION = "agendaJobs"

# {name: {$type: ...}} would take lists of strings.
_NAMED: Mapping[str, Any] = {"$match": {"$expr": {"$eq": [{"$type": "$name"}, "string"]}}}
_NAMES: Sequence[Mapping[str, Any]] = (_NAMED, {"$group": {"_id": "$name"}}, {"$limit": MOST_NAMES + 1})
# Each as often as it stands: the server need not remember any.
_EACH_NAME: Sequence[Mapping[str, Any]] = (_NAMED, {"$project": {"_id": "$name"}})
# Agenda's own order of due jobs; those without a time, which have ended or run, come first. Equal ones by age.
_IN_ORDER: Sequence[Mapping[str, Any]] = ({"$sort": {"nextRunAt": 1, "priority": -1, "_id": 1}},)
# There is an index for that. Jobs run by priority and time here, however they came: only equal ones could tell.
_BY_AGE: Sequence[Mapping[str, Any]] = ({"$sort": {"_id": 1}},)


@asynccontextmanager
async def open_agenda(
    url: str, choices: Choices, *, collection: str = DEFAULT_COLLECTION, queue: str = limits.DEFAULT_QUEUE
) -> AsyncIterator[ForeignQueue]:
    """A reader of Agenda 4, 5, 6 (with its MongoDB backend) and @hokify/agenda.

    Agenda has no queues: all jobs are for `queue`; choices.queues is not asked. SourceAway, also where that cannot be
    the name of a queue.
    """
    if not fits(queue):
        raise SourceAway(f"{quoted(queue)} cannot be a queue: a name has 1 to 100 characters of A-Z a-z 0-9 . _ -")
    source = AgendaSource(url, collection)
    try:
        await source.open()
        yield AgendaQueue(source, choices, queue)
    finally:
        await source.close()


class AgendaQueue:
    """A ForeignQueue of one collection, which is its only queue: choices.queues is not asked."""

    def __init__(self, source: AgendaSource, choices: Choices, queue: str) -> None:
        self._source = source
        self._choices = choices
        self._queue = queue

    async def read(self) -> AsyncGenerator[Foreign, None]:
        """See ForeignQueue. What is saved, run or removed meanwhile is seen as it was before or after."""
        now = await self._source.now()
        names = TypeNames(await self._names())
        decisions = Decisions(self._source.collection.name, self._queue, names, self._choices, now)
        async with aclosing(self._documents()) as documents:
            async for raw in documents:
                for foreign in decisions.found(raw):
                    yield foreign

    @property
    def origin(self) -> str:
        """See ForeignQueue."""
        return f"agenda {self._source.collection.name}"

    async def paused(self) -> tuple[str, ...]:
        """None: Agenda disables jobs, not queues."""
        return ()

    async def _documents(self) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._source.found(_IN_ORDER)) as documents:
                async for raw in documents:
                    yield raw
        except CannotSort:
            async with aclosing(self._source.found(_BY_AGE)) as documents:
                async for raw in documents:
                    yield raw

    async def _names(self) -> set[str]:
        """The names that stand, one more than are remembered at most."""
        try:
            return await self._distinct(_NAMES)
        except CannotSort:  # so many names that the server has no memory to tell them apart
            return await self._distinct(_EACH_NAME)

    async def _distinct(self, pipeline: Sequence[Mapping[str, Any]]) -> set[str]:
        names: set[str] = set()
        async with aclosing(self._source.found(pipeline)) as documents:
            async for raw in documents:
                name = decoded(raw)["_id"]
                if len(name) <= LONGEST:
                    names.add(name)
                if len(names) > MOST_NAMES:
                    break
        return names
