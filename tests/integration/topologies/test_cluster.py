"""A cluster of three nodes: queues on all of them, and one node that dies or hangs takes no other with it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from faults.test_limits_under_kills import most_at_once, spans
from grpc_health.v1 import health_pb2
from support.eventually import until
from support.health_log import HealthLog
from support.journal import Journal
from support.redis_topologies import ClusterPart, asked
from support.servers import Server
from tocsin import Client, DeadlineExceeded, DependsOn, Job, JobRequest, Unavailable

from integration.topologies.acl import FOR_CLUSTER, documented

StartServer = Callable[..., Server]
Queues = Mapping[int, str]  # by the port of their node

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
PASSWORD = "s3cret-pw"
#: Seconds: a job whose wake-up was lost starts a tick (1 s) late; the rest is for a busy machine.
ONE_TICK_LATE = 4
#: Nodes that once took all others along: that of the queues' names, and the first, which commands without a key go to.
OTHERS = ["tocsin:queues", "first"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterPart]:
    """Whole at each test's start. Its server comes as the documented user."""
    cluster = ClusterPart(tmp_path_factory.mktemp("cluster"))
    for port in cluster.ports:
        asked(port, *documented(PASSWORD), *FOR_CLUSTER)
    yield cluster
    cluster.stop()


@pytest.fixture
def server(cluster: ClusterPart, serve: StartServer, journal: Journal) -> Iterator[Server]:
    """On the cluster."""
    yield serve(address(cluster), handlers="support.jobs.everyday", **journal.env)
    mend(cluster)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture
def health(server: Server) -> Iterator[HealthLog]:
    with HealthLog(server.address) as health:
        yield health


@pytest.fixture
def queues(cluster: ClusterPart, client: Client, request: pytest.FixtureRequest) -> Queues:
    """A queue on each node, used already and by this test alone."""
    names = {port: cluster.queue_on(port, like=request.node.name) for port in cluster.ports}
    for name in names.values():
        run(client, name)
    return names


def address(cluster: ClusterPart) -> str:
    return cluster.url.replace("://", f"://tocsin:{PASSWORD}@")


def mend(cluster: ClusterPart) -> None:
    for port in cluster.ports:
        if cluster.process(port).poll() is None:
            cluster.process(port).send_signal(signal.SIGCONT)
        else:
            cluster.start(port)
            asked(port, *documented(PASSWORD), *FOR_CLUSTER)
    cluster.until_whole()


def run(client: Client, queue: str, within: float = 20) -> float:
    """Schedule a job and wait for its end; how long that took."""
    begun = time.monotonic()
    job = client.schedule("echo", {"a": 1}, queue=queue, deadline=within)
    assert client.wait(job, timeout=within).result == {"a": 1}
    return time.monotonic() - begun


def without(queues: Queues, port: int) -> list[str]:
    return [name for at, name in queues.items() if at != port]


def test_queues_stand_on_all_nodes_and_a_batch_over_them_is_run(
    cluster: ClusterPart, client: Client, queues: Queues
) -> None:
    names = list(queues.values())
    requests = [JobRequest("echo", {"n": n}, queue=names[n % 3], job_id=f"batch-{n}") for n in range(90)]
    answers = client.schedule_many(requests)
    assert [(job.queue, job.job_id) for job in answers if isinstance(job, Job)] == [
        (request.queue, request.job_id) for request in requests
    ]
    for name in names:
        until(lambda name=name: client.count(queue=name, states=["COMPLETED"]) == 31, within=20)  # type: ignore[misc]
        assert {job.job_id for job in client.list(queue=name)} > {
            f"batch-{n}" for n in range(90) if names[n % 3] == name
        }
    for port, name in queues.items():
        assert any(f"{{{name}}}" in key for key in cluster.keys(port))
        assert not any(f"{{{other}}}" in key for key in cluster.keys(port) for other in without(queues, port))


def test_each_queue_is_listed_watched_paused_and_healthy(client: Client, queues: Queues) -> None:
    assert {queue.name: queue.counts.completed for queue in client.queues()}.items() >= {
        (name, 1) for name in queues.values()
    }
    for name in queues.values():
        assert client.queue_health(name).healthy
        assert client.pause(name, reason="test").paused
        changes = client.watch(client.schedule("echo", {"a": 1}, queue=name, job_id="watched"))
        first = next(changes).job
        assert first is not None
        assert first.state == "WAITING"
        client.resume(name)
        assert [change.job.state for change in changes if change.job is not None] == ["ACTIVE", "COMPLETED"]


