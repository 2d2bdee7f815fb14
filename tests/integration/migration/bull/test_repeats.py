"""What repeats in real Bull and BullMQ becomes schedules that run when their own code would have run it."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from support import node_tools
from support.redis_backend import RedisBackend
from tocsin_server.domain.schedules.reckoning import Reckoning
from tocsin_server.domain.schedules.standing import Missed, Overlap, Schedule
from tocsin_server.domain.schedules.timing import Cron, Every
from tocsin_server.domain.states import State
from tocsin_server.domain.times import EPOCH, MILLISECOND, to_time
from tocsin_server.migrate.systems.bull.jobs import REPEATED
from tocsin_server.migrate.systems.bull.repeats import BY_ITS_SCHEDULE, BY_ITSELF, NO_NEXT_RUN, WITH_ITS_RULE
from tocsin_server.migrate.systems.foreign import Foreign, Verdict
from tocsin_server.migrate.systems.recurring.rule import IN_UTC, IN_ZONE, OVER

from integration.migration.bull.conftest import PREFIX, SCRIPTS, Play, Read
from integration.migration.bull.looking import payload_data

SYSTEMS = pytest.mark.parametrize("system", ["bull", "bullmq"])

#: Writes rules, and says when the library itself would have run each.
WriteRules = Callable[[str], Mapping[str, Sequence[datetime]]]


@pytest.fixture
def write_rules(source: RedisBackend, npm_packages: Path, tmp_path: Path) -> WriteRules:
    """See WriteRules."""

    def written(system: str) -> Mapping[str, Sequence[datetime]]:
        for script in ("bull_recurring.mjs", "recurring_clock.mjs"):
            (tmp_path / script).write_text((SCRIPTS / script).read_text())
        if not (tmp_path / "node_modules").exists():
            (tmp_path / "node_modules").symlink_to(npm_packages)
        command = [node_tools.node(), str(tmp_path / "bull_recurring.mjs"), source.url, system, PREFIX]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return {name: [to_time(ms) for ms in times] for name, times in json.loads(done.stdout)["times"].items()}

    return written


def by_rule(found: Sequence[Foreign]) -> dict[str, Foreign]:
    """The rules by the name that the scene gave to what each of them runs, else by their own."""
    return {name_of(thing): thing for thing in found if thing.source_state == "repeat"}


def name_of(thing: Foreign) -> str:
    if thing.schedule is None:
        return thing.source_id.partition(":")[0]
    data = payload_data(thing.schedule.spec.job)
    assert isinstance(data, dict)
    return str(data["name"])


def times_of(schedule: Schedule, count: int) -> list[datetime]:
    """When it runs."""
    assert schedule.next_time is not None
    reckoning = Reckoning(schedule.spec.timing, key="q/s", created=schedule.create_time)
    occurrences = reckoning.occurrences(schedule.next_time - MILLISECOND, fired=schedule.fired)
    return [one.time for one in islice(occurrences, count)]


@SYSTEMS
async def test_rules_become_schedules_that_run_when_the_library_would(
    write_rules: WriteRules, read: Read, system: str
) -> None:
    times = write_rules(system)
    assert len(times) >= 13
    found = await read(system)
    rules = by_rule(found)
    assert rules.keys() == times.keys()
    for name, thing in rules.items():
        assert thing.schedule is not None, thing
        assert times_of(thing.schedule, 6) == times[name], name
        spec = thing.schedule.spec
        assert (spec.overlap, spec.missed, spec.paused) == (Overlap.ALLOW, Missed.ONCE, False)
        assert (spec.job.terms.retry.max_attempts, spec.queue, spec.job.queue) == (2, "recurring", "recurring")
    # A line that runs each hour is the same in all zones; "nightly" and the others name theirs.
    assert [name for name, thing in rules.items() if IN_UTC in thing.why] == ["utc"]
    runs = Counter((thing.verdict, thing.why, thing.job) for thing in found if thing.source_state != "repeat")
    assert runs == {(Verdict.TAKEN, (BY_ITS_SCHEDULE,), None): len(times)}


@SYSTEMS
async def test_a_second_reading_says_the_same(write_rules: WriteRules, read: Read, system: str) -> None:
    write_rules(system)
    first, second = [[thing.schedule for thing in await read(system) if thing.schedule] for _ in range(2)]
    assert len(first) >= 13
    assert [(one.spec, one.next_time) for one in first] == [(one.spec, one.next_time) for one in second]
    ids = [one.spec.schedule_id for one in first]
    assert len(set(ids)) == len(ids)
    assert "nightly" in ids or system == "bull"


@SYSTEMS
async def test_a_run_that_a_worker_has_let_wait_goes_with_its_rule(read: Read, play: Play, system: str) -> None:
    play(system, "late_repeats")
    found = await read(system)
    [rule] = by_rule(found).values()
    [run] = [thing for thing in found if thing.source_state != "repeat"]
    assert (run.source_state, run.verdict, run.why) == ("wait", Verdict.TAKEN, (BY_ITS_SCHEDULE,))
    assert rule.schedule is not None
    assert rule.schedule.next_time is not None
    now = datetime.now(UTC)
    assert now - timedelta(minutes=1) < rule.schedule.next_time <= now
    assert rule.schedule.next_time == _time_in(run.source_id)


@SYSTEMS
async def test_a_run_that_was_begun_is_a_job_of_its_own(read: Read, play: Play, system: str) -> None:
    """It failed, and comes again: the run after it was made as it began."""
    play(system, "tried_repeats")
    found = await read(system)
    [rule] = by_rule(found).values()
    [tried] = [thing for thing in found if thing.job is not None]
    assert tried.job is not None
    assert (tried.job.failures, REPEATED in tried.why) == (1, True)
    assert [thing.source_state for thing in found if thing.why == (BY_ITS_SCHEDULE,)] == ["delayed"]
    assert rule.schedule is not None
    assert rule.schedule.fired == 1
    assert rule.schedule.next_time is not None
    assert rule.schedule.next_time > _time_in(tried.source_id)


@SYSTEMS
async def test_a_run_that_was_promoted_by_hand_is_a_job_of_its_own(read: Read, play: Play, system: str) -> None:
    play(system, "promoted_repeats")
    found = await read(system)
    [rule] = by_rule(found).values()
    [run] = [thing for thing in found if thing.source_state != "repeat"]
    assert run.job is not None
    assert (run.job.state, run.why) == (State.WAITING, (REPEATED,))
    assert rule.schedule is not None
    assert BY_ITSELF in rule.why
    assert rule.schedule.next_time == _time_in(run.source_id) + timedelta(days=1)


@SYSTEMS
async def test_a_rule_that_has_had_its_runs_is_left(read: Read, play: Play, system: str) -> None:
    play(system, "ended_repeats")
    [thing] = [thing for thing in await read(system) if thing.source_state == "repeat"]
    assert (thing.verdict, NO_NEXT_RUN in thing.why[0]) == (Verdict.LEFT, True)


async def test_what_has_no_like_is_named_and_left_with_its_run(read: Read, source: RedisBackend) -> None:
    rules = {
        "short": ({"every": 200}, "its interval is shorter than 1 s"),
        "hashed": ({"cron": "H * * * *"}, "its cron has 'H' as its minute"),
        "nowhere": ({"cron": "0 9 * * *", "tz": "Nowhere/Land"}, "its time zone 'Nowhere/Land' is no IANA name"),
        "endless": ({"every": 60_000, "endDate": "soon"}, "its end cannot be read"),
        "nothing": ({}, "by a rule that cannot be read"),
        "spent": ({"every": 60_000, "limit": 2, "count": 3}, OVER),
    }
    for name, (said, _) in rules.items():
        a_rule(source, name, said)
    found = await read("bull")
    for name, thing in by_rule(found).items():
        assert (thing.verdict, thing.schedule) == (Verdict.LEFT, None)
        assert rules[name][1] in thing.why[0], thing
    runs = [thing for thing in found if thing.source_state == "delayed"]
    assert [(thing.verdict, thing.why) for thing in runs] == [(Verdict.LEFT, (WITH_ITS_RULE,))] * len(rules)


async def test_a_cron_without_a_zone_whose_next_run_fits_no_utc_wants_one(read: Read, source: RedisBackend) -> None:
    """The workers ran in New York: 09:00 is 14:00 in UTC."""
    a_rule(source, "standup", {"cron": "0 9 * * *"}, at=datetime(2030, 1, 15, 14, tzinfo=UTC))
    [thing] = by_rule(await read("bull")).values()
    assert (thing.verdict, thing.schedule) == (Verdict.LEFT, None)
    assert "its next run is at 2030-01-15T14:00:00Z" in thing.why[0]
    assert "--time-zone" in thing.why[0]
    [thing] = by_rule(await read("bull", time_zone="America/New_York")).values()
    assert thing.why == (IN_ZONE.format(zone="America/New_York"),)
    assert thing.schedule is not None
    assert thing.schedule.spec.timing.rule == Cron(("0 9 * * *",), "America/New_York")
    assert thing.schedule.next_time == datetime(2030, 1, 15, 14, tzinfo=UTC)


async def test_a_run_whose_rule_was_removed_is_a_job(read: Read, source: RedisBackend) -> None:
    a_rule(source, "gone", {"every": 60_000})
    source.client.delete("bull:q:repeat")
    [thing] = await read("bull")
    assert thing.job is not None
    assert thing.why == (REPEATED,)
    assert thing.job.state is State.SCHEDULED


async def test_bullmq_before_6_adds_the_offset_to_the_delay(read: Read, source: RedisBackend) -> None:
    run = {"every": 600_000, "offset": 90_000, "count": 4}
    a_rule(source, "look", run, system="bullmq", key="look::::600000", put_off=90_000)
    [thing] = by_rule(await read("bullmq")).values()
    assert thing.schedule is not None
    assert thing.schedule.next_time == AT + timedelta(seconds=90)
    assert thing.schedule.spec.timing.rule == Every(timedelta(minutes=10), AT + timedelta(seconds=90))
    assert thing.schedule.fired == 3


AT = datetime(2030, 1, 15, 12, tzinfo=UTC)


def a_rule(
    source: RedisBackend,
    name: str,
    said: Mapping[str, object],
    *,
    at: datetime = AT,
    system: str = "bull",
    key: str = "",
    put_off: int = 0,
) -> None:
    """A rule and its next run, as a library would have written them."""
    ms, key, client = (at - EPOCH) // MILLISECOND, key or f"{name}::::rule", source.client
    job_id, made = f"repeat:{name}:{ms}", ms - 3_600_000
    options = {"repeat": {"key": key, **said}, "delay": 3_600_000 + put_off, "timestamp": made, "jobId": job_id}
    if system == "bullmq":
        client.hset("bull:q:meta", mapping={"version": "bullmq:5.1.0"})
    client.zadd("bull:q:repeat", {key: ms})
    job = {"name": name, "data": json.dumps({"name": name}), "opts": json.dumps(options), "timestamp": made}
    client.hset(f"bull:q:{job_id}", mapping={**job, "delay": 3_600_000 + put_off})
    client.zadd("bull:q:delayed", {job_id: (ms + put_off) * 4096})


def _time_in(source_id: str) -> datetime:
    return to_time(int(source_id.rpartition(":")[2]))
