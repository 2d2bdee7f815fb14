"""tocsin.Worker: credits, outcomes and heartbeats on its stream, and how it ends."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from tocsin import DoNotRetry, Handlers, InvalidArgument, JobContext, RetryLater, Tls, UnusableClient, Worker, WrongType
from tocsin.payloads import python_from_value
from tocsin.v1 import worker_service_pb2 as pb
from unit.client.worker.gates import Gate
from unit.client.worker.worker_service import AWAY, LOST, RECORDED, a_lease, serving, working


def echoing() -> Handlers:
    handlers = Handlers()

    @handlers.on("t")
    async def echo(job: JobContext) -> object:
        return job.data

    return handlers


async def test_a_worker_says_who_it_is_and_what_it_wants() -> None:
    handlers = echoing()

    @handlers.on("narrow", concurrency=2)
    def narrow(job: JobContext) -> None: ...

    async with (
        serving() as service,
        working(
            service.address,
            handlers,
            concurrency=7,
            queues=["mail", "mail", "sms"],
            name="resizer-1",
            version="2.11.0",
            labels={"zone": "a"},
            lease=12,
        ),
    ):
        stream = await service.stream()
        worker = stream.hello.worker
        assert (worker.name, worker.version, worker.language, dict(worker.labels)) == (
            "resizer-1",
            "2.11.0",
            "python",
            {"zone": "a"},
        )
        assert [(ask.queue, ask.all_queues, list(ask.types)) for ask in stream.hello.asks] == [
            ("mail", False, ["narrow", "t"]),
            ("sms", False, ["narrow", "t"]),
        ]
        assert stream.hello.lease.seconds == 12
        assert stream.credits == {"": 7, "narrow": 2}
        assert not stream.hello.held_tokens


async def test_all_queues_are_asked_for_where_none_is_named() -> None:
    async with serving() as service, working(service.address, echoing()):
        stream = await service.stream()
        [ask] = stream.hello.asks
        assert (ask.queue, ask.all_queues, list(ask.types)) == ("", True, ["t"])
        assert stream.hello.worker.name


async def test_jobs_run_and_their_outcomes_bring_the_credits_back_in_one_message() -> None:
    async with serving() as service, working(service.address, echoing(), concurrency=3):
        stream = await service.stream()
        leased = [a_lease(data={"n": n}) for n in range(3)]
        stream.lease(*leased)
        outcomes = await service.outcomes(3)
        assert {o.token: python_from_value(o.completed.result.data) for o in outcomes} == {
            one.token: {"n": n} for n, one in enumerate(leased)
        }
        await service.until(lambda: stream.credits == {"": 3})
        assert all(message.credits for message in stream.messages if message.outcomes)


async def test_never_more_credits_than_free_slots_of_a_type_and_in_all() -> None:
    handlers, leave = Handlers(), Gate()

    @handlers.on("wide")
    async def wide(job: JobContext) -> None:
        await leave.passed()

    @handlers.on("narrow", concurrency=1)
    async def narrow(job: JobContext) -> None: ...

    async with serving() as service, working(service.address, handlers, concurrency=4):
        stream = await service.stream()
        assert stream.credits == {"": 4, "narrow": 1}
        stream.lease(a_lease("wide"), a_lease("wide"))
        for _ in range(5):
            stream.lease(a_lease("narrow"))
            await service.until(lambda: stream.credits == {"": 2, "narrow": 1})
        leave.open()
        await service.until(lambda: stream.credits == {"": 4, "narrow": 1})


async def test_how_attempts_fail_is_told() -> None:
    handlers = Handlers()

    @handlers.on("fails")
    async def fails(job: JobContext) -> None:
        raise ValueError("no such picture")

    @handlers.on("for_good")
    def for_good(job: JobContext) -> None:
        raise DoNotRetry("never")

    @handlers.on("later")
    def later(job: JobContext) -> None:
        raise RetryLater(300, "closed")

    async with serving() as service, working(service.address, handlers):
        stream = await service.stream()
        leased = {kind: a_lease(kind) for kind in ("fails", "for_good", "later")}
        stream.lease(*leased.values())
        await service.outcomes(3)
        by_token = {outcome.token: outcome.failed for outcome in stream.outcomes}
        fails_, for_good_, later_ = (by_token[leased[kind].token] for kind in leased)
        assert (fails_.type, fails_.message, fails_.final) == ("ValueError", "no such picture", False)
        assert "no such picture" in fails_.trace
        assert not fails_.HasField("retry_at")
        assert (for_good_.type, for_good_.final) == ("DoNotRetry", True)
        # By the store's clock, which is years ahead of this one.
        store_now = datetime(2031, 1, 2, tzinfo=UTC) - timedelta(seconds=30)
        assert later_.retry_at.ToDatetime(UTC) - store_now == pytest.approx(
            timedelta(seconds=300), abs=timedelta(seconds=20)
        )


async def test_the_payload_comes_as_it_was_sent() -> None:
    handlers = Handlers()
    seen: list[object] = []

    @handlers.on("t")
    async def handle(job: JobContext) -> None:
        seen.append((job.payload, job.tags, job.timeout, job.attempt, job.create_time, job.content_type))

    raw = a_lease(attempt=4)
    raw.job.spec.raw.body, raw.job.spec.raw.content_type = b"\x00\xff", "image/png"
    raw.job.spec.tags["a"] = "b"
    raw.job.spec.timeout.seconds = 9
    async with serving() as service, working(service.address, handlers):
        (await service.stream()).lease(raw)
        await service.outcomes(1)
    created = datetime(2026, 1, 2, tzinfo=UTC)
    assert seen == [(b"\x00\xff", {"a": "b"}, timedelta(seconds=9), 4, created, "image/png")]


async def test_a_handler_that_blocks_its_loop_stops_no_heartbeats() -> None:
    handlers, blocked = Handlers(), threading.Event()

    @handlers.on("blocks")
    async def blocks(job: JobContext) -> None:
        blocked.wait(30)

    try:
        async with serving() as service, working(service.address, handlers, lease=5):
            stream = await service.stream()
            leased = a_lease("blocks")
            stream.lease(leased)
            await service.until(lambda: len(stream.heartbeats) >= 2)
            assert {beat.token for beat in stream.heartbeats} == {leased.token}
            blocked.set()
            await service.outcomes(1)
    finally:
        blocked.set()


async def test_the_loop_that_awaits_a_worker_may_be_blocked_itself() -> None:
    handlers, ran = Handlers(), threading.Event()

    @handlers.on("t")
    def handle(job: JobContext) -> None:
        ran.set()

    def serve(ready: queue.Queue[str], leave: threading.Event) -> None:
        async def main() -> None:
            async with serving() as service:
                ready.put(service.address)
                (await service.stream()).lease(a_lease())
                await asyncio.to_thread(leave.wait)

        asyncio.run(main())

    ready: queue.Queue[str] = queue.Queue()
    leave = threading.Event()
    elsewhere = threading.Thread(target=serve, args=(ready, leave))
    elsewhere.start()
    async with working(ready.get(timeout=15), handlers):
        await asyncio.sleep(0)
        assert ran.wait(15)  # this loop stands still meanwhile
    leave.set()
    elsewhere.join()


async def test_progress_and_lines_travel_before_the_outcome() -> None:
    handlers = Handlers()

    @handlers.on("t")
    async def handle(job: JobContext) -> None:
        await job.progress(0.5, "half way")
        job.log("a line", "warning")

    async with serving() as service, working(service.address, handlers):
        stream = await service.stream()
        leased = a_lease()
        stream.lease(leased)
        await service.outcomes(1)
        at_outcome = next(number for number, message in enumerate(stream.messages) if message.outcomes)
        beats = [beat for message in stream.messages[: at_outcome + 1] for beat in message.heartbeats]
        assert {beat.token for beat in beats} == {leased.token}
        [progress] = [beat.progress for beat in beats if beat.HasField("progress")]
        assert (progress.fraction, progress.message) == (0.5, "half way")
        [line] = [line for beat in beats for line in beat.log]
        assert (line.level, line.text) == (pb.LogLine.Level.WARNING, "a line")


async def test_a_cancel_is_obeyed_within_a_moment_and_a_lost_lease_ends_without_an_outcome() -> None:
    handlers = Handlers()
    stopped: list[str] = []

    @handlers.on("t")
    async def handle(job: JobContext) -> None:
        await job.progress(0.1)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(job.job_id)

    async with serving() as service, working(service.address, handlers, lease=3600, concurrency=2):
        stream = await service.stream()
        cancelled, lost = a_lease(), a_lease()
        stream.lease(cancelled, lost)
        await service.until(lambda: {beat.token for beat in stream.heartbeats} == {cancelled.token, lost.token})
        wish = pb.StopWish(reason="moved")
        wish.grace.seconds = 5
        stream.say(pb.StreamJobsResponse(cancels=[pb.StreamJobsResponse.Cancel(token=cancelled.token, wish=wish)]))
        before = time.monotonic()
        [outcome] = await service.outcomes(1)
        assert time.monotonic() - before < 5
        assert (outcome.failed.type, outcome.failed.message, outcome.failed.final) == (
            "CANCELLED",
            "cancelled: moved",
            True,
        )
        stream.say(pb.StreamJobsResponse(lost=[lost.token]))
        await service.until(lambda: stream.credits == {"": 2})
        assert stopped == [cancelled.job.job_id, lost.job.job_id]
        assert len(stream.outcomes) == 1


async def test_outcomes_that_could_not_be_recorded_are_sent_again_and_those_refused_are_not() -> None:
    async with serving() as service, working(service.address, echoing()):
        answers = iter([LOST, AWAY, AWAY, RECORDED])
        service.answer = lambda outcome: next(answers)
        stream = await service.stream()
        late, kept = a_lease(), a_lease()
        stream.lease(late)
        await service.outcomes(1)
        stream.lease(kept)
        outcomes = await service.outcomes(4)
        assert [outcome.token for outcome in outcomes] == [late.token, kept.token, kept.token, kept.token]


async def test_stopped_it_says_goodbye_lets_what_runs_end_and_tells_of_it() -> None:
    handlers, begun, leave = Handlers(), Gate(), Gate()

    @handlers.on("t")
    async def handle(job: JobContext) -> str:
        begun.open()
        await leave.passed()
        return "done"

    async with serving() as service:
        worker = Worker(service.address, handlers, grace=60)
        running = asyncio.create_task(worker.run_async())
        stream = await service.stream()
        stream.lease(a_lease())
        await begun.passed()
        worker.stop()
        await service.until(lambda: any(message.HasField("goodbye") for message in stream.messages))
        late = a_lease()
        stream.lease(late)  # it was on its way
        await service.outcomes(1)
        assert (stream.outcomes[0].token, stream.outcomes[0].WhichOneof("outcome")) == (late.token, "released")
        leave.open()
        await running
        assert stream.outcomes[1].WhichOneof("outcome") == "completed"
        assert not any(credit.n for message in stream.messages[1:] for credit in message.credits)


async def test_what_does_not_end_within_the_grace_is_given_back() -> None:
    handlers, begun = Handlers(), Gate()

    @handlers.on("t")
    async def handle(job: JobContext) -> None:
        begun.open()
        await asyncio.Event().wait()

    async with serving() as service:
        worker = Worker(service.address, handlers, grace=60)
        running = asyncio.create_task(worker.run_async())
        stream = await service.stream()
        stream.lease(a_lease())
        await begun.passed()
        worker.stop()
        worker.stop(0)  # in more of a hurry
        await running
        [outcome] = stream.outcomes
        assert outcome.WhichOneof("outcome") == "released"


async def test_jobs_that_come_when_all_has_ended_are_given_back() -> None:
    async with serving() as service:
        worker = Worker(service.address, echoing())
        running = asyncio.create_task(worker.run_async())
        stream = await service.stream()
        late = a_lease()
        service.at_goodbye = lambda stream: stream.lease(late)  # it was on its way
        worker.stop(0)
        await running
        told = [*service.reported, *stream.outcomes]
        assert [(outcome.token, outcome.WhichOneof("outcome")) for outcome in told] == [(late.token, "released")]


async def test_a_refused_worker_says_why() -> None:
    async with serving() as service:
        service.refusing = grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(InvalidArgument, match="refused, as the test says"):
            await Worker(service.address, echoing()).run_async()


async def test_cancelled_it_stops() -> None:
    async with serving() as service:
        running = asyncio.create_task(Worker(service.address, echoing()).run_async())
        stream = await service.stream()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await service.until(lambda: stream.over)


async def test_it_runs_once_at_a_time() -> None:
    async with serving() as service, working(service.address, echoing()) as worker:
        await service.stream()
        with pytest.raises(UnusableClient, match="runs already"):
            await worker.run_async()


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        ({"concurrency": 0}, InvalidArgument, "1 to 10,000"),
        ({"concurrency": "4"}, WrongType, "whole number"),
        ({"queues": "mail"}, WrongType, "list of names"),
        ({"queues": []}, InvalidArgument, "None for all"),
        ({"queues": ["a b"]}, InvalidArgument, "'a b' is no queue"),
        ({"name": "a\nb"}, InvalidArgument, "control character"),
        ({"version": "1 beta"}, InvalidArgument, "version"),
        ({"labels": {"a": 1}}, WrongType, "labels"),
        ({"lease": 1}, InvalidArgument, "5 s to 1 h"),
        ({"token": "x", "address": "far.example:1"}, InvalidArgument, "without encryption"),
        ({"address": "http://a"}, InvalidArgument, "without http"),
        ({"address": []}, InvalidArgument, "no address"),
        ({"handlers": Handlers()}, InvalidArgument, "0 types"),
        ({"handlers": None}, WrongType, "is a Handlers"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, object], kind: type[Exception], says: str) -> None:
    given: dict[str, object] = {"address": "localhost:1", "handlers": echoing(), "tls": None, **settings}
    with pytest.raises(kind, match=says):
        Worker(**given)  # type: ignore[arg-type]  # the mistakes under test


def test_a_token_goes_with_tls() -> None:
    assert Worker("far.example:1", echoing(), token="x", tls=Tls()).name
