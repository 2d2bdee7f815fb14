"""A move beside others who go on: clients of the source, jobs and settings of the target's own, another move."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from contract.builders import (
    HOUR,
    a_draft,
    a_query,
    added,
    cancelled,
    claimed_one,
    completed,
    finished,
    listed,
    read,
)
from tocsin_server.domain.job import Retention, View
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.states import State
from tocsin_server.migrate.move.moving import CannotMove
from tocsin_server.migrate.stores import Side
from tocsin_server.store.interface import JobStore

from integration.migration.conftest import Migrate, OpenPlace
from integration.migration.moves import Two, hooked, moved, paused

NOT_KEPT = Retention(timedelta(0), timedelta(0))


async def delete(store: JobStore, *job_ids: str) -> None:
    assert await store.delete("q", job_ids, ended_only=False) == [None] * len(job_ids)


async def test_what_clients_add_while_it_is_compared_is_looked_at_again(places: Two) -> None:
    source, target = places
    await added(source.store, a_draft("first", when=HOUR))
    came: list[str] = []

    async def clients(verb: str) -> None:
        if verb == "page":  # also the one with which comparing begins
            came.append(f"late {len(came)}")
            await added(source.store, a_draft(came[-1], when=HOUR))

    one = await moved((replace(source, store=hooked(source.store, clients)), target))
    assert one.verified is not None
    assert (one.done, one.verified.missing.count, one.verified.equal) == (True, 0, one.verified.jobs), one.verified
    assert sorted(await listed(target.store, a_query())) == sorted(["first", *came])


async def test_what_has_run_and_gone_in_the_target_is_not_brought_back(places: Two) -> None:
    source, target = places
    await added(source.store, a_draft("gone", retention=NOT_KEPT), a_draft("cancelled"))
    assert (await moved(places)).done
    for _ in range(2):
        await finished(target.store, completed(await claimed_one(target.store)))
    await delete(target.store, "gone", "cancelled")
    assert (await moved(places)).copied.placed == 0
    await cancelled(source.store, await read(source.store, "gone"))
    await added(source.store, a_draft("new"))
    assert (await moved(places)).copied.placed == 1
    assert await listed(target.store, a_query()) == ["new"]


async def test_where_the_sources_events_are_gone_what_nobody_can_tell_is_named_once(places: Two) -> None:
    source, target = places
    await added(source.store, a_draft("gone"), a_draft("stands"))
    assert (await moved(places)).done
    await delete(target.store, "gone")
    await added(source.store, a_draft("new", when=HOUR))

    class Forgetful:
        def __getattr__(self, name: str) -> object:
            return getattr(source.store, name)

        async def events(self, *arguments: object, **words: object) -> object:
            batch = await source.store.events(*arguments, **words)  # type: ignore[arg-type]
            return replace(batch, events=(), gap=True)

    forgetful = (replace(source, store=Forgetful()), target)  # type: ignore[arg-type]
    first = await moved(forgetful)
    assert (first.done, first.copied.placed) == (False, 1)
    assert first.copied.unknown.first == ["job 'gone': it was made just before the last move"]
    assert await target.store.get("q", ["gone"], View.BASIC) == [None]


@pytest.mark.parametrize("own", ["before", "since"])
async def test_a_job_of_the_targets_own_is_not_written_over_by_one_of_the_same_id(places: Two, own: str) -> None:
    source, target = places
    if own == "before":
        await added(target.store, a_draft("both", when=HOUR), a_draft("theirs", when=HOUR))
    await added(source.store, a_draft("ours"), a_draft("both"))
    came = own == "before"

    async def client(verb: str) -> None:
        nonlocal came
        if verb == "put" and not came:
            came = True
            await added(target.store, a_draft("both", when=HOUR), a_draft("theirs", when=HOUR))

    one = await moved((source, replace(target, store=hooked(target.store, client))))
    assert (one.done, one.copied.refused.count > 0) == (False, True)
    assert "job 'both': another job of its id stands there" in one.copied.refused.first[0]
    assert (await read(target.store, "both")).state is State.SCHEDULED
    assert (await paused(source.store), await paused(target.store)) == (True, True)
    await delete(source.store, "both")
    assert (await moved(places)).done
    assert sorted(await listed(target.store, a_query())) == ["both", "ours", "theirs"]


@pytest.mark.parametrize("own", ["before", "never"])
async def test_what_clients_delete_or_make_anew_goes_from_the_target_too_and_nothing_else_does(
    places: Two, own: str
) -> None:
    source, target = places
    if own == "before":
        await added(target.store, a_draft("both", when=HOUR), a_draft("theirs", when=HOUR))
    await added(source.store, *(a_draft(name, when=HOUR) for name in ("deleted", "both", "anew", "stays")))
    came: list[str] = []

    async def clients(verb: str) -> None:
        if verb == "ping" and "put" in came and "late" not in came:  # before the changes of the source are read
            came.append("late")
            await added(source.store, a_draft("late", when=HOUR), a_draft("late anew", when=HOUR))
        elif verb == "ping" and "late" in came and "gone" not in came:  # the next time
            came.append("gone")
            await delete(source.store, "deleted", "both", "anew", "late", "late anew")
            await added(source.store, *(a_draft(name, priority=7, when=HOUR) for name in ("anew", "late anew")))

    async def copied(verb: str) -> None:
        came.append(verb)

    hooks = replace(source, store=hooked(source.store, clients)), replace(target, store=hooked(target.store, copied))
    one = await moved(hooks)
    assert "gone" in came
    left = {"anew", "late anew", "stays"} | ({"both", "theirs"} if own == "before" else set())
    assert set(await listed(target.store, a_query())) == left
    for name in ("anew", "late anew"):
        assert (await read(target.store, name)).spec.priority == 7
    assert (one.copied.refused.count > 0, one.done) == ((True, False) if own == "before" else (False, True))
    assert one.copied.removed == 2 + (own == "never")


async def test_the_targets_own_settings_stand_whatever_becomes_of_the_move(places: Two) -> None:
    source, target = places
    await target.store.put_settings("q", QueueSettings(completed_max=77), paused=False)
    await source.store.put_settings("q", QueueSettings(completed_max=5, failed_max=6), paused=False)
    await added(source.store, a_draft("runs"))
    one = await claimed_one(source.store)
    assert not (await moved(places)).done
    [between] = await target.store.settings(["q"])
    await finished(source.store, completed(one))
    done = await moved(places)
    assert (done.done, done.kept_settings) == (True, True)
    [settings] = await target.store.settings(["q"])
    assert (between.completed_max, settings.completed_max, settings.failed_max) == (77, 77, None)


async def test_one_queue_is_not_moved_to_two_places_at_once(places: Two) -> None:
    source, target = places
    await added(source.store, a_draft("a"), a_draft("b", when=HOUR))
    third = Side(target.store, "a third place")
    other: list[asyncio.Task[object]] = []

    async def meanwhile(verb: str) -> None:
        if verb == "put" and not other:
            other.append(asyncio.create_task(moved((source, third))))
            with pytest.raises(CannotMove, match="was not finished, or goes on now"):
                await other[0]

    assert (await moved((source, replace(target, store=hooked(target.store, meanwhile))))).done
    assert other


async def test_a_run_that_another_has_overtaken_does_not_let_go(places: Two) -> None:
    source, target = places
    await added(source.store, a_draft("a"))
    again: list[object] = []

    async def meanwhile(verb: str) -> None:
        if verb == "put" and not again:
            again.append(await moved(places))

    with pytest.raises(CannotMove, match="another run moves it"):
        await moved((source, replace(target, store=hooked(target.store, meanwhile))))
    assert not await paused(target.store)
    assert (await moved(places)).already


async def test_a_dry_run_tells_of_ids_that_both_sides_have(
    ways: tuple[str, str], open_place: OpenPlace, migrate: Migrate
) -> None:
    for url in ways:
        await added((await open_place(url)).store, a_draft("both"))
    ran = migrate("--from", ways[0], "--to", ways[1], "--dry-run")
    assert "1 would be refused: other jobs there have those ids" in ran.said
