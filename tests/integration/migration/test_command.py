"""`tocsin migrate` between stores as its user runs it: there and back, killed half-way, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import Sequence

import pytest
from contract.builders import a_draft, added, claimed_one
from support.mongo_backend import MongoBackend
from support.redis_backend import RedisBackend
from tocsin_server.store.interface import JobStore

from integration.migration.conftest import Migrate, OpenPlace, Ran, command
from integration.migration.filling import fill

_SUM = re.compile(
    r"verified: ([\d,]+) of ([\d,]+) jobs? (?:is|are) equal, (\d+) notes? looked at, "
    r"(\d+) jobs? stands? in the target only"
)


async def total(store: JobStore, queue: str = "q") -> int:
    figures = await store.figures(queue)
    return sum(map(figures.total, figures.counts))


def verified(ran: Ran) -> list[tuple[int, ...]]:
    """Of each queue: equal, jobs, notes, in the target only."""
    assert ran.code == 0, (ran.said, ran.errors)
    return [tuple(int(figure.replace(",", "")) for figure in found) for found in _SUM.findall(ran.said)]


async def there_and_back(
    queues: int, jobs: int, redis: RedisBackend, mongo: MongoBackend, open_place: OpenPlace, migrate: Migrate
) -> Sequence[Ran]:
    """So many queues of so many jobs: Redis, MongoDB, another database of that Redis."""
    first, last = redis.url, f"{redis.url}/1"
    for number in range(queues):
        await fill((await open_place(first)).store, f"queue-{number}", jobs, seed=number)
    ran = []
    for source, target in ((first, mongo.url), (mongo.url, last)):
        ran.append(migrate("--from", source, "--to", target, "--verify"))
        assert verified(ran[-1]) == [(jobs, jobs, 1, 0)] * queues, ran[-1].said
    return ran


async def test_jobs_go_there_and_back(
    redis: RedisBackend, mongo_database: MongoBackend, open_place: OpenPlace, migrate: Migrate
) -> None:
    there, _ = await there_and_back(2, 500, redis, mongo_database, open_place, migrate)
    assert there.said.splitlines()[0] == "queue-0: moved: 500 jobs copied, 0 stood there"
    assert there.said.splitlines()[-1].startswith("2 queues, 1,000 jobs (")


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_20_000_jobs_go_there_and_back(
    redis: RedisBackend,
    mongo_database: MongoBackend,
    open_place: OpenPlace,
    migrate: Migrate,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # SecantusDB looks at the rest of a queue for each page: one queue of 50,000 takes it five times as long.
    ran = await there_and_back(10, 2_000, redis, mongo_database, open_place, migrate)
    for name, one in zip(("to MongoDB", "to Redis"), ran, strict=True):
        with capsys.disabled():
            sys.stdout.write(
                f"\n20,000 jobs {name}, verified: {20_000 / one.seconds:.0f} a second, {one.peak_mib} MiB\n"
            )
        assert one.peak_mib < 120


@pytest.mark.parametrize("share", [0.1, 0.4, 0.55])
async def test_killed_half_way_and_run_again_it_ends_the_same(
    share: float, ways: tuple[str, str], open_place: OpenPlace, migrate: Migrate
) -> None:
    jobs = 1_800  # two steps: the last share comes before the second of them
    source, target = (await open_place(ways[0])).store, (await open_place(ways[1])).store
    for number in range(5):  # on a busy machine it may be done before it is looked at
        queue = f"q{number}"
        await fill(source, queue, jobs, tried=50)
        process = await asyncio.create_subprocess_exec(*command(), "--from", ways[0], "--to", ways[1], "--queue", queue)
        while await total(target, queue) < share * jobs and process.returncode is None:
            pass
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if await process.wait() == -signal.SIGKILL:
            break
    assert process.returncode == -signal.SIGKILL, "each time it had done it all before it was killed"
    assert share * jobs <= await total(target, queue) <= jobs
    ran = migrate("--from", ways[0], "--to", ways[1], "--queue", queue, "--verify")
    assert verified(ran) == [(jobs, jobs, 1, 0)]


async def test_a_dry_run_changes_nothing(
    redis: RedisBackend, mongo_database: MongoBackend, open_place: OpenPlace, migrate: Migrate
) -> None:
    await added((await open_place(redis.url)).store, a_draft())
    await open_place(mongo_database.url)
    before = redis.dump(), mongo_database.dump()
    ran = migrate("--from", redis.url, "--to", mongo_database.url, "--dry-run")
    assert (ran.code, ran.said.splitlines()[0]) == (0, "q: 1 job would be moved; 0 stand in the target")
    assert ran.said.splitlines()[-1].startswith("1 queue, 1 job (dry run): ")
    assert (redis.dump(), mongo_database.dump()) == before


async def test_verified_later_what_has_gone_on_since_differs(
    ways: tuple[str, str], open_place: OpenPlace, migrate: Migrate
) -> None:
    await added((await open_place(ways[0])).store, a_draft("a"), a_draft("b"))
    arguments = ("--from", ways[0], "--to", ways[1])
    assert migrate(*arguments).code == 0
    assert verified(migrate(*arguments, "--verify")) == [(2, 2, 0, 0)]
    one = await claimed_one((await open_place(ways[1])).store)
    ran = migrate(*arguments, "--verify")
    assert ran.code == 1
    assert f"job {one.job.job_id!r} differs in state, start_time, attempt, revision" in ran.said


async def test_a_queue_that_is_not_there_is_refused(
    redis: RedisBackend, mongo_database: MongoBackend, open_place: OpenPlace, migrate: Migrate
) -> None:
    await added((await open_place(redis.url)).store, a_draft())
    ran = migrate("--from", redis.url, "--to", mongo_database.url, "--queue", "nosuch")
    assert ran.code == 2
    assert "--queue nosuch: redis://" in ran.errors
    assert await (await open_place(redis.url)).store.queues() == ["q"]


async def test_a_job_that_runs_is_named_and_the_exit_code_says_so(
    ways: tuple[str, str], open_place: OpenPlace, migrate: Migrate
) -> None:
    source = (await open_place(ways[0])).store
    await added(source, a_draft("busy"))
    await claimed_one(source)
    ran = migrate("--from", ways[0], "--to", ways[1], "--wait", "0s")
    assert ran.code == 1
    assert "q: NOT DONE, still paused: 0 jobs copied" in ran.said
    assert "job 'busy' still runs" in ran.said


def test_a_password_is_not_shown(ways: tuple[str, str], migrate: Migrate) -> None:
    ran = migrate("--from", "redis://:s3cret@127.0.0.1:1", "--to", ways[1])
    assert ran.code == 2
    assert "s3cret" not in ran.said + ran.errors
    assert ran.errors.startswith("tocsin migrate: ")
    assert len(ran.errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--from", "bull"], "--from bull needs --source, the address of its jobs"),
        (["--from", "postgres://x", "--to", "redis://127.0.0.1:1"], "--from: "),
        (["--from", "redis://127.0.0.1:1", "--to", "mongodb:/x"], "--to: "),
        (
            ["--from", "redis://127.0.0.1:1", "--to", "redis://127.0.0.1:1", "--from-namespace", "a b"],
            "--from-namespace: ",
        ),
        (["--from", "redis://127.0.0.1:1", "--report", "x"], "--report: means nothing with --from a store of Tocsin"),
        (["--from", "bull", "--source", "redis://x", "--verify"], "--verify: means nothing with --from bull"),
        (["--from", "bull", "--source-collection", "x"], "--source-collection: means nothing with --from bull"),
        (["--from", "agenda", "--from-collection", "x"], "--from-collection: means nothing with --from agenda"),
        (["--from", "agenda", "--queue", "a", "--queue", "b"], "--queue: Agenda has no queues"),
    ],
)
def test_wrong_addresses_are_named(arguments: list[str], line: str, migrate: Migrate) -> None:
    ran = migrate(*arguments)
    assert ran.code == 2
    assert f"tocsin migrate: {line}" in ran.errors


def test_a_report_that_cannot_be_written_is_named(redis: RedisBackend, migrate: Migrate) -> None:
    redis.client.hset("bull:q:1", mapping={"name": "t", "data": "{}", "opts": "{}", "timestamp": "1"})
    redis.client.rpush("bull:q:wait", "1")
    ran = migrate("--from", "bull", "--source", redis.url, "--report", "no/such/folder", "--dry-run")
    assert ran.code == 2
    assert ran.errors == "tocsin migrate: --report: no/such/folder: No such file or directory\n"


def test_a_source_that_holds_nothing_is_named(
    redis: RedisBackend, mongo_database: MongoBackend, migrate: Migrate
) -> None:
    ran = migrate("--from", redis.url, "--to", mongo_database.url)
    assert ran.code == 2
    assert "--from: redis://" in ran.errors
    assert "has no queue: is it another database" in ran.errors
    ran = migrate("--from", "embedded:mistyped", "--to", redis.url)
    assert (ran.code, "there is no folder" in ran.errors) == (2, True)


def test_the_line_of_a_store_that_is_away_says_which_it_is(redis: RedisBackend, migrate: Migrate) -> None:
    assert migrate("--from", "redis://127.0.0.1:1", "--to", redis.url).errors.startswith("tocsin migrate: --from: ")
    assert migrate("--from", redis.url, "--to", "redis://127.0.0.1:1").errors.startswith("tocsin migrate: --to: ")


async def test_a_store_is_not_moved_onto_itself_by_another_name(
    redis: RedisBackend, open_place: OpenPlace, migrate: Migrate
) -> None:
    store = (await open_place(redis.url)).store
    await added(store, a_draft())
    ran = migrate("--from", redis.url, "--to", redis.url.replace("127.0.0.1", "localhost"))
    assert (ran.code, "--from and --to are the same" in ran.errors) == (2, True), ran.said
    assert not (await store.settings(["q"]))[0].paused


def test_a_store_is_not_moved_onto_itself(redis: RedisBackend, migrate: Migrate) -> None:
    ran = migrate("--from", redis.url, "--to", redis.url)
    assert ran.code == 2
    assert "--from and --to are the same" in ran.errors
