"""Queues as a whole: found or named, paused, limited; what repeats in them, and flows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from support.redis_backend import RedisBackend
from support.source_tree import ROOT
from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.bull.jobs import ITS_PARENT
from tocsin_server.migrate.systems.bull.reader import OF_BULL, OF_BULLMQ
from tocsin_server.migrate.systems.bull.repeats import NO_NEXT_RUN
from tocsin_server.migrate.systems.bullmq.queue import FOLLOWER, PARENT, PARENT_LEFT
from tocsin_server.migrate.systems.bullmq.rules import GROUPS
from tocsin_server.migrate.systems.foreign import Choices, SourceAway, Verdict

from integration.migration.bull.conftest import OPENERS, Play, Read
from integration.migration.bull.looking import by_name, data_of, job_of, run_order, taken

SYSTEMS = pytest.mark.parametrize("system", ["bull", "bullmq"])


@SYSTEMS
async def test_paused_queues_are_named_and_their_jobs_wait(
    play: Play, read: Read, source: RedisBackend, system: str
) -> None:
    play(system, "paused")
    found = await read(system)
    assert {job.state for job in taken(found)} == {State.WAITING}
    assert [(thing.queue, job_of(thing).spec.type) for thing in found] == [
        ("going", "one"),
        ("paused", "first"),
        ("paused", "second"),
    ]
    async with OPENERS[system](source.url, Choices()) as reader:
        assert await reader.paused() == ("paused",)


async def test_jobs_that_bullmq_up_to_5_keeps_in_a_list_of_their_own_come_first(
    play: Play, read: Read, source: RedisBackend
) -> None:
    play("bullmq", "paused")
    source.client.rename("bull:paused:wait", "bull:paused:paused")
    play("bullmq", "paused")
    found = await read("bullmq", queues=("paused",))
    assert [thing.source_state for thing in found] == ["paused", "paused", "wait", "wait"]


@SYSTEMS
async def test_chosen_queues_alone_are_read(play: Play, read: Read, system: str) -> None:
    play(system, "paused")
    found = await read(system, queues=("going", "misspelt"))
    assert [(thing.queue, thing.verdict) for thing in found] == [
        ("going", Verdict.TAKEN),
        ("misspelt", Verdict.REFUSED),
    ]


@SYSTEMS
async def test_another_prefix_is_another_world(play: Play, read: Read, source: RedisBackend, system: str) -> None:
    prefix = "a*[b]\\{c}"  # every sign that a pattern could take for its own
    play(system, "order", "plain", prefix=prefix)
    play(system, "order", "lifo", prefix="axb")
    assert len(taken(await read(system, prefix=prefix))) == 3
    with pytest.raises(SourceAway, match="no queue under the prefix 'bull'"):
        await read(system)


async def test_the_other_systems_queues_are_left_and_named(play: Play, read: Read) -> None:
    play("bull", "order", "plain")
    play("bullmq", "paused")
    of_bull = {thing.queue: thing for thing in await read("bull") if thing.verdict is Verdict.LEFT}
    of_bullmq = {thing.queue: thing for thing in await read("bullmq") if thing.verdict is Verdict.LEFT}
    assert {queue: thing.why for queue, thing in of_bull.items()} == {"going": (OF_BULLMQ,), "paused": (OF_BULLMQ,)}
    assert {queue: thing.why for queue, thing in of_bullmq.items()} == {"order": (OF_BULL,)}


async def test_a_rule_is_named_with_its_ends_and_limits(read: Read, source: RedisBackend) -> None:
    rule = {
        "pattern": "0 3 * * *",
        "startDate": "1790000000000",
        "endDate": "1800000000000",
        "limit": "5",
        "data": "{}",
    }
    source.client.hset("bull:q:meta", mapping={"version": "bullmq:6.7.0"})
    source.client.hset("bull:q:repeat:nightly", mapping=rule)
    source.client.zadd("bull:q:repeat", {"nightly": 1})
    source.client.zadd(
        "bull:old:repeat", {"tidy::1800000000000:Europe/Berlin:0 3 * * *": 1, "look::1800000000000:60000": 1}
    )
    [thing] = await read("bullmq", queues=("q",))
    words = "cron '0 3 * * *', from 2026-09-21T14:13:20Z, until 2027-01-15T08:00:00Z, at most 5 times"
    assert (thing.verdict, thing.why) == (Verdict.LEFT, (f"it repeats ({words}): {NO_NEXT_RUN}",))
    rules = {thing.source_id.partition(":")[0]: thing.why[0] for thing in await read("bull", queues=("old",))}
    assert "(cron '0 3 * * *' in Europe/Berlin, until 2027-01-15T08:00:00Z)" in rules["tidy"]
    assert "(every 60000 ms, until 2027-01-15T08:00:00Z)" in rules["look"]


async def test_what_repeats_in_bullmq_before_4_is_read_by_its_key(read: Read, source: RedisBackend) -> None:
    source.client.hset("bull:q:meta", mapping={"opts.maxLenEvents": "10000"})
    source.client.zadd("bull:q:repeat", {"look::::60000": 1, "tidy:::Europe/Berlin:0 3 * * *": 1, "x::17:": 1})
    rules = {thing.source_id.partition(":")[0]: thing.why[0] for thing in await read("bullmq")}
    assert "(every 60000 ms)" in rules["look"]
    assert "(cron '0 3 * * *' in Europe/Berlin)" in rules["tidy"]
    assert "by a rule that cannot be read" in rules["x"]


async def test_before_bullmq_4_priority_1_runs_first_and_none_last(read: Read, source: RedisBackend) -> None:
    """Those kept what waits with a priority in `wait`, at its front, and its priority in a set of its own."""
    client: Any = source.client
    client.hset("bull:q:meta", mapping={"opts.maxLenEvents": "10000"})
    job = {"name": "work", "data": "{}", "opts": "{}", "timestamp": "1700000000000"}
    for job_id, priority in (("none", 0), ("third", 3), ("first", 1), ("waits", 2), ("last", 0)):
        client.hset(f"bull:q:{job_id}", mapping={**job, "priority": priority})
    client.zadd("bull:q:priority", {"waits": 2})
    client.lpush("bull:q:wait", "waits", "last")
    client.zadd("bull:q:delayed", {"none": 5 * 4096, "third": 6 * 4096, "first": 7 * 4096})
    assert [job.job_id for job in run_order(taken(await read("bullmq")))] == ["first", "waits", "third", "last", "none"]


async def test_groups_of_bullmq_pro_are_named(read: Read, source: RedisBackend) -> None:
    source.client.hset("bull:q:meta", mapping={"version": "bullmq-pro:7.0.0"})
    source.client.set("bull:q:id", 1)
    source.client.zadd("bull:q:groups", {"tenant": 1})
    source.client.lpush("bull:q:groups:tenant", "1")
    [thing] = await read("bullmq")
    assert (thing.verdict, thing.source_id, thing.why) == (Verdict.LEFT, "groups", (GROUPS,))


async def test_flows_are_not_taken_but_their_jobs_are(play: Play, read: Read) -> None:
    play("bullmq", "flow")
    found = await read("bullmq")
    children = by_name(thing for thing in found if thing.queue == "children")
    assert {name: thing.why for name, thing in children.items()} == {"one": (ITS_PARENT,), "two": (ITS_PARENT,)}
    parents = [(thing.source_state, thing.verdict, thing.why) for thing in found if thing.queue == "parents"]
    assert parents == [
        ("wait", Verdict.CHANGED, (PARENT,)),
        ("waiting-children", Verdict.LEFT, (PARENT_LEFT,)),
    ]


async def test_limits_of_a_queue_are_left_and_named(play: Play, read: Read) -> None:
    play("bullmq", "options")
    [limits] = [thing for thing in await read("bullmq") if thing.source_state == "limits"]
    assert limits.verdict is Verdict.LEFT
    assert "at most 4 jobs at once, at most 10 jobs in 1000 ms" in limits.why[0]


async def test_a_job_that_is_held_back_behind_an_active_one_is_told(play: Play, read: Read) -> None:
    play("bullmq", "follower")
    [thing] = await read("bullmq", take_active=True)
    assert FOLLOWER in thing.why


async def test_a_source_that_does_not_answer_is_said_in_one_line() -> None:
    for url, said in (
        ("redis://127.0.0.1:1", "the source cannot be read"),
        ("http://127.0.0.1:1", "the source's address cannot be used"),
    ):
        with pytest.raises(SourceAway, match=said):
            async with OPENERS["bull"](url, Choices()):
                pass


async def test_a_wrong_password_is_said_and_not_shown(source: RedisBackend) -> None:
    with pytest.raises(SourceAway) as raised:
        async with OPENERS["bull"](source.url.replace("redis://", "redis://user:s3cret@"), Choices()):
            pass
    assert "refuses the user or the password" in str(raised.value)
    assert "s3cret" not in str(raised.value)


@SYSTEMS
async def test_a_long_queue_is_read_in_steps_whole_and_in_order(play: Play, read: Read, system: str) -> None:
    play(system, "bulk", "2500")
    found = await read(system)
    assert [thing.source_id for thing in found] == [str(n) for n in range(1, 2501)]
    assert [data_of(job) for job in taken(found)][-1] == {
        "path": "images/2499.png",
        "width": 800,
        "height": 600,
        "tags": ["a", "b"],
    }


#: What docs/from-bull.md gives a user of the old Redis.
_RIGHTS = re.search(r"ACL SETUSER migrate on >\S+ (.*)", (ROOT / "docs/from-bull.md").read_text())


def admit(source: RedisBackend, rights: Iterable[str]) -> None:
    """Let the user of the page in, with these rights."""
    client: Any = source.client
    client.execute_command("ACL", "SETUSER", "migrate", "reset", "on", ">pw", *rights)


@SYSTEMS
async def test_the_documented_rights_are_enough(play: Play, source: RedisBackend, system: str) -> None:
    play(system, "states")
    play(system, "repeats" if system == "bull" else "schedulers")
    assert _RIGHTS is not None
    admit(source, _RIGHTS[1].split())
    choices = Choices(take_active=True, take_completed=True)
    async with OPENERS[system](source.url.replace("://", "://migrate:pw@"), choices) as reader:
        found = [thing async for thing in reader.read()]
        assert await reader.paused() == ()
    assert len(found) > 10


async def test_a_right_that_is_missing_is_said(play: Play, source: RedisBackend) -> None:
    play("bull", "order", "plain")
    assert _RIGHTS is not None
    admit(source, [right for right in _RIGHTS[1].split() if right != "+hmget"])
    with pytest.raises(SourceAway, match=r"the source cannot be read: .*hmget"):
        async with OPENERS["bull"](source.url.replace("://", "://migrate:pw@"), Choices()) as reader:
            [_ async for _ in reader.read()]


async def test_a_queue_that_a_flow_producer_alone_has_filled_is_bullmqs(read: Read, source: RedisBackend) -> None:
    """BullMQ 1 and 3 leave no meta there."""
    job = {"name": "album", "data": "{}", "opts": "{}", "timestamp": "1700000000000"}
    source.client.hset("bull:flows:album", mapping=job)
    source.client.zadd("bull:flows:waiting-children", {"album": 1})
    assert [(thing.source_id, thing.why) for thing in await read("bullmq")] == [("album", (PARENT_LEFT,))]
    assert [thing.why for thing in await read("bull")] == [(OF_BULLMQ,)]
