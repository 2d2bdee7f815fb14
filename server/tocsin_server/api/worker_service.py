"""WorkerService: read the request, call, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from tocsin.v1 import worker_service_pb2 as pb

from tocsin_server.api.answers import workers as answers
from tocsin_server.api.answers.batches import good, in_order
from tocsin_server.api.aside import aside
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.lease_tokens import token_of
from tocsin_server.api.permissions import own_alone
from tocsin_server.api.requests import workers as requests
from tocsin_server.operations.finishing import EndedAttempt
from tocsin_server.operations.working.conversation import Heard
from tocsin_server.operations.working.working import Working
from tocsin_server.security.principals import Principal


class WorkerService:
    """Gives jobs to workers, and takes their outcomes."""

    def __init__(self, working: Working) -> None:
        self._calls = working.calls
        self._streaming = working.streaming
        self._announcing = working.announcing
        self._clock = working.clock
        self._server = working.server

    async def LeaseJobs(self, request: pb.LeaseJobsRequest, call: Call) -> AsyncIterator[pb.LeaseJobsResponse]:
        # One answer, given as a stream's so that what could not be written is known: it is given back.
        poll = requests.lease_jobs(request)
        async with self._calls.leased(poll, call.context.time_remaining()) as claimed:
            answer, over = answers.leased(claimed, poll.lease)
            if over:
                self._calls.give_back(poll.worker, over)
            yield answer

    async def ReportOutcomes(self, request: pb.ReportOutcomesRequest, call: Call) -> pb.ReportOutcomesResponse:
        worker, ended = await aside(request.ByteSize(), lambda: requests.report_outcomes(request, self._clock.now()))
        own = own_alone(call.principal, ended, _queue)
        done = await self._calls.report(worker, good(own)) if good(own) else []
        return answers.reported(in_order(own, done))

    async def ExtendLeases(self, request: pb.ExtendLeasesRequest, call: Call) -> pb.ExtendLeasesResponse:
        worker, lease, beats = await aside(request.ByteSize(), lambda: requests.extend_leases(request))
        own = own_alone(call.principal, beats, lambda one: one[0].lease.queue)
        done = await self._calls.extend(worker, lease, good(own)) if good(own) else []
        return answers.extended(in_order(own, done))

    async def StreamJobs(
        self, stream: AsyncIterator[pb.StreamJobsRequest], call: Call
    ) -> AsyncIterator[pb.StreamJobsResponse]:
        async with self._streaming.stream(self._heard(stream, call.principal)) as sendings:
            async for sending in sendings:
                for message in answers.messages(sending, self._server):
                    yield message

    async def ListWorkers(self, request: pb.ListWorkersRequest, call: Call) -> pb.ListWorkersResponse:
        queue, type_, size, after = requests.list_workers(request)
        workers = [
            one
            for one in await self._announcing.workers()
            if (not queue or not one.queues or queue in one.queues) and (not type_ or type_ in one.types)
        ]
        return answers.listed(workers, size, after)

    async def _heard(
        self, stream: AsyncIterator[pb.StreamJobsRequest], principal: Principal | None
    ) -> AsyncIterator[Heard]:
        restricted = principal is not None and principal.queues is not None
        async for message in stream:
            heard = requests.stream_jobs(message, self._clock.now())
            yield _own(principal, heard) if restricted and principal is not None else heard


def _queue(ended: EndedAttempt) -> str:
    return ended.lease.queue


def _own(principal: Principal, heard: Heard) -> Heard:
    """What is said of attempts in the principal's own queues. Leases of others are lost to it."""
    hello = heard.hello
    if hello is not None and hello.held:
        held = tuple(one for one in hello.held if principal.reaches(one.lease.queue))
        foreign = tuple(token_of(one.lease, one.type) for one in hello.held if one not in held)
        hello = replace(hello, held=held, unreadable=(*hello.unreadable, *foreign))
    beats = [beat for beat in heard.heartbeats if principal.reaches(beat[0].lease.queue)]
    lost = [token_of(one.lease, type_) for one, type_ in heard.heartbeats if not principal.reaches(one.lease.queue)]
    return replace(
        heard,
        hello=hello,
        heartbeats=beats,
        unreadable=[*heard.unreadable, *lost],
        outcomes=own_alone(principal, heard.outcomes, _queue),
        unbegun=[lease for lease in heard.unbegun if principal.reaches(lease.queue)],
    )
