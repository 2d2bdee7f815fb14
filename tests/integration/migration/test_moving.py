"""A queue moved between stores, and all that can come in between: jobs that run, clients that go on, runs that die."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from contract.builders import (
    HOUR,
    LATER,
    a_draft,
    a_query,
    added,
    cancelled,
    claimed,
    claimed_one,
    completed,
    finished,
    good,
    listed,
    read,
)
from tocsin_server.domain.commands import UpdateJob
from tocsin_server.domain.job import Retention, View
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.migrate.move.moving import CannotMove, move_queue
from tocsin_server.migrate.move.verifying import verify
from tocsin_server.migrate.stores import Side

from integration.migration.filling import fill
from integration.migration.moves import Two, hooked, moved, paused


async def test_a_queue_of_all_kinds_is_the_same_afterwards(places: Two) -> None:
    source, target = places
    await fill(source.store, "q", 400)
    one = await moved(places)
    assert (one.done, one.copied.placed, one.copied.same, one.copied.removed) == (True, 400, 0, 0)
    assert one.verified is not None
    assert (one.verified.ok, one.verified.equal, one.verified.notes, one.verified.target_only) == (True, 400, 1, 0)
    assert await listed(target.store, a_query(limit=100)) == await listed(source.store, a_query(limit=100))
    theirs, ours = await source.store.figures("q"), await target.store.figures("q")
    assert (ours.counts, ours.oldest_waiting) == (theirs.counts, theirs.oldest_waiting)
    note = await target.store.read_note("q", "booking/42")
    assert note is not None
    assert note.value == b"\x00a note"


async def test_the_target_goes_on_and_the_source_does_not(places: Two) -> None:
    source, target = places
    jobs = await added(source.store, *(a_draft(priority=number % 3) for number in range(9)))
    assert (await moved(places)).done
    assert (await paused(source.store), await paused(target.store)) == (True, False)
    assert await claimed(source.store) == []
    best = sorted(jobs, key=lambda job: (-job.spec.priority, job.schedule_time, job.arrival))
    assert [one.job.job_id for one in await claimed(target.store)] == [job.job_id for job in best]
    [new] = await added(target.store, a_draft())
    assert (await listed(target.store, a_query()))[0] == new.job_id, "what comes now comes after all that came before"


async def test_a_queue_that_was_paused_stays_so_with_its_settings(places: Two) -> None:
    source, target = places
    await added(source.store, a_draft())
    await source.store.put_settings("q", QueueSettings(pause_reason="stocktaking", completed_max=7), paused=True)
    assert (await moved(places)).done
    [settings] = await target.store.settings(["q"])
    assert (settings.paused, settings.pause_reason, settings.completed_max) == (True, "stocktaking", 7)


async def test_what_clients_do_meanwhile_is_moved_too(places: Two) -> None:
    source, target = places
    jobs = await added(source.store, *(a_draft(f"j{number}", when=HOUR) for number in range(300)))
    did: list[str] = []

    def tell(done: int, total: int) -> None:
        if done and not did:
            did.append("")
            under_way.append(asyncio.ensure_future(interfere()))

    async def interfere() -> None:
        await cancelled(source.store, jobs[-1])
        await added(source.store, a_draft("late"))
        [changed] = await source.store.update("q", [UpdateJob("j0", priority=9)])
        good(changed)
        [answer] = await source.store.delete("q", [jobs[-2].job_id], ended_only=False)
        assert answer is None

    under_way: list[asyncio.Future[None]] = []
    while not (one := await move_queue(source, target, "q", patience=timedelta(0), check=True, tell=tell)).done:
        pass
    await asyncio.gather(*under_way)
    # What came after the last look is brought by another run.
    again = await moved(places)
    assert again.already
    assert one.verified is not None
    assert one.verified.ok
    assert (await read(target.store, jobs[-1])).state is State.CANCELLED
    assert (await read(target.store, "late")).state is State.WAITING
    assert (await read(target.store, "j0")).spec.priority == 9
    assert await target.store.get("q", [jobs[-2].job_id], View.BASIC) == [None]


async def test_what_clients_do_while_it_is_compared_is_moved_too(places: Two) -> None:
    source, target = places
    [job] = await added(source.store, a_draft("cancelled late", when=HOUR))
    came: list[str] = []

    async def clients(verb: str) -> None:
        if verb == "get" and not came:  # nothing but comparing reads jobs of the target
            came.append(verb)
            await cancelled(source.store, job)
            await added(source.store, a_draft("added late", when=HOUR))

    one = await moved((source, replace(target, store=hooked(target.store, clients))))
    assert came
    assert one.done
    assert (await read(target.store, job)).state is State.CANCELLED
    assert (await read(target.store, "added late")).state is State.SCHEDULED


async def test_an_attempt_that_runs_is_waited_for(places: Two) -> None:
    source, target = places
    await added(source.store, a_draft())
    one = await claimed_one(source.store)
    waits = asyncio.Event()

    async def looks(verb: str) -> None:
        if verb == "events":  # before anything is copied: it waits for attempts that run
            waits.set()

    move = asyncio.create_task(moved((replace(source, store=hooked(source.store, looks)), target), patience=HOUR))
    await asyncio.wait_for(waits.wait(), 30)
    assert (await paused(source.store), move.done()) == (True, False)
    assert await listed(target.store, a_query()) == []
    await finished(source.store, completed(one, b"\x0a\x02ok"))
    assert (await asyncio.wait_for(move, 30)).done
    job = await read(target.store, one)
    assert (job.state, job.result, job.attempt) == (State.COMPLETED, b"\x0a\x02ok", 1)


async def test_an_attempt_that_runs_too_long_is_reported_and_the_next_run_ends_it(places: Two) -> None:
    source, target = places
    await added(source.store, a_draft("runs"), a_draft("waits", when=HOUR))
    one = await claimed_one(source.store)
    first = await moved(places)
    assert (first.done, first.active.first) == (False, ["job 'runs' still runs"])
    assert (await paused(source.store), await paused(target.store)) == (True, True)
    assert await listed(target.store, a_query()) == ["waits"]
    await finished(source.store, completed(one))
    second = await moved(places)
    assert (second.done, second.copied.placed, second.copied.same) == (True, 1, 1)
    assert not await paused(target.store)


async def test_what_is_scheduled_on_the_old_side_later_is_brought_over_and_ended_work_is_not_done_again(
    places: Two,
) -> None:
    source, target = places
    await added(source.store, a_draft("old"))
    assert (await moved(places)).done
    await finished(target.store, completed(await claimed_one(target.store)))
    await added(source.store, a_draft("new", when=HOUR))
    again = await moved(places)
    assert (again.done, again.already, again.copied.placed) == (True, True, 1)
    assert (await read(target.store, "old")).state is State.COMPLETED
    assert (await read(target.store, "new")).state is State.SCHEDULED
    third = await moved(places)
    assert third.copied.placed == 0


async def test_there_and_back_again(places: Two) -> None:
    """What was left behind on the first side is no truth any more: what ended and went meanwhile goes there, too."""
    source, target = places
    await fill(source.store, "q", 60)
    await added(source.store, a_draft("gone"), a_draft("runs on the other side", priority=99))
    assert (await moved(places)).done
    [answer] = await target.store.delete("q", ["gone"], ended_only=False)
    assert answer is None
    await target.store.put_settings("q", QueueSettings(), paused=False)
    done = await claimed_one(target.store)
    await finished(target.store, completed(done))
    await added(source.store, a_draft("added on the first side since", when=HOUR))

    back = await moved((target, source))
    assert back.done
    assert back.copied.removed == 1
    assert await source.store.get("q", ["gone"], View.BASIC) == [None]
    assert (await read(source.store, done)).state is State.COMPLETED
    assert (await read(source.store, "added on the first side since")).state is State.SCHEDULED
    assert not await paused(source.store)
    assert await paused(target.store)


async def test_a_queue_that_was_resumed_half_way_is_not_written_over(places: Two) -> None:
    source, target = places
    await added(source.store, a_draft("runs"), a_draft("waits"))
    await claimed_one(source.store)
    assert not (await moved(places)).done
    [settings] = await target.store.settings(["q"])
    await target.store.put_settings("q", settings, paused=False)
    with pytest.raises(CannotMove, match=r"was resumed before all of it was there"):
        await moved(places)
    with pytest.raises(CannotMove, match=r"its move to .* was not finished"):
        await moved((target, source))


async def test_a_queue_that_was_moved_is_not_moved_to_a_third_place(places: Two) -> None:
    source, _ = places
    await added(source.store, a_draft())
    assert (await moved(places)).done
    third = Side(source.store, "elsewhere")
    with pytest.raises(CannotMove, match=r"was moved to .*, where its jobs run"):
        await move_queue(source, third, "q", patience=timedelta(0), check=False, tell=lambda done, total: None)
    [settings] = await source.store.settings(["q"])
    await source.store.put_settings("q", settings, paused=False)
    assert (await moved(places)).copied.placed == 0, "who resumed it has said that it is this side's again: moved anew"


async def test_old_copies_in_a_target_are_not_taken_for_jobs_of_its_own(places: Two) -> None:
    """They run where they were moved to; resumed, they are this side's again, and are kept."""
    source, target = places
    await added(source.store, a_draft("moved", when=HOUR))
    assert (await moved(places)).done
    third = replace(target, address="a third place")
    with pytest.raises(CannotMove, match="what it still has are old copies"):
        await moved((third, source))
    [settings] = await source.store.settings(["q"])
    await source.store.put_settings("q", settings, paused=False)
    [answer] = await target.store.delete("q", ["moved"], ended_only=False)
    assert answer is None
    assert (await moved((target, source))).copied.removed == 0
    assert (await read(source.store, "moved")).state is State.SCHEDULED


