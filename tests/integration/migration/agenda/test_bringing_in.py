"""Agenda's jobs brought into a store, and run there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson.objectid import ObjectId
from support.mongo_backend import MongoBackend
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client
from tocsin_server.domain.job import View
from tocsin_server.migrate.systems.agenda.reading import DEFAULT_COLLECTION, open_agenda
from tocsin_server.migrate.systems.bring_in import BroughtIn, bring_in
from tocsin_server.migrate.systems.foreign import Choices
from tocsin_server.store.interface import JobStore

from integration.migration.agenda.conftest import DROPPED_BY_THE_DRIVER, LINES, Database, RunNode, Scene, read
from integration.migration.conftest import Migrate, OpenPlace

pytestmark = DROPPED_BY_THE_DRIVER
ALL = Choices(take_active=True, take_completed=True)
NOW = datetime.now(UTC)
StartServer = Callable[..., Server]


@pytest.fixture(params=["redis", "mongo_database"])
def target(request: pytest.FixtureRequest) -> StoreBackend:
    """An empty store of each kind in turn."""
    part: RedisBackend | MongoBackend = request.getfixturevalue(request.param)
    return part


async def imported(scene: Scene, store: JobStore) -> BroughtIn:
    async with open_agenda(scene.database.url, ALL, queue="mail") as source:
        return await bring_in(source.read(), store, lambda line: None)


async def test_each_job_stands_just_as_it_was_read_and_once(
    scene: Scene, target: StoreBackend, open_place: OpenPlace
) -> None:
    store = (await open_place(target.url)).store
    jobs = [one.job for one in await read(scene.database.url, ALL, queue="mail") if one.job is not None]

    first = await imported(scene, store)
    assert (first.placed, first.stood, first.refused) == (len(jobs), 0, 0)
    stands = await store.get("mail", [job.job_id for job in jobs], View.FULL)
    for job, there in zip(jobs, stands, strict=True):
        assert there is not None
        wanted = {name: getattr(job, name) for name in ("state", "schedule_time", "start_time", "end_time", "errors")}
        assert {name: getattr(there, name) for name in wanted} == wanted
        assert (there.attempt, there.failures, there.result) == (job.attempt, job.failures, job.result)
        assert (there.spec.type, there.spec.payload, there.spec.priority, there.spec.terms.retry) == (
            job.spec.type,
            job.spec.payload,
            job.spec.priority,
            job.spec.terms.retry,
        )
    assert [there.arrival for there in stands if there] == list(range(1, len(jobs) + 1))

    before = target.dump()
    second = await imported(scene, store)
    assert (second.placed, second.stood) == (0, len(jobs))
    assert target.dump() == before


def a_job(name: str, **fields: Any) -> dict[str, Any]:
    due = NOW - timedelta(minutes=1)
    return {"_id": ObjectId(), "name": name, "data": {"n": 1}, "type": "normal", "nextRunAt": due, **fields}


async def test_jobs_run_here_as_they_would_have_there(
    database: Database, target: StoreBackend, migrate: Migrate, serve: StartServer
) -> None:
    echo, fails, later = a_job("echo"), a_job("fails"), a_job("echo", nextRunAt=NOW + timedelta(days=9))
    database.insert(echo, fails, later)
    ran = migrate("--from", "agenda", "--source", database.url, "--to", target.url)
    assert ran.code == 0, (ran.said, ran.errors)

    server = serve(target.url, handlers="support.jobs.everyday")
    with Client(server.address) as tocsin:
        done = tocsin.wait(str(echo["_id"]), timeout=30)
        assert (done.state, done.result) == ("COMPLETED", {"n": 1})
        failed = tocsin.wait(str(fails["_id"]), timeout=30)
        assert (failed.state, failed.attempt) == ("FAILED", 1)  # Agenda would have run it once
        assert tocsin.get(str(later["_id"])).state == "SCHEDULED"
    assert server.stop() == 0


@pytest.mark.parametrize("line", LINES, ids=LINES.get)
async def test_jobs_that_are_tocsins_own_types_become_those_and_are_sent(
    line: str,
    database: Database,
    redis: RedisBackend,
    migrate: Migrate,
    run_node: RunNode,
    serve: StartServer,
    tmp_path: Path,
) -> None:
    run_node("agenda_booking_site.mjs", line, database.url, DEFAULT_COLLECTION)
    ran = migrate("--from", "agenda", "--source", database.url, "--to", redis.url, "--queue", "site")
    assert ran.code == 0, (ran.said, ran.errors)
    assert "it is Tocsin's own email_notification here" in ran.said

    outbox = tmp_path / "outbox"
    server = serve(redis.url, "--mail", f"file:{outbox}", "--mail-from", "shop@example.com")
    with Client(server.address) as tocsin:
        states = {job.type: job.state for job in tocsin.list(queue="site")}
        types = {
            "email_notification",
            "sms_notification",
            "booking_reminder",
            "payment_reminder",
            "agenda.data_cleanup",
        }
        assert set(states) == types
        [mail] = tocsin.list(queue="site", types=["email_notification"])
        assert tocsin.wait(mail, queue="site", timeout=30).state == "COMPLETED"
        [payment] = tocsin.list(queue="site", types=["payment_reminder"])
        payload = tocsin.get(payment, queue="site").payload
        assert (payload.amount_minor, payload.currency) == (2500, "USD")
    [sent] = outbox.glob("**/*.eml")
    assert "ada@example.com" in sent.read_text()
    assert server.stop() == 0


async def test_agendas_own_database_can_be_the_target_under_another_name(database: Database, migrate: Migrate) -> None:
    database.insert(a_job("echo"), collection="agenda_jobs")
    before = database.everything()
    agenda = ("--from", "agenda", "--source", database.url, "--source-collection", "agenda_jobs")

    refused = migrate(*agenda, "--to", database.url)  # whose collection has Agenda's own name
    assert refused.code == 2
    assert "QUEUE_COLLECTION" in refused.errors
    assert database.everything() == before

    ran = migrate(*agenda, "--to", database.url, "--to-collection", "tocsin_jobs")
    assert ran.code == 0, (ran.said, ran.errors)
    after = database.everything()
    assert after["agenda_jobs"] == before["agenda_jobs"]
    assert len(after["tocsin_jobs"][2]) == 1


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    scene: Scene, redis: RedisBackend, migrate: Migrate
) -> None:
    before = redis.dump()
    ran = migrate("--from", "agenda", "--source", scene.database.url, "--to", redis.url, "--dry-run")
    assert ran.code == 3, (ran.said, ran.errors)  # some of it would be left
    assert "send_email" in ran.said
    assert redis.dump() == before
