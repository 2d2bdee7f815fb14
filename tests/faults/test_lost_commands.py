"""MongoDB: each command by which a job is scheduled, claimed and finished is lost in turn, or its answer is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from support.eventually import until
from support.journal import Journal
from support.mongo_backend import JOBS, MongoBackend
from support.mongo_servers import MongoServer
from support.mongo_wire import Document, asks
from support.servers import Server
from support.stores import store_settings
from support.stubs import ENDED, Request, State, Stubs, refusal, request
from support.tcp_proxy import Fate, Order, TcpProxy
from tocsin.v1 import job_service_pb2

Outcome = job_service_pb2.ScheduleJobResponse.Outcome

#: The three writes of each step of a job's life, in the order in which they are sent (commit.py of the store).
WRITES = ("numbers", "job", "log")
STEPS = ("scheduling", "claiming", "finishing")


@dataclass(frozen=True)
class Faulty:
    """A server whose every word with the store passes through a proxy."""

    stubs: Stubs
    proxy: TcpProxy
    journal: Journal
    repeats: bool  # the driver sends a lost write once more

    def lose(self, fate: Fate, queue: str, step: str, write: str, times: int) -> list[Order]:
        """Order that one write of a step of the queue's next job is lost, and its repeats."""
        # By now the queue is known, and what follows is the same for each job.
        self.stubs.schedule(queue, "steady", job_id="ahead", delay=3600)
        name, collection = {
            "numbers": ("findAndModify", f"{JOBS}.queues"),
            "job": ("insert" if step == "scheduling" else "update", JOBS),
            "log": ("update", f"{JOBS}.events"),
        }[write]
        nth = STEPS.index(step) - (write == "job" and step != "scheduling")
        wanted = asks(name, collection, about=lambda command: _key_of(command).split("/")[0] == queue)
        return [self.proxy.order(wanted, fate, skip=nth + again) for again in range(times)]


def _key_of(command: Document) -> str:
    """The _id that a write is about: each is "<queue>" or begins with "<queue>/"."""
    about: Any = command.get("query") or command.get("documents", [None])[0] or command["updates"][0]["q"]
    return str(about["_id"])


@pytest.fixture(scope="module", params=["replica set", pytest.param("standalone", marks=pytest.mark.full)])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """One for all tests: each keeps to a queue of its own."""
    folder, standalone = tmp_path_factory.mktemp("faulty"), request.param == "standalone"
    mongo = MongoServer(folder / "mongo", standalone=True) if standalone else None
    journal = Journal(folder / "journal.tsv")
    with (
        MongoBackend(mongo or request.getfixturevalue("mongo_server"), "lost_commands") as store,
        TcpProxy("127.0.0.1", store.port) as proxy,
    ):
        env = {**store_settings(store.url_at(proxy.port)), **journal.env}
        server = Server(folder, ["--handlers", "support.jobs.steady"], env).start()
        try:
            with Stubs(server.address) as stubs:
                yield Faulty(stubs, proxy, journal, repeats=not standalone)
            assert server.stop() == 0
            assert "had lost its lease" not in server.log.read_text(), "an outcome that was recorded was refused again"
            assert "outcome_refused" not in server.log.read_text()
        finally:
            server.kill()
    if mongo is not None:
        mongo.stop()


@pytest.fixture
def faulty(running: Faulty) -> Faulty:
    running.proxy.forget_orders()
    running.journal.path.unlink(missing_ok=True)
    return running


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fate", [Fate.REPLY_LOST, Fate.CUT_BEFORE], ids=["reply lost", "not sent"])
def test_a_write_lost_for_good_is_made_good_and_the_job_runs_once(
    faulty: Faulty, queue: str, fate: Fate, step: str, write: str
) -> None:
    lost = faulty.lose(fate, queue, step, write, times=2 if faulty.repeats else 1)
    schedule = request(queue, "steady", job_id="one", on_conflict=Request.KEEP)
    if step == "scheduling" and write != "log":
        with pytest.raises(grpc.RpcError) as caught:
            faulty.stubs.jobs.ScheduleJob(schedule)
        why = refusal(caught.value)
        assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN")
        repeated = faulty.stubs.jobs.ScheduleJob(schedule)
        stood = write == "job" and fate is Fate.REPLY_LOST
        assert repeated.outcome == (Outcome.KEPT if stood else Outcome.CREATED)
    else:
        # What was not logged is a hole in the log, and no failure of the call.
        faulty.stubs.jobs.ScheduleJob(schedule)
    _runs_once(faulty, queue, lost)


@pytest.mark.parametrize("running", ["replica set"], indirect=True)
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "fate",
    [
        pytest.param(Fate.REPLY_LOST, id="reply lost"),
        pytest.param(Fate.CUT_BEFORE, id="not sent", marks=pytest.mark.full),
    ],
)
def test_a_write_lost_once_is_repeated_by_the_driver_and_nobody_sees_it(
    faulty: Faulty, queue: str, fate: Fate, step: str, write: str
) -> None:
    lost = faulty.lose(fate, queue, step, write, times=1)
    faulty.stubs.schedule(queue, "steady", job_id="one")
    _runs_once(faulty, queue, lost)


@pytest.mark.parametrize("fate", [Fate.REPLY_LOST, Fate.CUT_BEFORE], ids=["reply lost", "not sent"])
def test_a_queue_whose_making_was_lost_is_there_for_the_next_call(faulty: Faulty, queue: str, fate: Fate) -> None:
    wanted = asks("update", f"{JOBS}.queues", about=lambda command: _key_of(command) == queue)
    lost = [faulty.proxy.order(wanted, fate, skip=again) for again in range(2 if faulty.repeats else 1)]
    with pytest.raises(grpc.RpcError) as caught:
        faulty.stubs.schedule(queue, "steady", job_id="one")
    assert refusal(caught.value).reason == "OUTCOME_UNKNOWN"
    repeated = faulty.stubs.jobs.ScheduleJob(request(queue, "steady", job_id="one", on_conflict=Request.KEEP))
    assert repeated.outcome == Outcome.CREATED
    _runs_once(faulty, queue, lost)


def _runs_once(faulty: Faulty, queue: str, lost: list[Order]) -> None:
    until(lambda: faulty.stubs.get(queue, "one").state in ENDED, within=20)
    assert all(order.done.wait(5) for order in lost), "not all was lost that this is about"
    job = faulty.stubs.get(queue, "one")
    assert (job.state, job.attempt, job.crashes, list(job.errors)) == (State.COMPLETED, 1, 0, [])
    assert faulty.journal.starts() == {"one": 1}
