"""What repeats in real Agenda 4, 5, 6 and @hokify/agenda becomes schedules that run when their own code would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from support.mongo_servers import MongoServer
from tocsin_server.domain.schedules.calendars import days_of
from tocsin_server.domain.schedules.reckoning import Reckoning
from tocsin_server.domain.schedules.standing import Overlap, Schedule
from tocsin_server.domain.times import MILLISECOND, to_time
from tocsin_server.migrate.systems.agenda.intervals import interval_ms
from tocsin_server.migrate.systems.agenda.reader import DEFAULT_COLLECTION
from tocsin_server.migrate.systems.agenda.rules import DISABLED
from tocsin_server.migrate.systems.foreign import Choices, Foreign, Verdict
from tocsin_server.migrate.systems.recurring.rule import IN_UTC

from integration.migration.agenda.conftest import DROPPED_BY_THE_DRIVER, LINES, Database, RunNode, read

pytestmark = DROPPED_BY_THE_DRIVER


@dataclass(frozen=True, slots=True)
class Rules:
    """A database of Agenda's in which jobs repeat; when Agenda itself runs each, and what it makes of phrases."""

    database: Database
    times: Mapping[str, Sequence[datetime]]
    phrases: Mapping[str, float]


@pytest.fixture(scope="session", params=LINES, ids=LINES.get)
def rules(request: pytest.FixtureRequest, mongo_server: MongoServer, run_node: RunNode) -> Rules:
    """See Rules, of each line in turn. Shared: nobody changes it."""
    database = Database(mongo_server, f"agenda_rules_{request.param}")
    said = json.loads(run_node("agenda_recurring.mjs", request.param, database.url, DEFAULT_COLLECTION))
    times = {name: [to_time(ms) for ms in found] for name, found in said["times"].items()}
    return Rules(database, times, said["read"])


async def schedules(rules: Rules, choices: Choices = Choices()) -> dict[str, tuple[Foreign, Schedule]]:  # noqa: B008
    """By the name in their data."""
    found = await read(rules.database.url, choices)
    return {_data(thing.schedule)["name"]: (thing, thing.schedule) for thing in found if thing.schedule is not None}


def _data(schedule: Schedule) -> dict[str, str]:
    payload = schedule.spec.job.payload
    assert payload is not None
    return json_format.MessageToDict(Struct.FromString(payload.body))


def times_of(thing: Foreign, schedule: Schedule, count: int) -> list[datetime]:
    """When it runs."""
    assert schedule.next_time is not None
    days = days_of({one.name: one for one in thing.calendars})
    reckoning = Reckoning(schedule.spec.timing, key="q/s", created=schedule.create_time, calendars=days)
    return [one.time for one in islice(reckoning.occurrences(schedule.next_time - MILLISECOND), count)]


async def test_jobs_that_repeat_become_schedules_that_run_when_agenda_would(rules: Rules) -> None:
    found = await schedules(rules)
    assert found.keys() == {*rules.times, "rests"}
    for name, times in rules.times.items():
        thing, schedule = found[name]
        assert times_of(thing, schedule, 6) == times, name
        assert schedule.spec.overlap is Overlap.QUEUE_ONE
        assert (thing.source_state, schedule.spec.job.terms.retry.max_attempts) == ("repeating", 1)
    # Agenda takes a time of day by the clock of its machine.
    assert {name for name, (thing, _) in found.items() if IN_UTC in thing.why} == {"afternoon", "morning", "noon"}


async def test_one_that_is_disabled_is_paused(rules: Rules) -> None:
    thing, schedule = (await schedules(rules))["rests"]
    assert (schedule.spec.paused, schedule.spec.pause_reason, schedule.next_time) == (True, DISABLED, None)
    assert thing.verdict is Verdict.TAKEN


async def test_ids_are_the_same_in_each_run(rules: Rules) -> None:
    first, second = (await schedules(rules)), (await schedules(rules))
    ids = {name: schedule.spec.schedule_id for name, (_, schedule) in first.items()}
    assert ids == {name: schedule.spec.schedule_id for name, (_, schedule) in second.items()}
    assert len(set(ids.values())) == len(ids)
    assert ids["clean up"].startswith("clean_up.")


def test_words_are_as_many_milliseconds_as_agenda_makes_of_them(rules: Rules) -> None:
    ours = {phrase: interval_ms(phrase) for phrase in rules.phrases}
    assert {phrase: ms for phrase, (ms, literal) in ours.items() if literal} == {
        phrase: ms for phrase, ms in rules.phrases.items() if ours[phrase][1]
    }
    # Agenda makes 0 of these, and runs such a job again and again.
    said = {phrase: timedelta(milliseconds=ms) for phrase, (ms, literal) in ours.items() if not literal}
    assert said == {
        "every 5 minutes": timedelta(minutes=5),
        "every day": timedelta(days=1),
        "an hour": timedelta(hours=1),
    }
    assert {rules.phrases[phrase] for phrase in said} == {0}
