"""Each query has an index that answers it: by MongoDB's rules on the keys, and by what the test server can tell.

SecantusDB sorts without indexes and looks at none for `$expr`, so its own choice of a plan says nothing of a mongod's.
It is asked whether the index that is meant can be used (`hint`), is walked then, and misses nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from contract.builders import (
    HOUR,
    MINUTE,
    NOW,
    a_draft,
    a_job,
    a_query,
    a_request,
    added,
    claimed,
    completed,
    failed,
    finished,
    good,
)
from pymongo.collection import Collection
from pymongo.database import Database
from support.mongo_servers import DATABASE, MongoServer
from support.mongo_stores import JOBS, opened
from support.mongo_wire import Document, command_of
from support.tcp_proxy import Fate, TcpProxy
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.dependencies import EndedParent, ParentJob
from tocsin_server.domain.filters import Order
from tocsin_server.domain.queue_limits import Limit, LimitScope, OnFull
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.store.interface import StoreUnfit
from tocsin_server.store.mongo import indexes
from tocsin_server.store.mongo.indexes import Index
from tocsin_server.store.mongo.store import MongoStore

INDEXES = {
    JOBS: indexes.JOBS,
    f"{JOBS}.events": indexes.of_events(3600),
    f"{JOBS}.children": indexes.CHILDREN,
    f"{JOBS}.turns": indexes.TURNS,
}
WAITING = frozenset({State.WAITING})
T = frozenset({"t"})

Call = Callable[[MongoStore], Awaitable[object]]


async def _new_type(store: MongoStore) -> None:
    await added(store, a_draft(type="new"))


async def _events(store: MongoStore) -> None:
    cursor = await store.cursor("q")
    await added(store, a_draft())
    assert (await store.events("q", cursor, wait=MINUTE)).events


async def _told(store: MongoStore) -> None:
    await store.dependencies.told("q", [EndedParent(b"1/a", ParentJob("q", "a", 1), ())])


async def _turns(store: MongoStore) -> None:
    """Of a queue of its own; a retry has its key's place."""
    one = Limit("one", LimitScope.KEY, max_active=1)
    await store.put_settings("f", QueueSettings(limits=(one,), fair_turns=True), paused=False)
    drafts = [a_draft(queue="f", type=type_, conditions=Conditions(key)) for key in "kl" for type_ in "tu"]
    await added(store, *drafts, a_draft(queue="f"))
    first, *_ = await claimed(store, queue="f", types="tu")
    await finished(store, failed(first, NOW - NOW))
    assert await claimed(store, queue="f", types="tu")
    await store.explain("f", [first.job.job_id])


async def _ageing(store: MongoStore) -> None:
    """More of each priority than a claim reads."""
    for queue, fair in (("g", False), ("h", True)):
        settings = QueueSettings(fair_turns=fair, priority_ageing=MINUTE)
        await store.put_settings(queue, settings, paused=False)
        drafts = [a_draft(queue=queue, type="tu"[n % 2], priority=n % 3, conditions=Conditions("k")) for n in range(30)]
        _, last = (await added(store, *drafts))[-2:]
        assert len(await claimed(store, 2, queue=queue, types="tu")) == 2
        await store.explain(queue, [last.job_id])


async def _strict(store: MongoStore) -> None:
    limits = [Limit(f"{scope}", scope, max_active=1, on_full=OnFull.CANCEL_NEW) for scope in LimitScope]
    limits = [replace(limit, type="t") if limit.scope is LimitScope.TYPE else limit for limit in limits]
    for number, limit in enumerate(limits):
        queue = f"s{number}"
        await store.put_settings(queue, QueueSettings(limits=(limit,)), paused=False)
        await added(store, *(a_draft(queue=queue, conditions=Conditions("k")) for _ in range(2)))
        await added(store, a_draft(queue=queue, conditions=Conditions("k")))


