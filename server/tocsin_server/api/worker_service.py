"""WorkerService: read the request, call, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tocsin.v1 import worker_service_pb2 as pb

from tocsin_server.api.answers import workers as answers
from tocsin_server.api.answers.batches import good, in_order
from tocsin_server.api.aside import aside
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.requests import workers as requests
from tocsin_server.operations.working.conversation import Heard
from tocsin_server.operations.working.working import Working


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
        done = await self._calls.report(worker, good(ended)) if good(ended) else []
        return answers.reported(in_order(ended, done))

    async def ExtendLeases(self, request: pb.ExtendLeasesRequest, call: Call) -> pb.ExtendLeasesResponse:
        worker, lease, beats = await aside(request.ByteSize(), lambda: requests.extend_leases(request))
        done = await self._calls.extend(worker, lease, good(beats)) if good(beats) else []
        return answers.extended(in_order(beats, done))

    async def StreamJobs(
        self, stream: AsyncIterator[pb.StreamJobsRequest], call: Call
    ) -> AsyncIterator[pb.StreamJobsResponse]:
        async with self._streaming.stream(self._heard(stream)) as sendings:
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

    async def _heard(self, stream: AsyncIterator[pb.StreamJobsRequest]) -> AsyncIterator[Heard]:
        async for message in stream:
            yield requests.stream_jobs(message, self._clock.now())
