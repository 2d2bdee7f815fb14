"""Jobs that are HTTP requests, and jobs that are sent to a push target, through a real server and store."""

from __future__ import annotations

import base64
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from support.eventually import until
from support.http_target import HttpTarget, Received, Reply, http_target
from support.journal import Journal
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import Stubs
from tocsin import (
    Client,
    EmailNotification,
    HttpRequest,
    InvalidArgument,
    Job,
    JobDefaults,
    PushTarget,
    RawPayload,
    RetryPolicy,
)
from tocsin.v1 import job_pb2, worker_service_pb2, worker_service_pb2_grpc

SECRET = "orders-secret-of-2026"
StartServer = Callable[..., Server]


@dataclass(frozen=True, slots=True)
class Scene:
    client: Client
    target: HttpTarget
    journal: Journal
    server: Server
    queue: str  # of the test's own

    def done(self, type_: str | HttpRequest, payload: object = None, **options: object) -> Job:
        """Schedule it, and wait for its end."""
        queue = str(options.get("queue", "default"))
        job = self.client.schedule(type_, payload, **options)  # type: ignore[arg-type]  # the test's own
        return self.client.wait(job, queue=queue, timeout=30)

    def push(self, path: str, **words: object) -> JobDefaults:
        """Defaults that send jobs to a path of the target."""
        return JobDefaults(push=PushTarget(f"{self.target.url}{path}"), **words)  # type: ignore[arg-type]


SENDING = {
    "TOCSIN_DRAIN__GRACE": "2s",
    "TOCSIN_HTTP__ALLOW": "127.0.0.1",
    "TOCSIN_HTTP__SECRETS": f"orders={SECRET}",
    "TOCSIN_HTTP__CONCURRENCY": "10",
}


@pytest.fixture(scope="module")
def sending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Journal]]:
    """A server that may send to this machine, with handlers of its own."""
    folder = tmp_path_factory.mktemp("sending")
    journal = Journal(folder / "journal.tsv")
    with RedisBackend(folder / "redis") as redis:
        env = {"REDIS_URL": redis.url, **SENDING, **journal.env}
        server = Server(folder, ["--handlers", "support.jobs.tuned"], env).start()
        yield server, journal
        server.kill()


@pytest.fixture
def scene(sending: tuple[Server, Journal], queue: str) -> Iterator[Scene]:
    """That server, and something of the test's own to send to. What others noted is gone."""
    server, journal = sending
    journal.path.unlink(missing_ok=True)
    with http_target() as target, Client(server.address) as client:
        yield Scene(client, target, journal, server, queue)


def test_an_http_request_is_made_and_its_answer_is_the_result(scene: Scene) -> None:
    scene.target.replies.append(Reply(body={"paid": [1, None, "é"]}))
    url = f"{scene.target.url}/pay?order=7"
    request = HttpRequest(url=url, method="PUT", headers={"X-Team": "a"}, body=b"{}", secret_ref="orders")
    job = scene.done(request, job_id="pay ü/7")
    assert (job.state, job.result) == ("COMPLETED", {"paid": [1, None, "é"]})
    [received] = scene.target.received
    assert (received.method, received.path, received.body) == ("PUT", "/pay?order=7", b"{}")
    headers = received.headers
    assert headers["x-team"] == "a"
    assert headers["tocsin-signature"].startswith("t=")
    assert headers["host"] == scene.target.url.removeprefix("http://")
    about = {name: headers[f"tocsin-{name}"] for name in ("queue", "job-id", "type", "attempt")}
    assert about == {"queue": "default", "job-id": "pay%20%C3%BC/7", "type": "http_request", "attempt": "1"}


def test_bytes_come_back_with_their_content_type(scene: Scene) -> None:
    scene.target.replies.append(Reply(body=b"\x89PNG", headers={"Content-Type": "image/png"}))
    job = scene.done(HttpRequest(url=scene.target.url))
    assert job.message.result.raw == RawPayload(content_type="image/png", body=b"\x89PNG")


def test_one_key_over_all_attempts_and_no_sooner_than_was_asked(scene: Scene) -> None:
    busy = Reply(503, headers={"Retry-After": "1"})
    scene.target.replies.extend([Reply(500), busy, Reply(body={"third": True})])
    retry = RetryPolicy(initial_delay=timedelta(milliseconds=1), jitter=0)
    begun = time.monotonic()
    job = scene.done(HttpRequest(url=scene.target.url), retry=retry)
    assert (job.result, job.attempt, job.failures) == ({"third": True}, 3, 2)
    assert time.monotonic() - begun >= 1
    keys = {received.headers["idempotency-key"] for received in scene.target.received}
    attempts = [received.headers["tocsin-attempt"] for received in scene.target.received]
    assert (len(keys), attempts) == (1, ["1", "2", "3"])
    assert [error.type for error in job.errors] == ["RequestFailed", "TargetBusy"]


