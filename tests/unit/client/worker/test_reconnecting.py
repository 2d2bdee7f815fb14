"""A worker between servers: what runs goes on, and nothing is begun twice or lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import grpc
import pytest
from support.ports import free_port
from tocsin import Handlers, JobContext
from tocsin.errors import InvalidArgument
from tocsin.v1 import worker_service_pb2 as pb
from tocsin.worker.addresses import Addresses, addresses_of
from unit.client.worker.gates import Gate
from unit.client.worker.worker_service import ScriptedWorkerService, a_lease, serving, working


class Jobs:
    """Handlers of "t", which wait for the gate, and of "quick"; `begun` has each attempt that was begun."""

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.begun: list[str] = []
        self.leave = Gate()
        self.handlers.on("t")(self.wait)
        self.handlers.on("quick")(self.quick)

    async def wait(self, job: JobContext) -> str:
        self.begun.append(job.job_id)
        await job.progress(0.5)
        await self.leave.passed()
        return "done"

    async def quick(self, job: JobContext) -> None:
        self.begun.append(job.job_id)


async def first_of(*services: ScriptedWorkerService) -> tuple[ScriptedWorkerService, ScriptedWorkerService]:
    """The one that the worker went to, and the other."""
    waits = {asyncio.ensure_future(service.stream()): service for service in services}
    done, others = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    first = waits[done.pop()]
    return first, next(service for service in services if service is not first)


def drain(retry_after: float) -> pb.StreamJobsResponse:
    message = pb.StreamJobsResponse()
    message.drain.retry_after.FromTimedelta(timedelta(seconds=retry_after))
    return message


async def test_after_a_cut_it_goes_on_with_what_it_holds_at_another_server() -> None:
    jobs = Jobs()
    async with (
        serving() as one,
        serving() as two,
        working([one.address, two.address], jobs.handlers, concurrency=5),
    ):
        first, other = await first_of(one, two)
        stream = first.streams[0]
        leased = a_lease()
        stream.lease(leased)
        await first.until(lambda: stream.heartbeats)
        stream.end()
        anew = await other.stream()
        assert list(anew.hello.held_tokens) == [leased.token]
        assert anew.credits == {"": 4}  # what may begin beside it
        jobs.leave.open()
        [outcome] = await other.outcomes(1)
        assert (outcome.token, outcome.WhichOneof("outcome")) == (leased.token, "completed")
        assert jobs.begun == [leased.job.job_id]


async def test_leases_held_over_are_extended_as_often_as_the_new_server_says() -> None:
    jobs = Jobs()
    async with serving() as service, working(service.address, jobs.handlers):
        stream = await service.stream()
        leased = a_lease()
        stream.lease(leased)
        await service.until(lambda: stream.heartbeats)
        service.heartbeat_every = timedelta(milliseconds=20)
        stream.end()
        anew = await service.stream(2)
        await service.until(lambda: len(anew.heartbeats) >= 5)
        assert {beat.token for beat in anew.heartbeats} == {leased.token}
        jobs.leave.open()


async def test_outcomes_that_were_not_answered_before_the_cut_are_sent_again() -> None:
    jobs = Jobs()
    async with serving() as service, working(service.address, jobs.handlers):
        service.acking = False
        stream = await service.stream()
        leased = [a_lease("quick") for _ in range(3)]
        stream.lease(*leased)
        await service.outcomes(3)
        stream.end()
        anew = await service.stream(2)
        service.acking = True
        assert [outcome.token for outcome in anew.outcomes] == [outcome.token for outcome in stream.outcomes]
        assert not anew.hello.held_tokens  # they hold no slot any more
        assert anew.credits == {"": 20}
        anew.end()  # it was not answered there either
        again = await service.stream(3)
        assert len(again.outcomes) == 3
        again.lease(a_lease("quick"))
        await service.outcomes(4, again)
        assert len(jobs.begun) == 4


async def test_last_words_that_were_written_while_no_server_was_there_come_before_the_outcome() -> None:
    handlers, cut, said = Handlers(), Gate(), Gate()

    @handlers.on("t")
    async def handle(job: JobContext) -> None:
        job.log("before the cut")
        await cut.passed()
        for number in range(2000):
            job.log(f"line {number}")
        said.open()

    async with serving() as service, working(service.address, handlers):
        stream = await service.stream()
        leased = a_lease()
        stream.lease(leased)
        await service.until(lambda: stream.heartbeats)
        service.refusing = grpc.StatusCode.UNAVAILABLE
        stream.end()
        await service.until(lambda: service.refused)
        cut.open()
        await said.passed()
        refused = service.refused
        await service.until(lambda: service.refused > refused + 1)  # its end is known by then
        service.refusing = None
        anew = await service.stream(2)
        assert not anew.hello.held_tokens
        first = anew.messages[0]
        assert [outcome.token for outcome in first.outcomes] == [leased.token]
        [beat] = first.heartbeats
        texts = [line.text for line in beat.log]
        assert (texts[0], texts[-1]) == ("line 0", "line 1999")
        assert len(texts) <= 1000


async def test_it_leaves_a_server_that_drains_at_once_where_there_is_another() -> None:
    jobs = Jobs()
    async with (
        serving() as one,
        serving() as two,
        working(f"{one.address},{two.address}", jobs.handlers),
    ):
        first, other = await first_of(one, two)
        stream = first.streams[0]
        leased = a_lease()
        stream.lease(leased)
        await first.until(lambda: stream.heartbeats)
        stream.say(drain(3600))
        anew = await other.stream()
        assert list(anew.hello.held_tokens) == [leased.token]
        await first.until(lambda: stream.over)
        jobs.leave.open()
        await other.outcomes(1)
        # The one that drains is left alone, but where no other is left.
        assert len(first.streams) == 1


async def test_a_lone_server_that_drains_still_takes_outcomes_and_gets_no_more_credits() -> None:
    jobs = Jobs()
    async with serving() as service, working(service.address, jobs.handlers):
        stream = await service.stream()
        leased = a_lease()
        stream.lease(leased)
        await service.until(lambda: stream.heartbeats)
        stream.say(drain(0.1))
        stream.say(pb.StreamJobsResponse(leased=[a_lease("quick")]))  # it was granted before
        await service.outcomes(1, stream)
        jobs.leave.open()
        await service.outcomes(2, stream)
        assert not any(message.credits for message in stream.messages[1:])
        stream.end()
        anew = await service.stream(2)
        assert anew.credits == {"": 20}


async def test_a_server_that_comes_later_is_found() -> None:
    jobs = Jobs()
    port = free_port()
    async with working(f"127.0.0.1:{port}", jobs.handlers), serving(port) as service:
        (await service.stream()).lease(a_lease("quick"))
        await service.outcomes(1)


async def test_once_welcome_it_bears_with_refusals() -> None:
    jobs = Jobs()
    async with serving() as service, working(service.address, jobs.handlers):
        stream = await service.stream()
        stream.lease(a_lease("quick"))
        await service.outcomes(1)
        service.refusing = grpc.StatusCode.PERMISSION_DENIED
        stream.end()
        await service.until(lambda: service.refused >= 2)
        service.refusing = None
        await service.stream(2)


async def test_a_type_whose_slots_are_all_held_has_none_to_give() -> None:
    jobs = Jobs()
    handlers = Handlers()
    handlers.on("one", concurrency=1)(jobs.wait)
    handlers.on("two", concurrency=2)(jobs.wait)
    async with serving() as service, working(service.address, handlers, concurrency=6):
        stream = await service.stream()
        stream.lease(a_lease("one"), a_lease("two"))
        await service.until(lambda: len({beat.token for beat in stream.heartbeats}) == 2)
        stream.end()
        anew = await service.stream(2)
        assert anew.credits == {"": 4, "one": 0, "two": 1}
        jobs.leave.open()
        await service.until(lambda: anew.credits == {"": 6, "one": 1, "two": 2})


def test_addresses_are_taken_in_turn_and_failed_ones_rest() -> None:
    addresses = Addresses(["a:1", "b:1", "c:1"])
    seen = []
    for _ in range(3):
        address, wait = addresses.next()
        assert not wait
        seen.append(address)
        addresses.failed()
    assert sorted(seen) == ["a:1", "b:1", "c:1"]
    _, wait = addresses.next()
    assert 0 < wait <= 0.1


def test_a_lone_address_is_asked_less_and_less_often() -> None:
    addresses = Addresses(["a:1"])
    waits = [addresses.failed() for _ in range(20)]
    assert 0.05 <= waits[0] <= 0.1
    assert 2.5 <= waits[-1] <= 5.0
    addresses.reached()
    assert addresses.failed() <= 0.1


def test_an_address_that_drains_rests_for_as_long_as_it_says() -> None:
    addresses = Addresses(["a:1", "b:1"])
    draining, _ = addresses.next()
    assert addresses.others_wait
    addresses.drains(timedelta(hours=1))
    for _ in range(3):
        address, _ = addresses.next()
        assert address != draining
        addresses.failed()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("a:1,b", ["a:1", "b:50051"]),
        (["a", "unix:/x"], ["a:50051", "unix:/x"]),
        ("ipv4:1.2.3.4:5,6.7.8.9:5", ["ipv4:1.2.3.4:5,6.7.8.9:5"]),
        ("a:1, ", ["a:1"]),
    ],
)
def test_addresses_may_be_written_with_commas(given: str | list[str], found: list[str]) -> None:
    assert list(addresses_of(given)) == found


def test_the_environment_names_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_ADDRESS", "a:1,b:2")
    assert list(addresses_of(None)) == ["a:1", "b:2"]
    monkeypatch.delenv("TOCSIN_ADDRESS")
    assert list(addresses_of(None)) == ["localhost:50051"]
    with pytest.raises(InvalidArgument, match="no port"):
        addresses_of("a:1,b:x")