@pytest.mark.parametrize("key", OTHERS)
def test_a_dead_node_takes_only_its_own_queues_along(
    cluster: ClusterPart, health: HealthLog, client: Client, queues: Queues, journal: Journal, key: str
) -> None:
    dead = special_port(cluster, key)
    job = client.schedule("half_a_second", queue=queues[dead], job_id="running")
    until(lambda: journal.lines("start"), within=10)
    cluster.kill(dead)
    until(lambda: journal.lines("end"), within=10, what="the end of a job whose queue is away")

    for _ in range(3):
        took = [run(client, name) for name in without(queues, dead)]
        assert max(took) < ONE_TICK_LATE, "more than a lost wake-up costs"
    with pytest.raises(Unavailable) as refused:
        client.schedule("echo", queue=queues[dead], deadline=0.5)
    assert refused.value.reason == "STORE_AWAY"
    answers = client.schedule_many(
        [JobRequest("echo", {"a": 1}, queue=name, job_id="mixed") for name in queues.values()], deadline=2
    )
    assert [isinstance(answer, Job) for answer in answers] == [port != dead for port in queues], answers
    assert health.seen == [SERVING]

    mend(cluster)
    assert client.wait(job, timeout=20).state == "COMPLETED"
    assert journal.starts()["running"] == 1, "its end was not recorded, though the lease stood"
    run(client, queues[dead])


def hang(cluster: ClusterPart, server: Server, client: Client, queues: Queues, key: str, seconds: float) -> None:
    """One node hangs for so long, and callers do not stop calling it."""
    hung = special_port(cluster, key)
    cluster.process(hung).send_signal(signal.SIGSTOP)
    over = threading.Event()
    callers = [threading.Thread(target=keep_calling, args=(server.address, queues[hung], over)) for _ in range(20)]
    for caller in callers:
        caller.start()
    end, took = time.monotonic() + seconds, []
    try:
        while len(took) < 4 or time.monotonic() < end:
            took += [run(client, name) for name in without(queues, hung)]
    finally:
        mend(cluster)
        over.set()
        for caller in callers:
            caller.join()
    assert max(took) < ONE_TICK_LATE
    run(client, queues[hung])


@pytest.mark.parametrize("key", OTHERS)
def test_a_node_that_hangs_takes_only_its_own_queues_along(
    cluster: ClusterPart, server: Server, health: HealthLog, client: Client, queues: Queues, key: str
) -> None:
    hang(cluster, server, client, queues, key, seconds=3.5)
    assert health.seen == [SERVING]


@pytest.mark.full
@pytest.mark.parametrize("key", OTHERS)
def test_the_same_for_40_seconds(
    cluster: ClusterPart, server: Server, health: HealthLog, client: Client, queues: Queues, key: str
) -> None:
    hang(cluster, server, client, queues, key, seconds=40)
    assert health.seen == [SERVING]


def special_port(cluster: ClusterPart, key: str) -> int:
    return cluster.ports[0] if key == "first" else cluster.port_of(key)


def keep_calling(address: str, queue: str, over: threading.Event) -> None:
    """As callers do that know nothing of the trouble."""
    with Client(address) as client:
        while not over.is_set():
            with contextlib.suppress(Unavailable, DeadlineExceeded):
                client.schedule("noop", queue=queue, deadline=3)
                over.wait(0.1)


def test_a_server_that_starts_beside_a_dead_node_serves_the_others(
    cluster: ClusterPart, serve: StartServer, client: Client, queues: Queues
) -> None:
    dead = next(port for port in cluster.ports if port not in map(cluster.port_of, ("tocsin:queues", "tocsin:format")))
    cluster.kill(dead)
    second = serve(address(cluster), handlers="support.jobs.everyday")
    with Client(second.address) as other:
        for name in without(queues, dead):
            run(other, name)
    assert f"{dead} does not answer" in second.said()
    assert second.stop() == 0


