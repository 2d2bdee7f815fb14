"""Jobs of Agenda 4, 5, 6 and @hokify/agenda: each line's own package has written, run, failed and locked them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tocsin.payloads import DecodedPayload, decode_payload
from tocsin.v1 import payloads_pb2
from tocsin_server.api.requests.payloads.checking import check_payload
from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain.job import Job
from tocsin_server.domain.schedules.timing import Cron, Every
from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.agenda.reader import open_agenda
from tocsin_server.migrate.systems.bring_in import bring_in
from tocsin_server.migrate.systems.foreign import Choices, Foreign, Verdict

from integration.migration.agenda.conftest import DROPPED_BY_THE_DRIVER, Reading, RunNode, Scene, read

pytestmark = DROPPED_BY_THE_DRIVER

FAR = datetime(2099, 12, 24, 18, 0, 0, 123_000, tzinfo=UTC)
ALL = Choices(take_active=True, take_completed=True)

#: What each role of agenda_scene.mjs is, and becomes where nothing more is asked for.
BECOMES = {
    "completed": ("completed", Verdict.LEFT),
    "failed": ("failed", Verdict.TAKEN),
    "retrying": ("retrying", Verdict.CHANGED),  # its name
    "interrupted": ("interrupted", Verdict.LEFT),
    "locked": ("locked", Verdict.LEFT),
    "scheduled": ("scheduled", Verdict.CHANGED),  # its name
    "queued": ("queued", Verdict.TAKEN),
    "nothing": ("scheduled", Verdict.TAKEN),
    "text": ("scheduled", Verdict.CHANGED),
    "built_in": ("scheduled", Verdict.CHANGED),
    "rich": ("scheduled", Verdict.CHANGED),
    "unique": ("scheduled", Verdict.TAKEN),  # no line stores that it was
    "disabled": ("disabled", Verdict.LEFT),
    "named-priority": ("scheduled", Verdict.TAKEN),
    "every": ("repeating", Verdict.TAKEN),
    "repeat-at": ("repeating", Verdict.LEFT),  # for 3:30pm, and put off to another time of day
    "single": ("repeating", Verdict.CHANGED),  # its name
    "debounced": ("scheduled", Verdict.CHANGED),
    "ended": ("without a time", Verdict.LEFT),
    "forked": ("scheduled", Verdict.CHANGED),
}
#: Taken as well, with take_active and take_completed.
TAKEN_TOO = {"completed": State.COMPLETED, "interrupted": State.WAITING, "locked": State.WAITING}


def job_of(found: Foreign) -> Job:
    assert found.job is not None, found
    return found.job


def payload_of(found: Foreign) -> DecodedPayload:
    payload = job_of(found).spec.payload
    assert payload is not None
    return decode_payload(payload.kind, payload.body)


async def of(scene: Scene, choices: Choices = Choices()) -> dict[str, Foreign]:  # noqa: B008 - frozen
    return Reading(await read(scene.database.url, choices), scene.ids).by_role()


async def test_each_job_is_found_once_and_becomes_what_the_manual_says(scene: Scene) -> None:
    found = await of(scene)
    assert {role: (one.source_state, one.verdict) for role, one in found.items()} == {
        role: BECOMES[role] for role in scene.ids
    }
    assert len(scene.ids) >= 17
    assert {one.queue for one in found.values()} == {"agendaJobs"}
    assert all((one.spec is None) == (one.verdict is Verdict.LEFT) for one in found.values())


async def test_active_and_completed_jobs_are_taken_if_asked_for(scene: Scene) -> None:
    before, found = await of(scene), await of(scene, ALL)
    more = {role: job_of(found[role]).state for role in found if found[role].job and not before[role].job}
    assert more == {role: state for role, state in TAKEN_TOO.items() if role in scene.ids}


async def test_times_states_and_priorities_are_kept(scene: Scene) -> None:
    found = await of(scene, ALL)
    jobs = {role: one.job for role, one in found.items() if one.job is not None}
    assert {role: job.job_id for role, job in jobs.items()} == {role: scene.ids[role] for role in jobs}
    assert {role: job.spec.priority for role, job in jobs.items() if job.spec.priority} == {
        "failed": 10,
        "queued": -20,
        "named-priority": 20,
    }
    for role in ("scheduled", "nothing", "text", "built_in", "rich", "unique", "named-priority"):
        assert (jobs[role].state, jobs[role].schedule_time) == (State.SCHEDULED, FAR)
    assert jobs["queued"].state is State.WAITING
    assert {job.spec.terms.retry.max_attempts for job in jobs.values()} == {1}
    now = datetime.now(UTC)
    for job in jobs.values():
        assert now - timedelta(minutes=10) < job.create_time <= now + timedelta(seconds=1)


async def test_a_job_that_failed_keeps_what_its_handler_said(scene: Scene) -> None:
    job = job_of((await of(scene))["failed"])
    assert (job.state, job.attempt, job.failures) == (State.FAILED, 1, 1)
    [error] = job.errors
    assert (error.message, error.attempt) == ("the card was refused: ☂", 1)
    assert job.start_time is not None
    assert error.time == job.end_time
    assert job.start_time <= error.time


async def test_a_job_that_comes_again_keeps_its_failure_and_its_hour(scene: Scene) -> None:
    job = job_of((await of(scene))["retrying"])
    assert (job.state, job.attempt, job.failures, job.end_time) == (State.SCHEDULED, 1, 1, None)
    [error] = job.errors
    assert error.message == "not yet 1"
    assert error.time is not None
    assert timedelta(minutes=59) < job.schedule_time - error.time < timedelta(minutes=61)


async def test_a_locked_job_counts_the_run_that_was_cut_off(scene: Scene) -> None:
    job = job_of((await of(scene, ALL))["locked"])
    assert (job.attempt, job.failures, job.crashes, job.end_time) == (1, 0, 0, None)
    assert job.start_time == job.schedule_time
    assert (job.progress.fraction if job.progress else None) == (None if scene.line in "45" else 0.4)


async def test_repeating_jobs_become_schedules_or_are_named(scene: Scene) -> None:
    found = await of(scene, ALL)
    every, single = found["every"].schedule, found["single"].schedule
    assert every is not None
    assert single is not None
    assert (every.spec.schedule_id[:5], every.spec.timing.rule) == ("tick.", Cron(("*/5 * * * *",), "Europe/Berlin"))
    assert isinstance(single.spec.timing.rule, Every)
    assert single.spec.timing.rule.interval == timedelta(minutes=10)
    assert "'noon' repeats at '3:30pm': its cron names no time zone" in found["repeat-at"].why[0]


async def test_names_become_types_that_stay_apart(scene: Scene) -> None:
    found = await of(scene)
    types = {role: job_of(found[role]).spec.type for role in ("scheduled", "queued", "built_in", "retrying")}
    assert types == {
        "scheduled": "send_email",
        "queued": "send-email",
        "built_in": "agenda.data_cleanup",
        "retrying": "come_again",
    }
    assert found["scheduled"].why == ("the name 'send email' is the type send_email here",)


async def test_data_is_kept(scene: Scene) -> None:
    found = await of(scene)
    assert payload_of(found["scheduled"]) == {"to": "ada@example.com", "n": [1, 2.5, None]}
    assert job_of(found["nothing"]).spec.payload is None
    text = payload_of(found["text"])
    assert isinstance(text, payloads_pb2.RawPayload)
    assert (text.content_type, text.body) == ("application/json", b'"only text"')
    for one in found.values():
        if one.job is not None and one.job.spec.payload is not None:
            wrong = Violations()
            check_payload(wrong, "job", one.job.spec.payload.kind, one.job.spec.payload.body)
            wrong.done()


async def test_what_json_lacks_is_read_back_by_nodes_own_library(scene: Scene, run_node: RunNode) -> None:
    rich = payload_of((await of(scene))["rich"])
    assert isinstance(rich, dict)
    assert rich["user"] == {"$oid": "65f000000000000000000001"}
    assert rich["when"] == {"$date": "2031-05-06T07:08:09.010Z"}
    back: dict[str, Any] = json.loads(run_node("agenda_reads_back.mjs", said=json.dumps(rich)))
    assert back == {
        "user": "ObjectId 65f000000000000000000001",
        "when": "Date 2031-05-06T07:08:09.010Z",
        "price": "Decimal128 12.50",
        "large": "BigInt 9007199254740993",
        "small": "Number 5",
        "bytes": "Binary 00ff",
        "nan": "Number NaN",
        "pattern": "BSONRegExp /a+/i",
        "nested": "Array 1970-01-01T00:00:00.000Z",
    }


async def test_a_result_is_kept_where_agenda_kept_it(scene: Scene) -> None:
    result = job_of((await of(scene, ALL))["completed"]).result
    assert (result is not None) == (scene.line in "45")  # the others have no such option


async def test_jobs_come_in_the_order_in_which_agenda_takes_them(scene: Scene) -> None:
    roles = Reading(await read(scene.database.url, ALL), scene.ids).roles
    timeless = {"completed", "failed", "locked", "interrupted", "ended"} & scene.ids.keys()
    assert set(roles[: len(timeless)]) == timeless
    far = [role for role in roles if role in ("named-priority", "scheduled", "nothing", "rich", "disabled")]
    assert far == ["named-priority", "scheduled", "nothing", "rich", "disabled"]  # priority, then age
    assert roles.index("queued") < roles.index("retrying") < roles.index("named-priority")


async def test_reading_changes_nothing(scene: Scene) -> None:
    before = scene.database.everything()
    assert len(before["agendaJobs"][2]) == len(scene.ids)
    await of(scene, ALL)
    assert scene.database.everything() == before


async def test_a_dry_run_counts_by_state_and_verdict(scene: Scene) -> None:
    async with open_agenda(scene.database.url, Choices(), queue="mail") as source:
        assert await source.paused() == ()
        imported = await bring_in(source.read(), None, lambda line: None)
    assert imported.counts["agendaJobs", "failed", Verdict.TAKEN] == 1
    assert imported.counts["agendaJobs", "repeating", Verdict.LEFT] == 1
    assert sum(imported.counts.values()) == len(scene.ids)
    assert imported.refused == 0


@pytest.mark.parametrize("queue", ["default", "mail"])
async def test_all_jobs_are_for_the_queue_that_is_named(scene: Scene, queue: str) -> None:
    found = await read(scene.database.url, ALL, queue=queue)
    assert {one.job.queue for one in found if one.job is not None} == {queue}
