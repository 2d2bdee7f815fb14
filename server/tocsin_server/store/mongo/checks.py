"""At boot: may this store be used, and what does it promise."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from pymongo.errors import OperationFailure

from tocsin_server.domain.errors import StoreAway
from tocsin_server.store.clocks import check_clock
from tocsin_server.store.encryption_mark import check_mark
from tocsin_server.store.interface import Durability, StoreInfo, StoreUnfit
from tocsin_server.store.mongo.clock import AHEAD
from tocsin_server.store.mongo.connection import Document, MongoConnection
from tocsin_server.store.mongo.errors import NOT_ALLOWED

OLDEST = (6, 0)
FORMAT = 1  # of what is stored; a server refuses a higher one
ENCRYPTED = "encrypted"  # beside the format: the id of the key that the store was last written with


async def check(
    connection: MongoConnection, collection: str, *, manual_clock: bool = False, has_keys: bool = False
) -> tuple[StoreInfo, list[str]]:
    """What the store is, and warnings of one line each; changes nothing.

    StoreUnfit where it must not be used: too old, read-only, of a newer format, or the collection holds documents that
    are not Tocsin's. StoreAway.
    """
    with unfit_where_not_allowed(connection):
        hello = await connection.open()
        build = await connection.run(lambda: connection.client.admin.command("buildInfo"), read_only=True)
        await _check_contents(connection, collection, manual_clock, has_keys)
        await _refuse_collations(connection, collection)
    refuse_routers(hello)
    version = ".".join(map(str, build["versionArray"][:3]))
    if tuple(build["versionArray"][:2]) < OLDEST:
        raise StoreUnfit(f"MongoDB {version} is too old: {OLDEST[0]}.{OLDEST[1]} or newer is needed")
    warnings = []
    if not has_change_streams(hello):
        warnings.append(
            "MongoDB runs as a standalone server: wake-ups and watches are polled, and no write is kept by a second "
            "server. Make it a replica set, of one member at least."
        )
    return StoreInfo("mongo", f"mongodb {version}", Durability.EACH_WRITE, embedded=False), warnings


@contextmanager
def unfit_where_not_allowed(connection: MongoConnection) -> Iterator[None]:
    """A login that is refused, or may not do what is needed, is no store to wait for."""
    try:
        yield
    except StoreAway as error:
        refused = error.__cause__
        if not isinstance(refused, OperationFailure) or refused.code not in NOT_ALLOWED:
            raise
        said = str(refused).partition(", full error:")[0]
        raise StoreUnfit(
            f"MongoDB refuses the user of the URL ({said}): mend user and password, and "
            f"give the user the role readWrite on database {connection.database.name!r}"
        ) from None


def has_change_streams(hello: Document) -> bool:
    """A replica set."""
    return "setName" in hello


def refuse_routers(hello: Document) -> None:
    """StoreUnfit where a mongos has answered."""
    if hello.get("msg") == "isdbgrid":
        raise StoreUnfit(
            "MONGODB_URL leads to a mongos: sharded clusters are not supported (an _id would be unique in each shard "
            "alone, and the clock would be the router's). Give the address of a replica set."
        )


async def _refuse_collations(connection: MongoConnection, collection: str) -> None:
    """Ids that differ in case or accents alone must be two."""

    async def ask() -> list[MutableMapping[str, Any]]:
        return await (await connection.database.list_collections()).to_list()

    for found in await connection.run(ask, read_only=True):
        name = str(found["name"])
        if (name == collection or name.startswith(f"{collection}.")) and "collation" in found.get("options", {}):
            raise StoreUnfit(
                f"collection {name!r} of database {connection.database.name!r} was made with a collation, by which "
                "different ids may be equal: set QUEUE_COLLECTION to another name"
            )


async def _check_contents(connection: MongoConnection, collection: str, manual_clock: bool, has_keys: bool) -> None:
    format_of = connection.database[f"{collection}.format"]
    marker = await connection.run(lambda: format_of.find_one({}), read_only=True)
    if marker is not None and int(marker["format"]) > FORMAT:
        raise StoreUnfit(
            f"the store holds format {marker['format']}, this server knows {FORMAT}: "
            "run a newer server, or another collection"
        )
    if marker is not None:
        check_clock(manual=manual_clock, made_manual=AHEAD in marker)
        check_mark(str(marker.get(ENCRYPTED, "")), keys=has_keys)
    # Every document of ours has a queue. Once our index stands the question costs nothing; before it, the first
    # document answers.
    foreign: dict[str, Any] | None = await connection.run(
        lambda: connection.database[collection].find_one({"queue": None}, {"_id": 1}), read_only=True
    )
    if foreign is None and marker is None:
        foreign = await connection.run(
            lambda: connection.database[collection].find_one({"writes": None}, {"_id": 1}), read_only=True
        )
    if foreign is not None:
        raise StoreUnfit(
            f"collection {collection!r} of database {connection.database.name!r} holds documents that are not "
            "Tocsin's (Agenda's, it may be), and was left as it is: set QUEUE_COLLECTION to another name, or import "
            "its jobs into another collection with `tocsin migrate --from agenda` (docs/from-agenda.md)"
        )
