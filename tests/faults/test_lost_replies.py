"""The reply to a write is lost on its way from the store: no job doubled, lost or stuck."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest
from support.eventually import until
from support.journal import Journal
from support.mongo_backend import JOBS, MongoBackend
from support.mongo_wire import asks, sets
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import STORES, StoreBackend, store_settings
from support.stubs import Request, State, Stubs, refusal, request
from support.tcp_proxy import Fate, Order, TcpProxy
from tocsin.v1 import job_pb2, job_service_pb2
from tocsin_server.settings import EventSettings
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.script_text import SHORTENED
from tocsin_server.store.redis.scripts import Scripts

LEASE = {"TOCSIN_LEASE__DURATION": "2s"}


@dataclass
class Faulty:
    """A server whose every word with the store passes through a proxy."""

    stubs: Stubs
    proxy: TcpProxy
    store: StoreBackend
    journal: Journal

    def lose_reply_to(self, call: str) -> Order:
        """Lose the store's reply to its next call of this kind, and as often as it is sent again at once."""
        if isinstance(self.store, RedisBackend):
            return self.proxy.swallow_reply_to(_script(self.store, call))
        # The driver sends it once more by itself, and is answered: that is tried in test_lost_commands.
        wanted = _WRITES[call]
        self.proxy.order(wanted, Fate.REPLY_LOST)
        return self.proxy.order(wanted, Fate.REPLY_LOST, skip=1)


#: By which command a job's document is written.
_WRITES = {
    "add": asks("insert", JOBS),
    "claim": asks("update", JOBS, about=sets("state", State.ACTIVE)),
    "finish": asks("update", JOBS, about=sets("state", State.COMPLETED)),
    "cancel": asks("update", JOBS, about=sets("cancel")),
}


def _script(redis: RedisBackend, name: str) -> bytes:
    """What a request that runs this script has in it: its hash, or that of its short form where that is what runs. The
    script must have run before."""
    events = EventSettings()
    loaded = Scripts(RedisConnection(redis.url), events_max=events.per_queue, events_age=events.kept_for)
    forms = [loaded.sha1(f"{name} short")] if name in SHORTENED else []
    forms.append(loaded.sha1(name))
    known = [one for one, there in zip(forms, redis.client.script_exists(*forms), strict=True) if there]
    assert known, f"{name} was never run, or is built otherwise"
    return known[0].encode()


@pytest.fixture(scope="module", params=STORES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """One for all tests: each keeps to a queue of its own."""
    folder = tmp_path_factory.mktemp("faulty")
    journal = Journal(folder / "journal.tsv")
    store: RedisBackend | MongoBackend = (
        RedisBackend(folder / "redis")
        if request.param == "redis"
        else MongoBackend(request.getfixturevalue("mongo_server"), "lost_replies")
    )
    with store, TcpProxy("127.0.0.1", store.port) as proxy:
        env = {**store_settings(store.url_at(proxy.port)), **LEASE, **journal.env}
        server = Server(folder, ["--handlers", "support.jobs.everyday"], env).start()
        try:
            with Stubs(server.address) as stubs:
                # Each script has run once, so that it goes by its hash from now on.
                stubs.schedule("warm", "noop", job_id="one")
                stubs.wait_for("warm", "one")
                stubs.schedule("warm", "noop", job_id="two", delay=3600)
                stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue="warm", job_id="two"))
                yield Faulty(stubs, proxy, store, journal)
            assert server.stop() == 0
            assert "had lost its lease" not in server.log.read_text(), "an outcome that was recorded was refused again"
            assert "outcome_refused" not in server.log.read_text()
        finally:
            server.kill()


@pytest.fixture
def faulty(running: Faulty) -> Faulty:
    running.proxy.forget_orders()
    running.journal.path.unlink(missing_ok=True)
    return running


