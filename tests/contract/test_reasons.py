"""Each reason for which a job does not run, made to happen. Those of limits and turns have no features yet."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from support.spied_store import SpiedStore
from tocsin_server.domain.commands import HoldJob
from tocsin_server.domain.conditions import Collapse, CollapseMode, Conditions
from tocsin_server.domain.defaults import JobDefaults, PushTarget
from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.explaining import Explanation, Why
from tocsin_server.domain.http_requests import HTTP_REQUEST
from tocsin_server.domain.job import View
from tocsin_server.domain.job_errors import JobNotFound
from tocsin_server.domain.lease import Extended, Extension
from tocsin_server.domain.queues import HeldJob, QueueSettings, WorkerFigures
from tocsin_server.domain.states import State
from tocsin_server.operations import moves
from tocsin_server.operations.explaining import Explaining
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.store_clock import StoreClock
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import (
    HOUR,
    MINUTE,
    SECOND,
    a_draft,
    a_job,
    added,
    cancelled,
    claimed_one,
    failed,
    finished,
    placed,
    read,
    standing,
)

SERVER = WorkerFigures("server 1", ("t",), slots=8, busy=3, abandoned=0)


def explaining(store: JobStore, silent_since: datetime | None = None) -> Explaining:
    """As a server that has just started explains: it has no answers of before at hand."""
    return Explaining(
        store, QueueSettingsCache(store, ttl=MINUTE).get, store.workers, StoreClock(), lambda: silent_since
    )


async def why(store: JobStore, job_id: str = "a") -> Explanation:
    """What ExplainJob says; GetJob and lists must say the same."""
    found = await explaining(store).explain("q", job_id)
    [in_list] = await explaining(store).each("q", [await read(store, job_id, View.BASIC)])
    assert (found.why, found.time, found.name, found.worker, found.ahead) == (
        in_list.why,
        in_list.time,
        in_list.name,
        in_list.worker,
        in_list.ahead,
    )
    return found


async def served(store: JobStore, **words: object) -> None:
    await store.announce([SERVER], "server 1", HOUR)


async def test_no_such_job(store: JobStore) -> None:
    with pytest.raises(JobNotFound):
        await explaining(store).explain("q", "a")


async def test_due_later(store: JobStore) -> None:
    [job] = await added(store, a_draft("a", when=3 * HOUR + 12 * MINUTE))
    found = await why(store)
    assert (found.why, found.time) == (Why.DUE_IN, job.schedule_time)
    assert found.sentence.startswith(("It is due in 3 h 12 min, at 20", "It is due in 3 h 11 min, at 20"))


async def test_to_be_tried_again(store: JobStore) -> None:
    await added(store, a_draft("a"))
    await finished(store, failed(await claimed_one(store), HOUR, type="TimeoutError"))
    found = await why(store)
    assert (found.why, found.time) == (Why.RETRYING_AT, (await read(store, "a")).schedule_time)
    assert found.sentence.startswith("Attempt 1 failed (TimeoutError); the next is due in ")


async def test_a_paused_queue(store: JobStore) -> None:
    await served(store)
    await added(store, a_draft("a"), a_draft("later", when=HOUR))
    paused = await store.put_settings("q", QueueSettings(pause_reason="stocktaking"), paused=True)
    found = await why(store)
    assert (found.why, found.time) == (Why.QUEUE_PAUSED, paused.paused_since)
    assert '"stocktaking"' in found.sentence
    later = await why(store, "later")
    assert later.why is Why.DUE_IN
    assert later.sentence.endswith("Its queue is paused, too.")


async def test_a_job_that_expires_says_when(store: JobStore) -> None:
    await served(store)
    await added(store, a_draft("a", conditions=Conditions(expire=HOUR)))
    found = await why(store)
    assert found.why is Why.BEHIND
    assert re.search(r"\. It expires in (1 h|59 min \d+ s) if it has not begun by then\.$", found.sentence)


async def test_a_job_that_expires_before_it_is_due(store: JobStore) -> None:
    expires = await store.ping() + HOUR
    await added(store, a_draft("a", when=2 * HOUR, conditions=Conditions(expire=expires)))
    found = await why(store)
    assert (found.why, found.time) == (Why.EXPIRES_AT, expires)
    assert "before it is due: it never begins." in found.sentence


async def test_a_job_whose_time_is_over(store: JobStore) -> None:
    await added(store, a_draft("a", conditions=Conditions(expire=await store.ping() - SECOND)))
    found = await why(store)
    assert found.why is Why.EXPIRES_AT
    assert "it is about to end, as expired." in found.sentence


async def test_a_held_job(store: JobStore) -> None:
    await added(store, a_draft("a"))
    await store.update("q", [HoldJob("a")])
    assert (await why(store)).why is Why.HELD


async def test_a_job_that_waits_for_one_of_its_key(store: JobStore) -> None:
    conditions = Conditions(collapse=Collapse("k", CollapseMode.RUN_AGAIN_AFTER))
    await added(store, a_draft("first", conditions=conditions))
    await claimed_one(store)
    await added(store, a_draft("a", conditions=conditions))
    found = await why(store)
    assert (found.why, found.job_ids) == (Why.BLOCKED_BY, ("first",))
    assert found.sentence == "It waits for job 'first' to end."


@pytest.mark.parametrize("done", [False, True])
async def test_a_queue_that_moves_away(store: JobStore, done: bool) -> None:
    await served(store)
    await added(store, a_draft("a"), a_draft("later", when=HOUR))
    done_time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) if done else None
    move = moves.Leaving("redis://other:6379", paused=False, reason="", done_time=done_time)
    await moves.write(store, "q", move, revision=0)
    settings = QueueSettings(pause_reason=moves.leaving("redis://other:6379"))
    await store.put_settings("q", settings, paused=True)
    for job_id in ("a", "later"):
        found = await why(store, job_id)
        assert (found.why, found.name, found.time) == (Why.MOVED, "redis://other:6379", done_time)


async def test_nobody_runs_its_type(store: JobStore) -> None:
    await added(store, a_draft("a"))
    assert ((found := await why(store)).why, found.name) == (Why.NO_WORKER, "t")
    others = [
        WorkerFigures("1", ("other",), 8, 0, 0),
        WorkerFigures("2", ("t",), 8, 0, 0, queues=("other",)),
    ]
    await store.announce(others, "server 1", HOUR)
    assert (await why(store)).why is Why.NO_WORKER
    await store.announce([SERVER], "server 2", HOUR)
    assert (await why(store)).why is Why.BEHIND


async def test_nobody_runs_its_type_in_a_version_that_is_late_enough(store: JobStore) -> None:
    await added(store, a_draft("a"))
    settings = QueueSettings(type_defaults={"t": JobDefaults(min_worker_version="2.10")})
    await store.put_settings("q", settings, paused=False)
    await store.announce([replace(SERVER, version="2.9.1")], "server 1", HOUR)
    found = await why(store)
    assert found.why is Why.NO_WORKER
    assert "in version 2.10 or a later one" in found.sentence
    await store.announce([replace(SERVER, version="2.11")], "server 1", HOUR)
    assert (await why(store)).why is Why.BEHIND


async def test_what_is_pushed_is_taken_by_servers_that_make_requests(store: JobStore) -> None:
    await added(store, a_draft("a"))
    settings = QueueSettings(type_defaults={"t": JobDefaults(push=PushTarget("http://10.0.0.1/"))})
    await store.put_settings("q", settings, paused=False)
    await store.announce([SERVER, replace(SERVER, types=(HTTP_REQUEST,), remote=True)], "server 1", HOUR)
    found = await why(store)
    assert found.why is Why.NO_WORKER
    assert "10.0.0.1" not in found.sentence
    await store.announce([SERVER], "server 1", HOUR)  # its handlers give way
    assert (await why(store)).why is Why.NO_WORKER
    await store.announce([SERVER, replace(SERVER, worker="server 1/http", types=("http_request",))], "server 1", HOUR)
    assert (await why(store)).why is Why.BEHIND


async def test_behind_others(store: JobStore, backdate: Backdate) -> None:
    await served(store)
    await added(store, a_draft("first"), a_draft("a"), a_draft("urgent", priority=1), a_draft("b", type="other"))
    found = await why(store)
    assert (found.why, found.ahead, found.name) == (Why.BEHIND, 2, "t")
    assert "2 jobs are taken before it" in found.sentence
    assert "5 free slots" in found.sentence
    assert ((head := await why(store, "urgent")).why, head.ahead) == (Why.BEHIND, 0)
    await claimed_one(store)
    assert (await why(store)).ahead == 1


async def test_due_and_not_waiting_yet_is_due(store: JobStore, backdate: Backdate) -> None:
    await served(store)
    [job] = await added(store, a_draft("a", when=HOUR))
    backdate.due(job, by=HOUR + MINUTE)
    assert (await read(store, "a")).state is State.SCHEDULED
    assert ((found := await why(store)).why, found.ahead) == (Why.BEHIND, 0)


async def test_leased(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    [answer] = await store.extend([Extension(one.lease)], HOUR)
    assert isinstance(answer, Extended)
    nobody = await why(store)
    assert (nobody.why, nobody.worker, nobody.time) == (Why.LEASED_BY, "", answer.lease_end)
    earlier = WorkerFigures("earlier", ("t",), 1, 1, 0, held=(HeldJob("q", "a", "t", 0),))
    holder = WorkerFigures("resizer-1", ("t",), 1, 1, 0, held=(HeldJob("q", "a", "t", 1),), remote=True)
    await store.announce([SERVER, earlier, holder], "server 1", HOUR)
    found = await why(store)
    assert (found.why, found.worker, found.time) == (Why.LEASED_BY, "resizer-1", answer.lease_end)
    assert found.seen_time == (await store.workers())[1].seen_time
    assert found.sentence.startswith("resizer-1 runs attempt 1, was last heard of less than a second ago, and has")


async def test_a_lease_that_ran_out(store: JobStore, backdate: Backdate) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    backdate.lease(one.job, by=HOUR)
    found = await why(store)
    assert found.why is Why.LEASED_BY
    assert "let its lease run out" in found.sentence


async def test_a_cancel_that_was_asked_is_told(store: JobStore) -> None:
    await added(store, a_draft("a"))
    one = await claimed_one(store)
    await cancelled(store, one.job, grace=30 * SECOND)
    assert (await why(store)).sentence.endswith("of which it is yet to be told.")
    await store.extend([Extension(one.lease)], MINUTE)
    assert (await why(store)).sentence.endswith("of which it was told.")


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
async def test_ended(store: JobStore, state: State) -> None:
    job, _ = await standing(store, state, "a")
    found = await why(store)
    assert (found.why, found.time) == (Why.ENDED, job.end_time)
    assert found.sentence.startswith(f"It has ended {state.name}, ")


async def test_blocked(store: JobStore) -> None:
    await placed(store, a_job("a", state=State.BLOCKED))
    assert (await why(store)).why is Why.BLOCKED_BY


async def test_a_store_that_does_not_answer_is_a_reason(store: JobStore) -> None:
    await added(store, a_draft("a"))
    spied = SpiedStore(store)
    for lost in ("explain", "settings", "workers"):
        spied.away = {lost}
        found = await explaining(cast(JobStore, spied)).explain("q", "a")
        assert (found.why, found.time) == (Why.STORE_AWAY, None)
    since = datetime.now(UTC) - timedelta(minutes=1)
    found = await explaining(store, since).explain("q", "a")
    assert (found.why, found.time) == (Why.STORE_AWAY, since)
    spied.away = {"explain"}
    job = await read(store, "a")
    with pytest.raises(StoreAway):
        await explaining(cast(JobStore, spied)).each("q", [job])


async def test_many_are_explained_by_one_question(store: JobStore) -> None:
    await served(store)
    drafts = [a_draft(f"{number}", when=HOUR if number % 2 else 0 * HOUR) for number in range(40)]
    jobs = await added(store, *drafts)
    spied = SpiedStore(store)
    found = await explaining(cast(JobStore, spied)).each("q", jobs)
    assert [one.why for one in found] == [Why.BEHIND, Why.DUE_IN] * 20
    assert [one.ahead for one in found[::2]] == list(range(20))
    assert spied.calls == {"explain": 1, "settings": 1, "workers": 1}


async def test_those_who_ask_at_one_time_share_a_question_for_workers(store: JobStore) -> None:
    await served(store)
    jobs = await added(store, *(a_draft(f"{number}") for number in range(20)))
    spied = SpiedStore(store)
    explains = explaining(cast(JobStore, spied))
    spied.away = {"workers"}
    failed = await asyncio.gather(*(explains.each("q", [job]) for job in jobs), return_exceptions=True)
    assert {type(one) for one in failed} == {StoreAway}
    spied.away = set()
    before = spied.calls["workers"]
    found = await asyncio.gather(*(explains.each("q", [job]) for job in jobs))
    assert [one.ahead for [one] in found] == list(range(20))
    assert spied.calls["workers"] == before + 1


async def test_of_jobs_that_are_not_due_or_have_ended_the_store_is_not_asked(store: JobStore) -> None:
    ended, _ = await standing(store, State.COMPLETED, "ended")
    [later] = await added(store, a_draft("later", when=HOUR))
    spied = SpiedStore(store)
    explains = explaining(cast(JobStore, spied))
    assert [one.why for one in await explains.each("q", [ended])] == [Why.ENDED]
    assert spied.calls == {}
    for _ in range(5):
        assert [one.why for one in await explains.each("q", [ended, later])] == [Why.ENDED, Why.DUE_IN]
    assert spied.calls == {"settings": 1}
