"""What a call costs beside its own work, and what it costs where much stands, is bounded."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from contract.builders import HOUR, MINUTE, a_draft, a_query, a_request, added, claimed_one, completed, good
from pymongo.database import Database
from support.eventually import until_async
from support.mongo_servers import Document, MongoServer, order_fault
from support.mongo_stores import JOBS, opened
from support.mongo_trace import Sent, Trace, tracing
from tocsin_server.domain.filters import Order
from tocsin_server.domain.lease import Extension, Finished
from tocsin_server.domain.states import State
from tocsin_server.store.mongo import figures
from tocsin_server.store.mongo.connection import MongoConnection
from tocsin_server.store.mongo.store import MongoStore

SCHEDULED = frozenset({State.SCHEDULED})


def sent(trace: Trace, name: str, collection: str = JOBS) -> list[Sent]:
    """The commands of this name to this collection."""
    return [one for one in trace.sent if (one.name, one.collection) == (name, collection)]


async def test_no_call_waits_until_old_changes_are_deleted(server: MongoServer) -> None:
    """They may be 10,000."""
    store = MongoStore(MongoConnection(server.url), JOBS, events_max=10)
    await store.open()
    try:
        await added(store, a_draft("first"))
        server.fail("alwaysOn", failCommands=["delete"], blockConnection=True, blockTimeMS=1500)
        with tracing() as trace:
            await added(store, *(a_draft() for _ in range(20)))

            async def begun() -> bool:
                return bool(sent(trace, "delete", f"{JOBS}.events"))

            await until_async(begun, within=5)
            [deletion] = sent(trace, "delete", f"{JOBS}.events")
            assert not deletion.answered, "the call has waited for it"
    finally:
        await store.close()


async def test_a_count_that_takes_too_long_is_given_up_by_the_server_too(store: MongoStore) -> None:
    """Else the server goes on counting for nobody, and once more for each who asks again."""
    await added(store, a_draft())
    with tracing() as trace:
        await store.figures("q")
        await store.page(a_query())
    counts = [*[one for one in sent(trace, "aggregate") if "hint" in one.command], *sent(trace, "count")]
    assert [one.command["maxTimeMS"] for one in counts] == [10_000] * 2  # as `opened` has it: answer_within


async def test_who_asks_while_a_slow_count_is_under_way_waits_for_its_answer(
    store: MongoStore, database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "_SLOW", 0.1)
    await added(store, a_draft())
    with tracing() as trace:
        order_fault(database.client, "alwaysOn", failCommands=["aggregate"], blockConnection=True, blockTimeMS=800)
        first = asyncio.ensure_future(store.figures("q"))
        await asyncio.wait([first], timeout=0.3)
        assert not first.done()
        second = await store.figures("q")
        database.client.admin.command("configureFailPoint", "failCommand", mode="off")
        third = await store.figures("q")  # it took long, so it is kept
    assert (await first).counts == second.counts == third.counts
    assert len([one for one in sent(trace, "aggregate") if "hint" in one.command]) == 1


async def test_a_claim_of_many_types_is_cut_into_queries_that_an_index_can_answer_in_order(store: MongoStore) -> None:
    """Of more than 200 walks side by side a mongod would sort all jobs that match."""
    types = [f"type-{number:03}" for number in range(250)]
    await added(store, *(a_draft(name, type=name, priority=at) for at, name in enumerate(types)))
    with tracing() as trace:
        claim = await store.claim("q", dict.fromkeys(types, 3), 3, lease=MINUTE, request=a_request())
    assert [one.job.job_id for one in claim.claimed] == ["type-249", "type-248", "type-247"]
    asked = [one.command["pipeline"][0]["$match"] for one in sent(trace, "aggregate")]
    widths = [len(condition["type"]["$in"]) for condition in asked if "type" in condition]
    assert sum(widths) == 250
    assert max(widths) <= 100


async def test_a_claim_asks_once_for_all_types_though_few_of_some_may_run(store: MongoStore) -> None:
    """Each type with a limit of its own would be a query of its own, for each claim."""
    limits = {"often": 9} | {f"type-{number}": 2 for number in range(9)}
    await added(store, *(a_draft(type=name) for name in limits))
    with tracing() as trace:
        claim = await store.claim("q", limits, 9, lease=MINUTE, request=a_request())
    assert len(claim.claimed) == 9
    assert len(sent(trace, "aggregate")) == 2  # and what has come due


async def test_a_type_of_which_no_more_may_run_hides_no_other(store: MongoStore) -> None:
    await added(store, *(a_draft(f"first {number}", type="first", priority=9) for number in range(30)))
    await added(store, *(a_draft(f"second {number}", type="second", priority=5) for number in range(30)))
    await added(store, *(a_draft(f"third {number}", type="third") for number in range(3)))
    limits = {"first": 2, "second": 1, "third": 9}
    claim = await store.claim("q", limits, 9, lease=MINUTE, request=a_request())
    assert [one.job.job_id for one in claim.claimed] == [
        *("first 0", "first 1", "second 0"),
        *("third 0", "third 1", "third 2"),
    ]
    assert not claim.more


async def test_a_page_by_schedule_time_is_bounded_by_where_the_last_one_ended(store: MongoStore) -> None:
    """The rest of where it goes on is an `$or`, which bounds nothing for sure."""
    await added(store, *(a_draft(f"{number}", when=HOUR) for number in range(5)))
    seen: list[str] = []
    query = a_query(order=Order.SOONEST, states=SCHEDULED, limit=2)
    page = await store.page(query)
    while page.next is not None:
        seen += [job.job_id for job in page.jobs]
        with tracing() as trace:
            page = await store.page(replace(query, after=page.next))
        [asked] = [one.command["filter"] for one in sent(trace, "find")]
        assert set(asked["due"]) == {"$gte"}
    assert [*seen, *(job.job_id for job in page.jobs)] == ["0", "1", "2", "3", "4"]


async def test_an_attempt_that_ends_in_a_second_round_is_counted_once(
    store: MongoStore, server: MongoServer, database: Database[Document]
) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    async with opened(server.url) as other:
        allocate = store._queues.allocate

        async def interrupted(*args: object, **words: object) -> object:
            taken = await allocate(*args, **words)  # type: ignore[arg-type]  # passed on
            store._queues.allocate = allocate  # type: ignore[method-assign]  # once
            await other.extend([Extension(one.lease, (0.5, "half"))], MINUTE)  # so the write that follows is lost
            return taken

        store._queues.allocate = interrupted  # type: ignore[method-assign,assignment]
        with tracing() as trace:
            [ended] = await store.finish([completed(one)])
    assert good(ended) == Finished(State.COMPLETED, repeated=False)
    assert len(sent(trace, "update")) == 3, "there were not two rounds beside the heartbeat"
    head = database[f"{JOBS}.queues"].find_one({"_id": "q"})
    assert head is not None
    assert sum(head["rates"].values()) == 1