def test_a_refusal_is_final_and_says_no_path(scene: Scene) -> None:
    scene.target.replies.append(Reply(422, {"detail": "no such order"}))
    job = scene.done(HttpRequest(url=f"{scene.target.url}/hush?key=hush"))
    assert (job.state, job.attempt, job.errors[0].type) == ("FAILED", 1, "RequestRefused")
    assert job.errors[0].message == f'{scene.target.url} answers 422: {{"detail": "no such order"}}'
    assert "hush" not in scene.server.said(100_000)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.2]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://10.0.0.1/",
        "http://[::]/",
        "http://0.0.0.0/",
    ],
)
def test_an_address_near_by_is_refused(scene: Scene, url: str) -> None:
    job = scene.done(HttpRequest(url=url))
    assert (job.state, job.attempt, job.errors[0].type) == ("FAILED", 1, "RequestRefused")
    assert "http.allow" in job.errors[0].message


def test_a_wrong_request_is_refused_when_it_is_scheduled(scene: Scene) -> None:
    with pytest.raises(InvalidArgument, match="as four numbers") as refused:
        scene.client.schedule(HttpRequest(url="http://0x7f.1/", headers={"A": "b\r\nHost: c"}))
    assert [violation.field for violation in refused.value.violations] == [
        "job.http_request.url",
        "job.http_request.headers[A]",
    ]


def test_a_type_with_a_target_is_sent_there_whether_or_not_a_handler_serves_it(scene: Scene) -> None:
    # `short` has a handler here, `nobody_knows` has not.
    types = {"short": scene.push("/short"), "nobody_knows": scene.push("/new")}
    scene.client.update_queue(scene.queue, types=types)
    scene.target.on_request = lambda received: Reply(body={"path": received.path})
    for type_, path in (("short", "/short"), ("nobody_knows", "/new")):
        assert scene.done(type_, {"n": 1}, queue=scene.queue).result == {"path": path}
    assert [received.json for received in scene.target.received] == [{"n": 1}] * 2
    assert scene.journal.starts() == {}
    # In another queue its handler has it.
    job = scene.done("short", {"n": 2})
    assert (scene.journal.starts()[job.job_id], len(scene.target.received)) == (1, 2)
    # The target goes, and it has it here, too.
    scene.client.update_queue(scene.queue, types={"short": None})
    job = scene.done("short", {"n": 3}, queue=scene.queue)
    assert (scene.journal.starts()[job.job_id], len(scene.target.received)) == (1, 2)


def test_a_queues_target_is_that_of_types_yet_to_come(scene: Scene) -> None:
    scene.client.update_queue(scene.queue, defaults=scene.push("/all"), types={"own": scene.push("/own")})
    for type_ in ("first", "own", "second", "short", "first"):
        assert scene.done(type_, queue=scene.queue).state == "COMPLETED"
    mail = EmailNotification(to=["a@b.c"], text="Hi")
    sent = scene.client.schedule(mail, queue=scene.queue)
    assert scene.client.wait(sent, timeout=30).state == "COMPLETED"
    # One that says itself where it goes goes there.
    assert scene.done(HttpRequest(url=f"{scene.target.url}/itself"), queue=scene.queue).state == "COMPLETED"
    paths = [received.path for received in scene.target.received]
    assert paths == ["/all", "/own", "/all", "/all", "/all", "/all", "/itself"]
    assert scene.target.received[5].json == {"to": ["a@b.c"], "text": "Hi"}


def test_no_target_may_be_set_for_requests(scene: Scene) -> None:
    with pytest.raises(InvalidArgument, match="says itself where it goes"):
        scene.client.update_queue(scene.queue, types={"http_request": scene.push("/")})


def test_requests_at_once_are_bounded_and_take_none_of_the_handlers_slots(scene: Scene) -> None:
    gate, lock = threading.Event(), threading.Lock()
    inside, most = Counter[str](), Counter[str]()

    def wait(received: Received) -> None:
        for change in (1, -1):
            with lock:
                for name in (received.path, "all"):
                    inside[name] += change
                    most[name] = max(most[name], inside[name])
            if change == 1:
                gate.wait(30)

    scene.target.on_request = wait
    types = {"two": scene.push("/two", concurrency=2), "wide": scene.push("/wide")}
    scene.client.update_queue(scene.queue, types=types)
    two = [scene.client.schedule("two", queue=scene.queue) for _ in range(5)]
    until(lambda: inside["/two"] == 2, within=10, what="two of them are under way")
    wide = [scene.client.schedule("wide", queue=scene.queue) for _ in range(30)]
    until(lambda: inside["all"] == 10, within=10, what="as many requests as http.concurrency says")
    # With all slots of requests taken, handlers run.
    assert scene.done("short").state == "COMPLETED"
    health = scene.client.queue_health(scene.queue)
    assert (health.healthy, health.unserved_types) == (True, ())
    assert [worker.busy for worker in health.workers if worker.worker.endswith("/http")] in ([10], [0])  # as last said
    gate.set()
    for job in (*two, *wide):
        assert scene.client.wait(job, queue=scene.queue, timeout=30).state == "COMPLETED"
    assert (most["/two"], most["all"]) == (2, 10)


