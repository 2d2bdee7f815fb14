"""What repeats, left by each library and taken over by `tocsin migrate`, runs beside the library's own worker: at the
times at which that runs the same rules."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest
from support import node_tools
from support.eventually import until
from support.mongo_backend import MongoBackend
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client
from tocsin_server.domain.times import EPOCH, MILLISECOND

from integration.migration.conftest import Migrate

SCRIPTS = Path(__file__).parents[2] / "support/node"
StartServer = Callable[..., Server]
_RUNS = 4  # of each rule are compared
_STEPS = {"each-3-s": 3_000, "each-2-s": 2_000, "by-interval": 2_000}


class Live:
    """The library's own worker, beside the rules that it has left."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.times: dict[str, list[int]] = defaultdict(list)
        self.written = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if said == "written":
                self.written.set()
            else:
                self.times[said["rule"]].append(said["time"])

    def end(self) -> None:
        """It runs no more."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


#: Starts the worker of a system at an address.
StartLive = Callable[[str, str], Live]


@pytest.fixture
def start_live(npm_packages: Path, tmp_path: Path) -> Iterator[StartLive]:
    """See StartLive."""
    (tmp_path / "node_modules").symlink_to(npm_packages)
    for script in SCRIPTS.glob("*.mjs"):
        (tmp_path / script.name).write_text(script.read_text())
    started: list[Live] = []

    def start(system: str, url: str) -> Live:
        command = [node_tools.node(), str(tmp_path / "recurring_live.mjs"), system, url, "left"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(live := Live(process))
        assert live.written.wait(60), process.poll()
        return live

    yield start
    for live in started:
        live.end()


@pytest.fixture
def old_redis(tmp_path: Path) -> Iterator[RedisBackend]:
    """The Redis that one moves away from."""
    with RedisBackend(tmp_path / "old") as redis:
        yield redis


def fired(tocsin: Client, queue: str) -> dict[str, list[int]]:
    """The nominal times of the jobs of each schedule, in milliseconds, by the rule in their data."""
    times: dict[str, list[int]] = defaultdict(list)
    for job in tocsin.list(queue=queue, view="FULL", page_size=1_000):
        nominal = re.fullmatch(r".+@(.+)Z", job.job_id)
        assert nominal is not None
        time = datetime.fromisoformat(f"{nominal[1]}+00:00")
        times[job.data["rule"]].append((time - EPOCH) // MILLISECOND)
    return times


def compare(
    live: Live, arguments: tuple[str, ...], target: StoreBackend, queue: str, migrate: Migrate, serve: StartServer
) -> None:
    took = migrate(*arguments, "--to", target.url)
    assert took.code == 0, (took.said, took.errors)
    server = serve(target.url, handlers="support.jobs.everyday")
    with Client(server.address) as tocsin:
        rules = len(list(tocsin.schedules.list(queue=queue)))
        assert f"{rules} schedules were brought in, 0 had been before" in took.said
        until(
            lambda: len(enough := fired(tocsin, queue)) == rules and min(map(len, enough.values())) > _RUNS, within=90
        )
        again = migrate(*arguments, "--to", target.url)
        assert again.code == 0
        assert f"0 schedules were brought in, {rules} had been before" in again.said
        # The worker of the library has run while ours did.
        until(
            lambda: min(len(_both(live.times[rule], times)) for rule, times in fired(tocsin, queue).items()) > 1,
            within=90,
        )
        live.end()
        ours = fired(tocsin, queue)
        counts = {
            _rule(one.schedule_id): one.overlap_skipped + one.missed for one in tocsin.schedules.list(queue=queue)
        }
    assert ours.keys() == live.times.keys() == counts.keys()
    for rule, times in ours.items():
        assert len(set(times)) == len(times)  # each once
        assert {(time - min(times)) % _STEPS[rule] for time in times} == {0}
        # On a busy machine a run gives way to the one before it, which is counted; all others run where its own do.
        assert len(_both(live.times[rule], times) - set(times)) <= counts[rule], rule


def _both(live: Sequence[int], ours: Sequence[int]) -> set[int]:
    """What ran there while both ran."""
    return {time for time in live if min(ours) <= time <= max(ours)}


def _rule(schedule_id: str) -> str:
    return next(rule for rule in _STEPS if schedule_id.startswith(rule))


@pytest.mark.parametrize("system", ["bull", "bullmq"])
def test_rules_of_bull_and_bullmq_run_when_their_own_workers_run_them(
    system: str,
    old_redis: RedisBackend,
    start_live: StartLive,
    redis: RedisBackend,
    migrate: Migrate,
    serve: StartServer,
) -> None:
    live = start_live(system, old_redis.url)
    arguments = ("--from", system, "--source", old_redis.url, "--prefix", "left")
    arguments += ("--type-map", "each-*=echo", "--type-map", "by-*=echo")
    compare(live, arguments, redis, "recurring", migrate, serve)


@pytest.mark.parametrize("line", ["4", "5", "6", "hokify"])
def test_rules_of_agenda_run_when_its_own_workers_run_them(
    line: str,
    mongo_database: MongoBackend,
    start_live: StartLive,
    redis: RedisBackend,
    migrate: Migrate,
    serve: StartServer,
) -> None:
    live = start_live(line, mongo_database.url)
    arguments = ("--from", "agenda", "--source", mongo_database.url, "--source-collection", "left", "--queue", "rec")
    compare(live, (*arguments, "--type-map", "each-*=echo"), redis, "rec", migrate, serve)
