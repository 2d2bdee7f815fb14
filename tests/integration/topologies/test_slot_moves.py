"""A queue's slot moves to another node of the cluster while the queue is in use: nothing is lost or written by half."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import until
from support.journal import Journal
from support.redis_topologies import ClusterPart
from support.servers import Server
from tocsin import Client, DeadlineExceeded, JobRequest, Unavailable

StartServer = Callable[..., Server]
STANDING = 3_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterPart]:
    cluster = ClusterPart(tmp_path / "cluster")
    yield cluster
    cluster.stop()


class Load:
    """Schedules into a queue, and reads and counts what stands there, without a pause. A context manager."""

    def __init__(self, address: str, queue: str, standing: int) -> None:
        self.address, self.queue, self.standing = address, queue, standing
        self.acknowledged: list[str] = []
        self.wrong: list[str] = []
        self.refused = 0
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=act) for act in (self._schedule, self._read)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(30)

    def _schedule(self) -> None:
        with Client(self.address) as client:
            while not self._enough.is_set():
                job_id = f"job-{len(self.acknowledged)}"
                try:
                    client.schedule("steady", queue=self.queue, job_id=job_id, on_conflict="KEEP", deadline=1)
                except (Unavailable, DeadlineExceeded):
                    self.refused += 1
                except Exception as error:
                    self.wrong.append(repr(error))
                else:
                    self.acknowledged.append(job_id)

    def _read(self) -> None:
        with Client(self.address) as client:
            number = 0
            while self.standing and not self._enough.is_set():
                number += 1
                try:
                    job = client.get(f"standing-{number % self.standing}", queue=self.queue, deadline=1)
                    standing = client.count(queue=self.queue, states=["SCHEDULED"], deadline=1)
                except (Unavailable, DeadlineExceeded):
                    continue
                except Exception as error:
                    self.wrong.append(repr(error))
                    continue
                if job.state != "SCHEDULED" or standing < self.standing:
                    self.wrong.append(f"{job.job_id} is {job.state}, {standing} are scheduled")


def test_a_slot_that_moves_while_its_queue_is_used_loses_nothing(
    cluster: ClusterPart, serve: StartServer, journal: Journal
) -> None:
    server = serve(cluster.url, handlers="support.jobs.steady", **journal.env)
    queue = cluster.queue_on(cluster.ports[0], like="moved")
    neighbour = cluster.queue_on(cluster.ports[0], like="neighbour")
    requests = [JobRequest("steady", queue=queue, job_id=f"standing-{n}", delay=3600) for n in range(STANDING)]
    with Client(server.address) as client:
        client.schedule_many(requests)
        with Load(server.address, queue, STANDING) as load, Load(server.address, neighbour, 0) as beside:
            until(lambda: len(load.acknowledged) > 20, within=20)
            before = len(beside.acknowledged)
            cluster.move_slot_of(f"{{{queue}}}", cluster.ports[1])
            assert len(beside.acknowledged) > before, "the node's other queues stood still"
            after = len(load.acknowledged)
            until(lambda: len(load.acknowledged) > after + 20 or load.wrong, within=30, what="jobs on the new node")
        assert load.refused > 0
        assert load.wrong == []
        assert beside.wrong == []

        until(lambda: client.count(queue=queue, states=["WAITING", "ACTIVE"]) == 0, within=60)
        states = {job.job_id: job.state for job in client.list(queue=queue)}
        wanted = {f"standing-{n}": "SCHEDULED" for n in range(STANDING)}
        wanted |= dict.fromkeys(load.acknowledged, "COMPLETED")
        last = f"job-{len(load.acknowledged)}"  # perhaps asked for, and never acknowledged
        assert {job_id: state for job_id, state in states.items() if job_id != last} == wanted
        told = {name: client.count(queue=queue, states=[name]) for name in ("SCHEDULED", "COMPLETED")}
        assert told == Counter(states.values())
        old, new = (cluster.keys(port) for port in cluster.ports[:2])
        assert not any(f"{{{queue}}}" in key for key in old)
        assert any(f"{{{queue}}}" in key for key in new)
    assert server.stop() == 0
