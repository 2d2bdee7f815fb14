"""Schedules that any reader found, brought into each store: once, and never in the place of another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from contract.builders import a_spec
from tocsin.payloads import decode_payload, struct_from_dict
from tocsin.v1 import payloads_pb2
from tocsin_server.cli.migrate import may_be_scheduled
from tocsin_server.domain.errors import StoreAway
from tocsin_server.domain.job import Payload
from tocsin_server.domain.schedules.calendars import KeptCalendar
from tocsin_server.domain.schedules.standing import Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import Calendar, CalendarUse, Cron, Every, Timing
from tocsin_server.migrate.systems.bring_in import MANY_TYPES, bring_in
from tocsin_server.migrate.systems.foreign import Foreign, Verdict
from tocsin_server.store.interface import JobStore

from integration.migration.test_importing import brought_in, one_by_one

NEXT = datetime(2030, 1, 1, 9, tzinfo=UTC)
DAILY = Timing(Cron(("0 9 * * *",), "Europe/Berlin"))
HOURLY = Timing(Every(timedelta(hours=1), NEXT))


def a_rule(schedule_id: str = "nightly", *, timing: Timing = DAILY, type: str = "t", data: object = None) -> Foreign:
    payload = None if data is None else Payload(10, struct_from_dict(data).SerializeToString())  # type: ignore[arg-type]
    spec = ScheduleSpec("q", schedule_id, timing, a_spec(type=type, payload=payload))
    schedule = Schedule(spec, datetime.now(UTC).replace(microsecond=0), NEXT, fired=3)
    return Foreign("old", schedule_id, "repeat", Verdict.TAKEN, schedule=schedule)


async def stands(target: JobStore, schedule_id: str = "nightly", queue: str = "q") -> Schedule | None:
    [found] = await target.schedules.read_schedules(queue, [schedule_id])
    return found


async def test_a_schedule_is_brought_in_whole_and_once(target: JobStore) -> None:
    rule = a_rule()
    first, _ = await brought_in(target, rule)
    assert (first.schedules, first.schedules_stood, first.placed, first.stood) == (1, 0, 0, 0)
    found = await stands(target)
    assert found == rule.schedule
    assert (await target.ticks(["q"]))["q"].next_schedule == NEXT
    second, lines = await brought_in(target, rule, a_rule("other"))
    assert (second.schedules, second.schedules_stood, second.refused) == (1, 1, 0)
    assert [line.stands for line in lines] == [True, False]
    assert await stands(target) == found


async def test_what_has_gone_on_or_was_deleted_since_stays_so(target: JobStore) -> None:
    await brought_in(target, a_rule(), a_rule("hourly", timing=HOURLY))
    found = await stands(target)
    assert found is not None
    assert await target.schedules.put_schedule(replace(found, next_time=NEXT + timedelta(days=1), fired=4))
    assert await target.schedules.delete_schedule("q", "hourly")
    again, _ = await brought_in(target, a_rule(), a_rule("hourly", timing=HOURLY))
    assert (again.schedules, again.schedules_stood) == (0, 2)
    assert await stands(target, "hourly") is None
    found = await stands(target)
    assert found is not None
    assert found.fired == 4


async def test_another_schedule_of_its_id_stays_and_it_is_refused(target: JobStore) -> None:
    await brought_in(target, a_rule(), origin="one")
    for other in (a_rule(timing=HOURLY), a_rule(type="u")):
        done, [line] = await brought_in(target, other, origin="two")
        assert (done.refused, done.schedules, line.foreign.verdict) == (1, 0, Verdict.REFUSED)
        assert "another schedule of its id stands here" in line.foreign.why[0]
    found = await stands(target)
    assert found is not None
    assert (found.spec.timing, found.spec.job.type) == (DAILY, "t")
    mapped, _ = await brought_in(target, a_rule(type="u"), origin="two", queue_map=["q=r"], type_map="u=v")
    assert mapped.schedules == 1
    moved = await stands(target, queue="r")
    assert moved is not None
    assert (moved.spec.queue, moved.spec.job.queue, moved.spec.job.type) == ("r", "r", "v")


async def test_an_import_that_died_as_it_wrote_one_finds_it(target: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put = target.schedules.put_schedule

    async def dies(schedule: Schedule) -> bool:
        await put(schedule)
        raise StoreAway("gone")

    monkeypatch.setattr(target.schedules, "put_schedule", dies)
    with pytest.raises(StoreAway):
        await brought_in(target, a_rule())
    monkeypatch.undo()
    # Meanwhile the source's own workers have gone on by a run: the same rule, from another time.
    later = a_rule()
    assert later.schedule is not None
    again, _ = await brought_in(target, replace(later, schedule=replace(later.schedule, next_time=NEXT.replace(day=2))))
    assert (again.schedules, again.schedules_stood, again.refused) == (0, 1, 0)
    found = await stands(target)
    assert found is not None
    assert found.next_time == NEXT


async def test_its_calendars_come_with_it_and_other_days_keep_it_out(target: JobStore) -> None:
    weekend = KeptCalendar("not-on-SUN", Calendar(weekdays=frozenset({6})))
    timing = Timing(Cron(("0 9 * * *",)), calendars=(CalendarUse("not-on-SUN"),))
    things = [replace(a_rule(name, timing=timing), calendars=(weekend,)) for name in ("one", "two")]
    done, _ = await brought_in(target, *things)
    assert done.schedules == 2
    [kept] = await target.calendars.calendars()
    assert (kept.name, kept.days) == (weekend.name, weekend.days)
    found = await stands(target, "two")
    assert found is not None
    assert (found.calendar_revisions, found.next_time) == ((1,), NEXT)
    other = replace(weekend, days=Calendar(weekdays=frozenset({5})))
    done, _ = await brought_in(target, replace(a_rule("three", timing=timing), calendars=(other,)))
    assert (done.refused, done.schedules) == (1, 0)
    assert await stands(target, "three") is None


async def test_a_dry_run_writes_nothing(target: JobStore) -> None:
    done, [line] = await brought_in(None, a_rule())
    assert (done.schedules, line.stands) == (0, False)
    assert done.counts == {("old", "repeat", Verdict.TAKEN): 1}
    assert await target.queues() == []


async def test_its_type_counts_among_those_of_the_queue(target: JobStore) -> None:
    rules = [a_rule(f"s{n}", type=f"t{n}") for n in range(1_001)]
    done, lines = await brought_in(None, *rules)
    assert done.refused == 1
    assert lines[-1].foreign.why == (MANY_TYPES,)


async def test_jobs_of_built_in_types_become_those(target: JobStore) -> None:
    report = a_rule("report", type="bull.report_generation", data={"formats": ["csv"], "email": "ada@example.com"})
    remind = a_rule("remind", type="bull.payment_reminder", data={"paymentId": "7", "dueDate": "2030-01-01"})
    things = one_by_one([report, remind])
    lines: list[Foreign] = []
    await bring_in(things, target, lambda line: lines.append(line.foreign), check=may_be_scheduled)
    found = await stands(target, "report")
    assert found is not None
    assert found.spec.job.payload is not None
    message = decode_payload(found.spec.job.payload.kind, found.spec.job.payload.body)
    assert isinstance(message, payloads_pb2.ReportGeneration)
    assert found.spec.job.type == "report_generation"
    # A reminder is of one time: by what repeats it cannot be told.
    assert "stays as it was" in lines[1].why[0]