def test_a_cancel_ends_a_request_under_way(scene: Scene) -> None:
    scene.target.replies.append(Reply(silent=True))
    job = scene.client.schedule(HttpRequest(url=scene.target.url))
    scene.target.next()
    scene.client.cancel(job, reason="too late")
    assert scene.client.wait(job, timeout=15).state == "CANCELLED"


def test_a_request_under_way_is_given_back_when_the_server_stops(redis: RedisBackend, serve: StartServer) -> None:
    request = HttpRequest()
    request.timeout.FromSeconds(600)  # it is the server's end that ends it
    server = serve(redis.url, **SENDING)
    with http_target() as target, Client(server.address) as client:
        target.replies.append(Reply(silent=True))
        request.url = target.url
        job = client.schedule(request)
        first = target.next()
        other = serve(redis.url, TOCSIN_HTTP__ALLOW="127.0.0.1")
        assert server.stop(60) == 0
        with Client(other.address) as beside:
            ended = beside.wait(job, timeout=30)
        assert (ended.state, ended.failures, ended.attempt) == ("COMPLETED", 0, 2)
        assert target.received[1].headers["idempotency-key"] == first.headers["idempotency-key"]


def by_token(scene: Scene, received: Received, **outcome: object) -> worker_service_pb2.ReportOutcomesResponse.Result:
    """Report what became of a job that was answered 202, with nothing but its token."""
    token = base64.b64decode(received.headers["tocsin-token"])
    request = worker_service_pb2.ReportOutcomesRequest(
        worker={"name": "slow-target"},
        outcomes=[worker_service_pb2.Outcome(token=token, **outcome)],  # type: ignore[arg-type]  # the test's own
    )
    with Stubs(scene.server.address) as stubs:
        [result] = worker_service_pb2_grpc.WorkerServiceStub(stubs.channel).ReportOutcomes(request).results
    return result


def test_202_leaves_the_job_to_who_has_its_token_and_takes_no_slot(scene: Scene) -> None:
    scene.client.update_queue(scene.queue, types={"slow": scene.push("/slow", concurrency=1)})
    scene.target.replies.extend([Reply(202, headers={"Tocsin-Lease": "600"})] * 3)
    jobs = [scene.client.schedule("slow", {"n": n}, queue=scene.queue) for n in range(3)]
    # One at a time by its concurrency, and yet all three are under way.
    received = {one.headers["tocsin-job-id"]: one for one in (scene.target.next() for _ in range(3))}
    assert {scene.client.get(job, queue=scene.queue).state for job in jobs} == {"ACTIVE"}
    result = job_pb2.Result()
    result.data.struct_value.update({"pages": 3})
    assert by_token(scene, received[jobs[0].job_id], completed={"result": result}).state == job_pb2.Job.COMPLETED
    by_token(scene, received[jobs[1].job_id], failed={"type": "PAPER", "message": "out of paper", "final": True})
    by_token(scene, received[jobs[2].job_id], released={"reason": "not now"})
    done, failed, again = (scene.client.wait(job, queue=scene.queue, timeout=20) for job in jobs)
    assert (done.state, done.result) == ("COMPLETED", {"pages": 3})
    assert (failed.state, failed.errors[0].type) == ("FAILED", "PAPER")
    assert (again.state, again.attempt) == ("COMPLETED", 2)


def test_a_report_may_come_before_the_202(scene: Scene) -> None:
    def report(received: Received) -> Reply:
        by_token(scene, received, completed={})
        return Reply(202)

    scene.target.on_request = report
    assert scene.done(HttpRequest(url=scene.target.url)).state == "COMPLETED"
    assert len(scene.target.received) == 1


def test_the_lease_of_a_target_that_died_runs_out_and_the_job_runs_again(scene: Scene) -> None:
    scene.target.replies.append(Reply(202, headers={"Tocsin-Lease": "5"}))
    job = scene.done(HttpRequest(url=scene.target.url))
    assert (job.state, job.attempt, job.failures, job.errors[0].type) == ("COMPLETED", 2, 0, "LEASE_EXPIRED")