async def test_a_move_that_was_given_up_binds_nobody(places: Two) -> None:
    source, target = places
    await added(source.store, a_draft("runs"), a_draft("waits"))
    one = await claimed_one(source.store)
    assert not (await moved(places)).done
    await finished(source.store, completed(one))
    for place in places:
        [settings] = await place.store.settings(["q"])
        await place.store.put_settings("q", settings, paused=False)
    assert (await moved((target, source))).done


async def test_what_a_trimmer_took_meanwhile_is_not_missed(places: Two) -> None:
    source, target = places
    await added(source.store, a_draft("over", retention=Retention(timedelta(0), timedelta(0))), a_draft("waits"))
    [one] = await claimed(source.store, 1)
    await finished(source.store, completed(one))

    async def trimmer(verb: str) -> None:
        if verb == "get":  # before it is compared
            await target.store.trim("q", completed_max=100, failed_max=100)

    moving = (source, replace(target, store=hooked(target.store, trimmer)))
    one_more = await moved(moving)
    assert await target.store.get("q", [one.job.job_id], View.BASIC) == [None]
    assert one_more.done


async def test_a_target_with_jobs_of_its_own_keeps_them(places: Two) -> None:
    source, target = places
    await added(target.store, a_draft("theirs", when=HOUR))
    await added(source.store, a_draft("ours"))
    one = await moved(places)
    assert (one.done, one.copied.removed) == (True, 0)
    assert sorted(await listed(target.store, a_query())) == ["ours", "theirs"]


async def test_differences_are_named(places: Two) -> None:
    source, target = places
    await added(source.store, *(a_draft(f"j{number}", when=LATER) for number in range(5)))
    assert (await moved(places)).done
    [answer] = await target.store.delete("q", ["j1"], ended_only=False)
    assert answer is None
    [changed] = await target.store.update("q", [UpdateJob("j2", priority=5)])
    good(changed)
    await added(target.store, a_draft("extra"))
    found = await verify(source.store, target.store, "q")
    assert (found.ok, found.jobs, found.equal, found.target_only) == (False, 5, 3, 1)
    assert found.missing.first == ["job 'j1' is not in the target"]
    assert found.differing.first == ["job 'j2' differs in spec.priority, revision"]
