"""What real Bull and BullMQ left, taken over by `tocsin migrate`, runs in a server at its time."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from contract.builders import a_query
from support import node_tools
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client
from tocsin.v1 import job_pb2

from integration.migration.conftest import Migrate, OpenPlace

SCRIPTS = Path(__file__).parents[2] / "support/node"
StartServer = Callable[..., Server]


@pytest.fixture
def bulls(tmp_path: Path) -> Iterator[RedisBackend]:
    """The Redis that one moves away from."""
    with RedisBackend(tmp_path / "bulls") as redis:
        yield redis


def run_node(npm_packages: Path, folder: Path, name: str, *arguments: str) -> str:
    """What a script says."""
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(npm_packages)
    script = folder / name
    script.write_text((SCRIPTS / name).read_text())
    command = [node_tools.node(), str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def stands(tocsin: Client, job_id: str) -> job_pb2.Job:
    """The job, without what is said of the moment: how long ago it ended, or until it is due."""
    job = job_pb2.Job()
    job.CopyFrom(tocsin.get(job_id, queue="mail").message)
    job.ClearField("explanation")
    return job


@pytest.mark.parametrize("system", ["bull", "bullmq"])
def test_jobs_run_at_their_times_and_a_second_import_does_nothing(
    system: str,
    bulls: RedisBackend,
    tmp_path: Path,
    npm_packages: Path,
    store: StoreBackend,
    migrate: Migrate,
    serve: StartServer,
) -> None:
    source = bulls.url
    said = run_node(npm_packages, tmp_path, "bull_takeover.mjs", source, system)
    added = datetime.fromtimestamp(json.loads(said)["added"] / 1000, UTC)
    report = tmp_path / "report.jsonl"
    arguments = ("--from", system, "--source", source, "--to", store.url, "--report", str(report))

    dry = migrate(*arguments, "--dry-run")
    assert dry.code == 0, (dry.said, dry.errors)
    assert "nothing was done" in dry.said
    took = migrate(*arguments)
    assert took.code == 0, (took.said, took.errors)
    assert "4 jobs were brought in, 0 had been before" in took.said
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    states = {line["job_id"]: line["to_state"] for line in lines}
    assert states.pop("soon") in ("SCHEDULED", "WAITING")  # by how fast this machine is
    assert states == {"gives-up": "WAITING", "now": "WAITING", "tomorrow": "SCHEDULED"}

    server = serve(store.url, handlers="support.jobs.everyday")
    with Client(server.address) as tocsin:
        now = tocsin.wait("now", queue="mail", timeout=30)
        assert (now.state, now.result) == ("COMPLETED", {"to": "ada@example.com", "n": 1})
        soon = tocsin.wait("soon", queue="mail", timeout=60)
        assert soon.result == {"n": 2}
        assert soon.start_time is not None
        assert soon.start_time >= added + timedelta(seconds=10)
        gave_up = tocsin.wait("gives-up", queue="mail", timeout=30)
        assert (gave_up.state, gave_up.failures) == ("FAILED", 2)
        assert tocsin.get("tomorrow", queue="mail").state == "SCHEDULED"

        ids = ("now", "soon", "gives-up", "tomorrow")
        before = [stands(tocsin, job_id) for job_id in ids]
        again = migrate(*arguments)
        assert again.code == 0
        assert "0 jobs were brought in, 4 had been before" in again.said
        assert [stands(tocsin, job_id) for job_id in ids] == before


@pytest.mark.parametrize("system", ["bull", "bullmq"])
def test_jobs_that_go_as_they_end_are_run_once_and_those_of_another_prefix_are_not_lost(
    system: str,
    bulls: RedisBackend,
    tmp_path: Path,
    npm_packages: Path,
    store: StoreBackend,
    migrate: Migrate,
    serve: StartServer,
) -> None:
    for prefix in ("a", "b"):
        run_node(npm_packages, tmp_path, "bull_charges.mjs", bulls.url, system, prefix)
    arguments = ("--from", system, "--source", bulls.url, "--to", store.url)
    assert "3 jobs were brought in, 0 had been before" in migrate(*arguments, "--prefix", "a").said
    other = migrate(*arguments, "--prefix", "b")
    assert other.code == 1
    assert "0 jobs were brought in, 0 had been before" in other.said
    assert "refused pay: another job of its id stands here: bring its queue into one of another name" in other.said
    mapped = migrate(*arguments, "--prefix", "b", "--queue-map", "pay=pay-b")
    assert (mapped.code, "3 jobs were brought in" in mapped.said) == (0, True), mapped.said

    server = serve(store.url, handlers="support.jobs.everyday")
    with Client(server.address) as tocsin:

        def left(queue: str) -> int:
            return len(list(tocsin.list(queue=queue)))

        until(lambda: left("pay") + left("pay-b") == 0, within=30)
        assert "0 jobs were brought in, 3 had been before" in migrate(*arguments, "--prefix", "a").said
        again = migrate(*arguments, "--prefix", "b", "--queue-map", "pay=pay-b")
        assert "0 jobs were brought in, 3 had been before" in again.said
        assert (left("pay"), left("pay-b")) == (0, 0)


@pytest.mark.parametrize("system", ["bull", "bullmq"])
async def test_jobs_that_are_tocsins_own_types_by_name_and_data_become_those(
    system: str,
    bulls: RedisBackend,
    tmp_path: Path,
    npm_packages: Path,
    migrate: Migrate,
    redis: RedisBackend,
    open_place: OpenPlace,
) -> None:
    run_node(npm_packages, tmp_path, "bull_booking_site.mjs", bulls.url, system)
    took = migrate("--from", system, "--source", bulls.url, "--to", redis.url)
    assert took.code == 0, took.errors
    assert "changed site: it is Tocsin's own email_notification here" in took.said
    page = await (await open_place(redis.url)).store.page(a_query(queue="site"))
    types = {"email_notification", "sms_notification", "booking_reminder", "payment_reminder", "bull.data_cleanup"}
    assert {job.spec.type for job in page.jobs} == types