#: A call, and the indexes that it is meant to use.
CALLS: dict[str, tuple[Call, set[str]]] = {
    "claim": (
        lambda store: store.claim("q", {"t": 9, "u": 9}, 9, lease=MINUTE, request=a_request()),
        {"pending", "claimable"},
    ),
    "claim a few of each type": (
        lambda store: store.claim("q", {"t": 1, "u": 2}, 9, lease=MINUTE, request=a_request()),
        {"pending", "claimable"},
    ),
    "reap": (lambda store: store.reap("q"), {"leases"}),
    "trim": (lambda store: store.trim("q", completed_max=0, failed_max=0), {"expiry", "ended"}),
    "ticks": (lambda store: store.ticks(["q"]), {"pending", "leases", "expiry", "errands"}),
    "errands": (lambda store: store.dependencies.errands("q"), {"errands"}),
    "told": (_told, {"parents"}),
    "count": (lambda store: store.figures("q"), {"states", "pending"}),
    "list": (lambda store: store.page(a_query()), {"arrivals"}),
    "list by states": (lambda store: store.page(a_query(states=WAITING)), {"states"}),
    "list by types": (lambda store: store.page(a_query(types=T)), {"states"}),
    "list by both": (lambda store: store.page(a_query(states=WAITING, types=T)), {"states"}),
    "list by a tag": (lambda store: store.page(a_query(tags={"k": "v"})), {"tags"}),
    "list by priority": (lambda store: store.page(a_query(priority_min=1)), {"arrivals"}),
    "list the soonest": (
        lambda store: store.page(a_query(order=Order.SOONEST, states=frozenset({State.SCHEDULED}))),
        {"pending"},
    ),
    "a new type": (_new_type, {"states"}),
    "put": (lambda store: store.put([a_job(type="new", arrival=5)], over=True), {"arrivals", "states"}),
    "events": (_events, {"changes"}),
    "turns": (_turns, {"turns", "unfiled", "keepers", "waiting_of_key"}),
    "ageing": (_ageing, {"claimable", "waiting_of_key"}),
    "full limits": (_strict, {"states", "waiting_of_key"}),
}


class Ear:
    """Hears the commands that pass a proxy."""

    def __init__(self, proxy: TcpProxy) -> None:
        self.heard: list[Document] = []
        proxy.order(self._hear, Fate.HELD)

    def _hear(self, piece: bytes) -> bool:
        if command := command_of(piece):
            self.heard.append(command)
        return False  # let it pass


@pytest.fixture
def proxy(server: MongoServer) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", server.port) as proxy:
        yield proxy


async def a_full_house(store: MongoStore) -> None:
    """Jobs in many states, of two types, with tags and without."""
    drafts = [
        a_draft(when=HOUR if i % 2 else NOW, type="tu"[i % 3 == 0], priority=i % 4, tags={"k": "v"} if i % 5 else {})
        for i in range(60)
    ]
    await added(store, *drafts, a_draft(queue="other"))
    done, dead, back, *_ = await claimed(store, 8, types=["t", "u"])
    await finished(store, completed(done), failed(dead), failed(back, HOUR))


Query = tuple[str, Document, Mapping[str, int]]  # collection, filter, sort


def queries(command: Document) -> Iterator[Query]:
    """The queries in a command: of itself, and of each $lookup."""
    if "find" in command:
        yield command["find"], command.get("filter", {}), command.get("sort", {})
    elif "distinct" in command:
        yield command["distinct"], command.get("query", {}), {}
    elif "count" in command and "query" in command:
        yield command["count"], command["query"], {}
    elif "aggregate" in command:
        yield command["aggregate"], *_of_pipeline(command["pipeline"])
        for stage in command["pipeline"]:
            if look := stage.get("$lookup"):
                condition, order = _of_pipeline(look.get("pipeline", []))
                yield look["from"], {look["foreignField"]: "q", **condition}, order


def _of_pipeline(pipeline: Sequence[Document]) -> tuple[Document, Mapping[str, int]]:
    condition: Document = {}
    order: Mapping[str, int] = {}
    for stage in pipeline:
        if "$group" in stage or "$lookup" in stage:
            break
        condition |= stage.get("$match", {})
        order = stage.get("$sort", order)
    return condition, order


def fits(index: Index, condition: Document, order: Mapping[str, int]) -> bool:
    """Whether the index finds these documents in this order: what is equal first, then the order, in its own direction
    or backwards; and a partial one holds all of them."""
    equal = {name for name, value in condition.items() if _is_equality(value)}
    keys = list(index.keys)
    while keys and keys[0][0] in equal:
        keys.pop(0)
    prefix = {name for name, _ in index.keys[: len(index.keys) - len(keys)]}
    partial = index.options.get("partialFilterExpression", {})
    if not prefix or not _implied(partial, condition):
        return False
    if not order:
        return equal <= prefix | {name for name, wanted in partial.items() if _is_equality(wanted)}
    wanted = list(order.items())
    return keys[: len(wanted)] in (wanted, [(name, -direction) for name, direction in wanted])


def _is_equality(value: object) -> bool:
    return not isinstance(value, dict) or set(value) in ({"$in"}, {"$in", "$lte"})


