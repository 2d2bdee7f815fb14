"""The Python client, blocking and async, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend, on_each_store
from tocsin import (
    AlreadyExists,
    AsyncClient,
    Client,
    EmailNotification,
    FailedPrecondition,
    InvalidArgument,
    JobChange,
    JobRequest,
    NotFound,
    TocsinError,
    WaitTimeout,
)


@pytest.fixture
def client(shared_server: Server) -> Iterator[Client]:
    with Client(shared_server.address) as client:
        yield client


@pytest_asyncio.fixture
async def aclient(shared_server: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(shared_server.address) as client:
        yield client


@on_each_store
def test_a_job_is_scheduled_waited_for_and_read(client: Client, queue: str) -> None:
    job = client.schedule(
        "echo", {"path": "a.png"}, queue=queue, delay=0.2, priority=5, tags={"a": "b"}, limit_key="c", weight=3
    )
    assert (job.state, job.outcome, job.priority, job.tags) == ("SCHEDULED", "CREATED", 5, {"a": "b"})
    assert (job.limit_key, job.weight) == ("c", 3)
    ended = client.wait(job, timeout=20)
    assert (ended.state, ended.data, ended.result) == ("COMPLETED", {"path": "a.png"}, {"path": "a.png"})


@on_each_store
def test_a_time_may_be_given_with_any_zone(client: Client, queue: str) -> None:
    at = datetime(2099, 12, 24, 18, tzinfo=UTC)
    assert client.schedule("noop", queue=queue, at=at.astimezone()).schedule_time == at


@on_each_store
def test_all_payload_forms_come_back_as_they_went(client: Client, queue: str) -> None:
    letter = EmailNotification(to=["ada@example.com"], subject="Hello", text="Hi Ada")
    jobs = [client.schedule("x", b"\x00\xff", queue=queue, delay=3600), client.schedule(letter, queue=queue, delay=60)]
    raw, typed = (client.get(job) for job in jobs)
    assert raw.payload == b"\x00\xff"
    assert (typed.payload, typed.type) == (letter, "email_notification")


@on_each_store
def test_a_list_goes_over_pages(client: Client, queue: str) -> None:
    client.schedule_many(JobRequest("noop", {"n": n}, queue=queue, job_id=str(n), delay=3600) for n in range(25))
    assert [job.job_id for job in client.list(queue=queue, page_size=7)] == [str(n) for n in reversed(range(25))]
    assert len(list(client.list(queue=queue, page_size=7, limit=9))) == 9
    assert client.count(queue=queue, states=["SCHEDULED"]) == 25


@on_each_store
def test_verbs_answer_with_the_job_as_it_is_then(client: Client, queue: str) -> None:
    job = client.schedule("noop", queue=queue, job_id="one", delay=3600)
    assert client.update(job, priority=7).priority == 7
    assert client.cancel(job, reason="moved").state == "CANCELLED"
    assert client.cancel("one", queue=queue).cancel.reason == "moved"
    client.pause(queue)
    assert client.retry(job).state == "WAITING"
    client.resume(queue)
    assert client.wait(job, timeout=20).state == "COMPLETED"
    client.delete(job)
    with pytest.raises(NotFound):
        client.get(job)


@on_each_store
def test_errors_are_one_tree_and_say_what_is_wrong(client: Client, queue: str) -> None:
    client.schedule("noop", queue=queue, job_id="one", delay=3600)
    with pytest.raises(AlreadyExists) as exists:
        client.schedule("noop", queue=queue, job_id="one")
    assert (exists.value.reason, exists.value.state) == ("JOB_EXISTS", "SCHEDULED")
    with pytest.raises(InvalidArgument) as invalid:
        client.schedule("two words", queue=queue)
    assert [violation.field for violation in invalid.value.violations] == ["job.type"]
    with pytest.raises(FailedPrecondition):
        client.delete("one", queue=queue)
    with pytest.raises(WaitTimeout):
        client.wait("one", queue=queue, timeout=0.2)
    assert issubclass(InvalidArgument, TocsinError)


@on_each_store
def test_many_are_scheduled_and_one_bad_one_harms_no_other(client: Client, queue: str) -> None:
    good, bad, last = client.schedule_many(
        [JobRequest("noop", queue=queue), JobRequest("two words", queue=queue), JobRequest("noop", queue=queue)]
    )
    assert isinstance(bad, InvalidArgument)
    assert {client.wait(job, timeout=20).state for job in (good, last)} == {"COMPLETED"}


def test_threads_that_share_a_client_are_gathered(quiet_server: Server, quiet_redis: RedisBackend, queue: str) -> None:
    with Client(quiet_server.address) as client, ThreadPoolExecutor(32) as threads:
        client.schedule("noop", queue=queue, delay=3600)
        before = quiet_redis.calls()["xadd"]
        jobs = list(threads.map(lambda n: client.schedule("noop", {"n": n}, queue=queue, delay=3600), range(256)))
    assert len({job.job_id for job in jobs}) == 256
    assert quiet_redis.calls()["xadd"] - before <= 128


async def test_concurrent_schedules_of_one_async_client_are_gathered_each_with_its_own_answer(
    quiet_server: Server, quiet_redis: RedisBackend, queue: str
) -> None:
    async with AsyncClient(quiet_server.address) as client:
        await client.schedule("noop", queue=queue, job_id="standing", delay=3600)
        before = quiet_redis.calls()["xadd"]
        ids = [str(n) if n != 100 else "standing" for n in range(256)]
        answers = await asyncio.gather(
            *(client.schedule("noop", queue=queue, job_id=one, delay=3600) for one in ids), return_exceptions=True
        )
        assert quiet_redis.calls()["xadd"] - before <= 16
    assert isinstance(answers.pop(100), AlreadyExists)
    ids.remove("standing")
    assert [getattr(job, "job_id", job) for job in answers] == ids


@on_each_store
async def test_the_async_client_does_the_same(aclient: AsyncClient, queue: str) -> None:
    job = await aclient.schedule("echo", {"a": 1}, queue=queue, delay=timedelta(seconds=0.1))
    states = [change.job.state async for change in aclient.watch(job) if change.job]
    assert states[-1] == "COMPLETED"
    assert (await aclient.wait(job)).result == {"a": 1}
    assert [found.job_id async for found in aclient.list(queue=queue)] == [job.job_id]
    health = await aclient.queue_health(queue)
    assert health.healthy


def test_a_wait_survives_the_death_and_return_of_its_server(
    store: StoreBackend, serve: Callable[..., Server], queue: str
) -> None:
    server = serve(store.url, handlers="support.jobs.everyday")
    with Client(server.address) as client, ThreadPoolExecutor(1) as thread:
        job = client.schedule("served_by_nobody", queue=queue, delay=3600)
        waiting = thread.submit(client.wait, job, timeout=60)
        server.kill()
        server.restart()
        client.cancel(job)
        assert waiting.result(60).state == "CANCELLED"


@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")
def test_a_watch_outlives_the_variable_that_held_its_client(shared_server: Server, queue: str) -> None:
    def follow() -> Iterator[JobChange]:
        client = Client(shared_server.address)
        return client.watch(client.schedule("noop", queue=queue))

    assert [change.job.state for change in follow() if change.job is not None][-1] == "COMPLETED"
