"""QueueService: read the request, call, answer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime

from tocsin.v1 import queue_service_pb2 as pb

from tocsin_server.api import page_tokens
from tocsin_server.api.answers import queue as answers
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.requests import queues as requests
from tocsin_server.api.sized import AnswerRoom
from tocsin_server.operations.announcing import Announcing
from tocsin_server.operations.matching_jobs import MatchingJobs
from tocsin_server.operations.queue_health import queue_health
from tocsin_server.operations.queues import Queues
from tocsin_server.store.interface import JobStore


class QueueService:
    """Looks after queues."""

    def __init__(
        self,
        store: JobStore,
        queues: Queues,
        matching: MatchingJobs,
        announcing: Announcing,
        silent_since: Callable[[], datetime | None],
        writes_refused: Callable[[], str],
    ) -> None:
        """`silent_since`: since when the store is known not to answer; None: it does. `writes_refused`: why it takes
        no writes; "": it does."""
        self._store = store
        self._silent_since = silent_since
        self._writes_refused = writes_refused
        self._queues = queues
        self._matching = matching
        self._announcing = announcing

    async def GetQueueHealth(self, request: pb.GetQueueHealthRequest, call: Call) -> pb.GetQueueHealthResponse:
        queue = requests.named_queue(request)
        workers = self._announcing.workers
        return answers.health_of(
            queue, await queue_health(self._store, queue, workers, self._silent_since(), self._writes_refused())
        )

    async def ListQueues(self, request: pb.ListQueuesRequest, call: Call) -> pb.ListQueuesResponse:
        after, size = requests.list_queues(request)
        names = await self._store.queues()
        first = bisect_right(names, after)
        page = names[first : first + size]
        response = pb.ListQueuesResponse()
        room = AnswerRoom()
        for name, settings in zip(page, await self._store.settings(page) if page else [], strict=True):
            entry = response.queues.add()
            answers.fill_queue(entry.queue, name, settings)
            answers.fill_counts(entry.counts, await self._store.figures(name))
            if not room.takes(entry):
                del response.queues[-1]
                break
        if first + len(response.queues) < len(names):
            response.next_page_token = page_tokens.queues_token(response.queues[-1].queue.queue)
        return response

    async def GetQueue(self, request: pb.GetQueueRequest, call: Call) -> pb.GetQueueResponse:
        queue = requests.named_queue(request)
        [settings] = await self._store.settings([queue])
        response = pb.GetQueueResponse(queue=answers.queue_of(queue, settings))
        response.queue.shared_limits.extend(one.limit.name for one in await self._store.shared.limits_of(queue))
        return response

    async def UpdateQueue(self, request: pb.UpdateQueueRequest, call: Call) -> pb.UpdateQueueResponse:
        queue, change = requests.update_queue(request)
        return pb.UpdateQueueResponse(queue=answers.queue_of(queue, await self._queues.update(queue, change)))

    async def PauseQueue(self, request: pb.PauseQueueRequest, call: Call) -> pb.PauseQueueResponse:
        queue, reason, until = requests.pause_queue(request)
        return pb.PauseQueueResponse(queue=answers.queue_of(queue, await self._queues.pause(queue, reason, until)))

    async def DrainQueue(self, request: pb.DrainQueueRequest, call: Call) -> pb.DrainQueueResponse:
        queue = requests.named_queue(request)
        return pb.DrainQueueResponse(queue=answers.queue_of(queue, await self._queues.drain(queue)))

    async def ResumeQueue(self, request: pb.ResumeQueueRequest, call: Call) -> pb.ResumeQueueResponse:
        queue = requests.named_queue(request)
        settings = await self._queues.resume(queue, take_back=request.take_back)
        return pb.ResumeQueueResponse(queue=answers.queue_of(queue, settings))

    async def PurgeJobs(self, request: pb.PurgeJobsRequest, call: Call) -> pb.PurgeJobsResponse:
        queue, filter_ = requests.purge_jobs(request)
        return pb.PurgeJobsResponse(purged=await self._matching.purge(queue, filter_, dry_run=request.dry_run))

    async def DeleteQueue(self, request: pb.DeleteQueueRequest, call: Call) -> pb.DeleteQueueResponse:
        await self._queues.delete(requests.named_queue(request))
        return pb.DeleteQueueResponse()
