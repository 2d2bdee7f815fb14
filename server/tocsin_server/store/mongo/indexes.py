"""The indexes that are made at start, each beside the question it answers. docs/mongodb.md shows the same list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import OperationFailure

from tocsin_server.domain.states import State
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.errors import OTHER_OPTIONS
from tocsin_server.store.mongo.transitions import KEEPS

Keys = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Index:
    """One index: its name, its keys, and what it is for."""

    name: str
    keys: Keys
    answers: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def model(self) -> IndexModel:
        """As pymongo makes it."""
        return IndexModel(list(self.keys), name=self.name, **self.options)


def _only(**condition: Any) -> Mapping[str, Any]:
    return {"partialFilterExpression": condition}


JOBS: Sequence[Index] = (
    Index("arrivals", [("queue", ASCENDING), ("arrival", DESCENDING)], "list: all jobs of a queue, newest first"),
    Index(
        "states",
        [("queue", ASCENDING), ("state", ASCENDING), ("type", ASCENDING), ("arrival", DESCENDING)],
        "list by states and types, newest first; counts by state and type; which types a queue has",
    ),
    Index(
        "tags",
        [("queue", ASCENDING), ("tags", ASCENDING), ("arrival", DESCENDING)],
        "list by tag, newest first",
        _only(tags={"$exists": True}),
    ),
    Index(
        "pending",
        [("queue", ASCENDING), ("state", ASCENDING), ("due", ASCENDING), ("arrival", ASCENDING)],
        "what comes due next; list by schedule time; what has been due longest",
        _only(state={"$lte": int(State.WAITING)}),
    ),
    Index(
        "claimable",
        [
            ("queue", ASCENDING),
            ("type", ASCENDING),
            ("priority", DESCENDING),
            ("due", ASCENDING),
            ("arrival", ASCENDING),
        ],
        "claim: the best WAITING jobs of a type",
        _only(state=int(State.WAITING)),
    ),
    Index(
        "waiting_of_key",
        [
            ("queue", ASCENDING),
            ("conditions.limit_key", ASCENDING),
            ("type", ASCENDING),
            ("priority", DESCENDING),
            ("due", ASCENDING),
            ("arrival", ASCENDING),
        ],
        "the best WAITING jobs of a key and type; how many wait of a key",
        _only(state=int(State.WAITING)),
    ),
    Index(
        "unfiled",
        [("queue", ASCENDING), ("unfiled", ASCENDING), ("arrival", ASCENDING)],
        "where keys take turns: which jobs have come to wait since the last claim",
        _only(unfiled={"$exists": True}),
    ),
    Index(
        "keepers",
        [
            ("queue", ASCENDING),
            ("type", ASCENDING),
            ("priority", DESCENDING),
            ("due", ASCENDING),
            ("arrival", ASCENDING),
        ],
        "where keys take turns: retries that keep the place of their key",
        _only(state=int(State.WAITING), placed=KEEPS),
    ),
    Index(
        "leases",
        [("queue", ASCENDING), ("lease", ASCENDING)],
        "which leases have run out, and when the next does; what a claim leased",
        _only(state=int(State.ACTIVE)),
    ),
    Index(
        "ended",
        [("queue", ASCENDING), ("state", ASCENDING), ("end", ASCENDING)],
        "trim by count: the oldest ended jobs",
        _only(state={"$gte": int(State.COMPLETED)}),
    ),
    Index(
        "keys",
        [("queue", ASCENDING), ("key", ASCENDING), ("after", ASCENDING)],
        "of a key one job is made at a time: each comes after another",
        {**_only(key={"$exists": True}), "unique": True},
    ),
    Index(
        "newest_of_key",
        [("queue", ASCENDING), ("key", ASCENDING), ("arrival", DESCENDING)],
        "the newest job of a key",
        _only(key={"$exists": True}),
    ),
    Index(
        "unfinished_of_key",
        [("queue", ASCENDING), ("key", ASCENDING), ("state", ASCENDING)],
        "jobs of a key that have not ended",
        _only(key={"$exists": True}),
    ),
    Index(
        "expiry",
        [("queue", ASCENDING), ("expire", ASCENDING)],
        "trim by age: whose retention is over, who has expired",
        _only(expire={"$exists": True}),
    ),
    Index(
        "errands",
        [("queue", ASCENDING), ("errand", ASCENDING)],
        "jobs that wait for others, or that others wait for: what is to be done when",
        _only(errand={"$exists": True}),
    ),
)


def of_events(kept_for_seconds: int) -> Sequence[Index]:
    """Indexes of the changes that are kept for watchers."""
    return (
        Index("changes", [("queue", ASCENDING), ("last", ASCENDING)], "changes after a cursor, in order"),
        Index("age", [("time", ASCENDING)], "changes too old to keep (TTL)", {"expireAfterSeconds": kept_for_seconds}),
    )


WORKERS: Sequence[Index] = (
    Index("silence", [("until", ASCENDING)], "processes not heard of any more (TTL)", {"expireAfterSeconds": 60}),
)

NOTES: Sequence[Index] = (
    Index("until", [("until", ASCENDING)], "notes that are of no use any more (TTL)", {"expireAfterSeconds": 0}),
)

CALENDARS: Sequence[Index] = (
    Index("changes", [("changed", ASCENDING)], "whose change is on its way to schedules", _only(changed=True)),
)

SCHEDULES: Sequence[Index] = (
    Index(
        "looks",
        [("queue", ASCENDING), ("look", ASCENDING)],
        "which schedules are to be looked at, and when the next is",
        _only(look={"$exists": True}),
    ),
)


CHILDREN: Sequence[Index] = (
    Index("parents", [("parent", ASCENDING), ("revision", ASCENDING)], "who waits for the end of a job"),
)


TURNS: Sequence[Index] = (
    Index(
        "turns",
        [("queue", ASCENDING), ("types", ASCENDING), ("tag", ASCENDING), ("given", ASCENDING), ("_id", ASCENDING)],
        "which keys' turns are next",
    ),
)


async def ensure(connection: MongoConnection, collection: str, wanted: Sequence[Index]) -> None:
    """Make the indexes that are not there; one that stands with another life span of its entries is changed."""
    try:
        await connection.run(lambda: connection.database[collection].create_indexes([one.model() for one in wanted]))
    except OperationFailure as error:
        if error.code != OTHER_OPTIONS:
            raise
        for one in wanted:
            if (seconds := one.options.get("expireAfterSeconds")) is not None:
                index = {"name": one.name, "expireAfterSeconds": seconds}
                await connection.run(partial(connection.database.command, {"collMod": collection, "index": index}))
        await connection.run(lambda: connection.database[collection].create_indexes([one.model() for one in wanted]))