def _implied(partial: Mapping[str, Any], condition: Document) -> bool:
    def values(name: str) -> list[Any]:
        value = condition.get(name)
        return value["$in"] if isinstance(value, dict) and "$in" in value else [value]

    for name, wanted in partial.items():
        if name not in condition:
            return False
        if wanted == {"$exists": True}:
            continue
        if isinstance(condition[name], dict) and "$in" not in condition[name]:
            return False
        for value in values(name):
            holds = {
                "$lte": lambda limit, value=value: value <= limit,
                "$gte": lambda limit, value=value: value >= limit,
                "$eq": lambda limit, value=value: value == limit,
            }
            for operator, limit in (wanted if isinstance(wanted, dict) else {"$eq": wanted}).items():
                if not holds[operator](limit):
                    return False
    return True


def walked(plan: object) -> set[str]:
    """Names of the indexes in a plan; "" stands for a walk over the whole collection."""
    names = set()
    if isinstance(plan, dict):
        if plan.get("stage") in {"IXSCAN", "COLLSCAN"}:
            names.add(str(plan.get("indexName", "")))
        plan = list(plan.values())
    if isinstance(plan, list):
        for part in plan:
            names |= walked(part)
    return names


def found(jobs: Collection[Document], condition: Document, **options: Any) -> set[Any]:
    """Which documents these are."""
    pipeline = [{"$match": condition}, {"$project": {"_id": 1}}]  # a `find` of this server does not know $$NOW
    return {document["_id"] for document in jobs.aggregate(pipeline, **options)}


@pytest.mark.parametrize("name", CALLS)
async def test_each_query_of_a_call_has_the_index_meant(
    server: MongoServer, proxy: TcpProxy, database: Database[Document], name: str
) -> None:
    call, meant = CALLS[name]
    ear = Ear(proxy)
    async with opened(f"mongodb://127.0.0.1:{proxy.port}/{DATABASE}?directConnection=true") as store:
        await a_full_house(store)
        ear.heard.clear()
        good(await call(store))
        asked = [query for command in ear.heard for query in queries(command)]

    used: set[str] = set()
    for collection, condition, order in asked:
        if "_id" in condition or collection not in INDEXES:
            continue  # found by its key
        fitting = [index.name for index in INDEXES[collection] if fits(index, condition, order)]
        assert "$expr" not in condition, "its bounds would hang on how a server takes $$NOW"
        assert fitting, f"no index answers {condition} in the order {order}"
        used.update(fitting)
        jobs = database[collection]
        everything = found(jobs, condition)
        for index in fitting:
            query = {"find": collection, "filter": condition, "sort": dict(order), "hint": index}
            assert walked(database.command("explain", query, verbosity="queryPlanner")["queryPlanner"]) == {index}
            assert found(jobs, condition, hint=index) == everything
    assert meant <= used


async def test_jobs_are_changed_by_their_key_alone(server: MongoServer, proxy: TcpProxy) -> None:
    ear = Ear(proxy)
    async with opened(f"mongodb://127.0.0.1:{proxy.port}/{DATABASE}?directConnection=true") as store:
        await a_full_house(store)
        for call, _ in CALLS.values():
            await call(store)
    writes = [
        write["q"]
        for command in ear.heard
        for kind in ("update", "delete")
        if command.get(kind) == JOBS
        for write in command[f"{kind}s"]
    ]
    assert len(writes) > 5
    for write in writes:
        if set(write) == {"queue", "state", "placed"}:
            assert write["state"] == State.ACTIVE  # once, when limits are set
            continue
        named = write["_id"]
        assert isinstance(named, str) or set(named) == {"$in"}, write


async def test_the_documented_indexes_are_made_and_no_others(store: MongoStore, database: Database[Document]) -> None:
    for collection, wanted in INDEXES.items():
        made = database[collection].index_information()
        assert {name: made[name]["key"] for name in made if name != "_id_"} == {
            index.name: [tuple(key) for key in index.keys] for index in wanted
        }


def test_the_rule_sees_an_index_that_does_not_fit() -> None:
    claimable = next(index for index in indexes.JOBS if index.name == "claimable")
    best = {"priority": -1, "due": 1, "arrival": 1}
    assert fits(claimable, {"queue": "q", "state": 3, "type": "t"}, best)
    assert not fits(claimable, {"queue": "q", "state": 3, "type": "t"}, {**best, "priority": 1})
    assert not fits(claimable, {"queue": "q", "state": 1, "type": "t"}, best)
    assert not fits(claimable, {"queue": "q", "state": 3}, best)
    assert not fits(claimable, {"state": 3, "type": "t"}, best)


async def test_a_collection_in_which_different_ids_may_be_equal_is_refused(
    server: MongoServer, database: Database[Document]
) -> None:
    database.create_collection(JOBS, collation={"locale": "en", "strength": 2})
    with pytest.raises(StoreUnfit, match="collation"):
        async with opened(server.url):
            pass