def test_a_lost_reply_to_add_is_an_unknown_outcome_and_the_repeat_finds_the_one_job(faulty: Faulty, queue: str) -> None:
    lost = faulty.lose_reply_to("add")
    with pytest.raises(grpc.RpcError) as caught:
        faulty.stubs.schedule(queue, "half_a_second", job_id="one")
    assert lost.done.wait(5)
    why = refusal(caught.value)
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN")

    repeated = faulty.stubs.jobs.ScheduleJob(request(queue, "half_a_second", job_id="one", on_conflict=Request.KEEP))
    assert repeated.outcome == job_service_pb2.ScheduleJobResponse.KEPT
    assert faulty.stubs.wait_for(queue, "one").state == State.COMPLETED
    assert faulty.journal.starts() == {"one": 1}


def test_a_lost_reply_to_claim_loses_no_job_and_runs_it_once(faulty: Faulty, queue: str) -> None:
    lost = faulty.lose_reply_to("claim")
    faulty.stubs.schedule(queue, "half_a_second", job_id="one")
    assert lost.done.wait(5)
    job = faulty.stubs.wait_for(queue, "one")
    assert (job.state, job.crashes) == (State.COMPLETED, 0)
    assert faulty.journal.starts() == {"one": 1}


def test_a_lost_reply_to_finish_records_one_outcome_and_the_repeat_is_fine(faulty: Faulty, queue: str) -> None:
    lost = faulty.lose_reply_to("finish")
    faulty.stubs.schedule(queue, "half_a_second", job_id="one")
    assert lost.done.wait(10)
    job = faulty.stubs.wait_for(queue, "one")
    assert (job.state, job.attempt, job.crashes, list(job.errors)) == (State.COMPLETED, 1, 0, [])
    revision = job.revision
    faulty.stubs.schedule(queue, "half_a_second", job_id="two")
    assert faulty.stubs.wait_for(queue, "two").state == State.COMPLETED
    assert faulty.stubs.get(queue, "one").revision == revision  # the repeated finish changed nothing
    assert faulty.journal.starts() == {"one": 1, "two": 1}


def test_a_lost_reply_to_cancel_leaves_the_job_cancelled_and_the_repeat_is_fine(faulty: Faulty, queue: str) -> None:
    faulty.stubs.schedule(queue, "noop", job_id="one", delay=3600)
    asked = job_service_pb2.CancelJobRequest(queue=queue, job_id="one", reason="moved")
    lost = faulty.lose_reply_to("cancel")
    with pytest.raises(grpc.RpcError) as caught:
        faulty.stubs.jobs.CancelJob(asked)
    assert lost.done.wait(5)
    assert refusal(caught.value).reason == "OUTCOME_UNKNOWN"
    again = faulty.stubs.jobs.CancelJob(asked).job
    assert (again.state, again.cancel.reason) == (State.CANCELLED, "moved")


def test_a_lost_reply_to_the_cancel_of_a_running_job_still_reaches_its_handler(faulty: Faulty, queue: str) -> None:
    faulty.stubs.schedule(queue, "until_cancelled", job_id="one")
    faulty.stubs.wait_for(queue, "one", State.ACTIVE)
    faulty.lose_reply_to("cancel")
    with pytest.raises(grpc.RpcError):
        faulty.stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(queue=queue, job_id="one"))
    assert faulty.stubs.wait_for(queue, "one").state == State.CANCELLED
    assert faulty.journal.lines("cancelled")


def test_cut_connections_are_made_anew_and_nothing_is_lost(faulty: Faulty, queue: str) -> None:
    for number in range(20):
        faulty.stubs.schedule(queue, "half_a_second", job_id=str(number))
    until(lambda: len(faulty.journal.lines("start")) >= 5, within=10)
    faulty.proxy.cut()
    watched: list[job_pb2.Job] = []

    def completed() -> bool:
        with contextlib.suppress(grpc.RpcError):  # the server may still be on its way back to the store
            watched[:] = faulty.stubs.list(queue, State.COMPLETED)
        return len(watched) == 20

    until(completed, within=20, what="all completed after the cut")
    assert [job.job_id for job in watched if job.crashes] == []