def test_with_full_coverage_a_dead_node_stops_all_and_its_return_heals_all(
    tmp_path_factory: pytest.TempPathFactory, serve: StartServer
) -> None:
    cluster = ClusterPart(tmp_path_factory.mktemp("whole"), full_coverage=True)
    try:
        server = serve(cluster.url, handlers="support.jobs.everyday", TOCSIN_TICK="200ms")
        with Client(server.address) as client:
            names = [cluster.queue_on(port) for port in cluster.ports]
            for name in names:
                run(client, name)
            cluster.kill(cluster.ports[0])
            server.wait_health(NOT_SERVING)
            with pytest.raises(Unavailable):
                client.schedule("echo", queue=names[1], deadline=0.5)
            cluster.start(cluster.ports[0])
            server.wait_health(SERVING)
            for name in names:
                run(client, name)
        assert server.stop() == 0
    finally:
        cluster.stop()


def test_a_nodes_replica_takes_over_and_its_queues_go_on(
    tmp_path_factory: pytest.TempPathFactory, serve: StartServer, journal: Journal
) -> None:
    cluster = ClusterPart(tmp_path_factory.mktemp("replica"))
    try:
        dead = cluster.port_of("tocsin:queues")
        cluster.add_replica(dead)
        server = serve(cluster.url, handlers="support.jobs.everyday", **journal.env)
        with Client(server.address) as client, HealthLog(server.address) as health:
            names = {port: cluster.queue_on(port) for port in cluster.ports}
            for name in names.values():
                run(client, name)
            job = client.schedule("half_a_second", queue=names[dead])
            until(lambda: journal.lines("start"), within=10)
            cluster.kill(dead)
            for name in names.values():
                run(client, name, within=30)
            assert client.wait(job, timeout=20).state == "COMPLETED"
            assert len(list(client.queues())) == 3
        assert health.seen == [SERVING]
        assert server.stop() == 0
    finally:
        cluster.stop()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("redis://127.0.0.1:{port}", "redis+cluster://"), ("redis+cluster://127.0.0.1:{single}", "no cluster")],
    ids=["a node named alone", "a single server named a cluster"],
)
def test_a_cluster_and_a_single_server_are_told_apart(
    cluster: ClusterPart, shared_redis: object, tmp_path_factory: pytest.TempPathFactory, wrong: str, said: str
) -> None:
    url = wrong.format(port=cluster.ports[0], single=getattr(shared_redis, "port", 0))
    server = Server(tmp_path_factory.mktemp("server"), env={"REDIS_URL": url}).launch()
    try:
        assert server.wait(20) == 2
    finally:
        server.kill()
    [line] = server.said().splitlines()
    assert said in line


def test_jobs_wait_for_others_in_queues_on_other_nodes(client: Client, queues: Queues) -> None:
    names = list(queues.values())
    parts = [JobRequest("echo", {"n": n}, queue=names[n % 3]) for n in range(12)]
    chain = [
        JobRequest("echo", {"n": n}, queue=names[n % 3], depends_on=DependsOn([n - 1], "FAIL")) for n in range(12, 18)
    ]
    last = JobRequest(
        "noop", queue=names[0], depends_on=DependsOn(range(18), "FAIL"), on_end=JobRequest("noop", queue=names[1])
    )
    job = client.schedule_many([*parts, *chain, last])[-1]
    assert isinstance(job, Job)
    assert client.wait(job, timeout=60).state == "COMPLETED"
    assert [one and one.result for one in client.parents(job)] == [{"n": n} for n in range(18)]
    assert job.on_end is not None
    assert client.wait(job.on_end, timeout=30).state == "COMPLETED"


def test_queues_on_all_nodes_share_a_limit(
    cluster: ClusterPart, client: Client, queues: Queues, serve: StartServer, journal: Journal
) -> None:
    names = list(queues.values())
    other = serve(address(cluster), handlers="support.jobs.steady", **journal.env)
    client.shared_limits.put("all", names, max_active=2)
    client.schedule_many([JobRequest("steady", queue=names[n % 3], job_id=f"shared-{n}") for n in range(30)])

    def done() -> int:
        return sum(client.count(queue=name, types=["steady"], states=["COMPLETED"]) for name in names)

    until(lambda: done() == 30, within=60)
    assert most_at_once(spans(journal.lines(), {})) == 2
    with Client(other.address) as of_other:
        until(lambda: of_other.shared_limits.get("all").active == 0, within=5)
    client.shared_limits.delete("all")
