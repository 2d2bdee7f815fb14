"""A store that takes no writes for a while: what handlers have done meanwhile is recorded, and no job runs twice."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient
from redis import Redis
from redis.exceptions import ResponseError
from support.eventually import until
from support.journal import Journal
from support.mongo_servers import fault
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from support.stubs import State, Stubs

Refuse = Callable[[], Callable[[], None]]

JOBS = ("a", "b", "c")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisBackend]:
    """One that keeps snapshots, so that it refuses writes once one fails."""
    with RedisBackend(tmp_path / "redis", "--enable-protected-configs", "yes", "--save", "86400 100000") as part:
        yield part


@pytest.fixture
def refuse(store: StoreBackend, tmp_path: Path) -> Iterator[Refuse]:
    """Lets the store refuse every write, as on a full disk; what it returns ends that."""
    with contextlib.ExitStack() as meanwhile:

        def begin() -> Callable[[], None]:
            if isinstance(store, RedisBackend):
                meanwhile.enter_context(_no_snapshots(store.client, tmp_path))
            else:
                meanwhile.enter_context(_full_disk(store.url))
            return meanwhile.close

        yield begin


@contextlib.contextmanager
def _no_snapshots(client: Redis, folder: Path) -> Iterator[None]:
    home = client.config_get("dir")["dir"]
    gone = folder / "gone"
    gone.mkdir()
    client.config_set("dir", str(gone))
    gone.rmdir()
    client.bgsave()
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", within=10, what="a failed snapshot")
    with pytest.raises(ResponseError, match="MISCONF"):
        client.set("refused", "1")
    yield
    client.config_set("dir", home)
    client.bgsave()
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok", within=10, what="a snapshot")


@contextlib.contextmanager
def _full_disk(url: str) -> Iterator[None]:
    writes = ["insert", "update", "findAndModify", "delete"]
    with MongoClient(url) as client, fault(client, failCommands=writes, errorCode=14031):
        yield


def handlers_end_while_nothing_can_be_written(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal, refuse: Refuse, gate: Path, lease: str
) -> tuple[Server, Callable[[], None]]:
    """A server three of whose jobs have just ended; the store refuses their outcomes until that is ended."""
    server = serve(
        store.url,
        handlers="support.jobs.gates",
        GATE=str(gate),
        TOCSIN_LEASE__DURATION=lease,
        TOCSIN_DRAIN__GRACE="20s",
        **journal.env,
    )
    with Stubs(server.address) as stubs:
        for job_id, type in zip(JOBS, ("gated", "sync_gated", "gated"), strict=True):
            stubs.schedule("work", type, job_id=job_id)
        until(lambda: len(journal.lines("start")) == 3, within=20, what="3 running")
    end = refuse()
    gate.touch()
    until(lambda: len(journal.lines("end")) == 3, within=20, what="3 ended")
    until(lambda: "outcomes_wait" in server.said(50_000), within=20, what="outcomes that wait")
    return server, end


def recorded_once(server: Server, journal: Journal) -> None:
    """Each job has completed in its first attempt, and the log speaks of no lost lease and no fault."""
    with Stubs(server.address) as stubs:
        for job_id in JOBS:
            job = stubs.wait_for("work", job_id)
            assert (job.state, job.attempt, job.crashes, len(job.errors)) == (State.COMPLETED, 1, 0, 0)
    assert set(journal.starts().values()) == {1}
    said = server.said(100_000)
    assert "lost its lease" not in said
    assert "Traceback" not in said


def test_outcomes_wait_for_a_store_that_takes_no_writes(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal, refuse: Refuse, tmp_path: Path
) -> None:
    server, end = handlers_end_while_nothing_can_be_written(store, serve, journal, refuse, tmp_path / "gate", "30s")
    end()
    recorded_once(server, journal)


def test_outcomes_are_recorded_though_the_leases_could_not_be_extended_and_ended(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal, refuse: Refuse, tmp_path: Path
) -> None:
    server, end = handlers_end_while_nothing_can_be_written(store, serve, journal, refuse, tmp_path / "gate", "2s")
    began = time.monotonic()
    until(lambda: time.monotonic() > began + 3.5, within=5)  # leases of 2 s have ended by then
    end()
    recorded_once(server, journal)


def test_a_drain_waits_within_its_grace_for_outcomes_to_be_recorded(
    store: StoreBackend, serve: Callable[..., Server], journal: Journal, refuse: Refuse, tmp_path: Path
) -> None:
    server, end = handlers_end_while_nothing_can_be_written(store, serve, journal, refuse, tmp_path / "gate", "60s")
    server.terminate()
    began = time.monotonic()
    until(lambda: time.monotonic() > began + 11, within=13)  # without a grace it would give up after 10 s
    assert server.process is not None
    assert server.process.poll() is None
    end()
    assert server.wait(20) == 0
    recorded_once(serve(store.url, "--no-dispatch"), journal)
