"""QueueService: check, translate, call, translate back."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime

from tocsin.v1 import queue_service_pb2

from tocsin_server.api import page_tokens
from tocsin_server.api.convert import filters
from tocsin_server.api.convert.queue import fill_counts, fill_health, fill_queue, to_change
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.validation import queues as rules
from tocsin_server.domain import limits
from tocsin_server.operations.bulk import Bulk
from tocsin_server.operations.queue_health import queue_health
from tocsin_server.operations.queues import Queues
from tocsin_server.store.interface import JobStore

_ROOM = limits.RESPONSE_BYTES - 4_096  # for entries: beside them stand a token, tags and lengths


class QueueService:
    """Looks after queues."""

    def __init__(
        self,
        store: JobStore,
        queues: Queues,
        bulk: Bulk,
        silent_since: Callable[[], datetime | None],
        writes_refused: Callable[[], str],
    ) -> None:
        """`silent_since`: since when the store is known not to answer; None: it does. `writes_refused`: why it takes
        no writes; "": it does."""
        self._store = store
        self._silent_since = silent_since
        self._writes_refused = writes_refused
        self._queues = queues
        self._bulk = bulk

    async def GetQueueHealth(
        self, request: queue_service_pb2.GetQueueHealthRequest, call: Call
    ) -> queue_service_pb2.GetQueueHealthResponse:
        rules.check_names_queue(request)
        queue = _queue(request.queue)
        response = queue_service_pb2.GetQueueHealthResponse()
        health = await queue_health(self._store, queue, self._silent_since(), self._writes_refused())
        fill_health(response, queue, health)
        if response.ByteSize() > limits.RESPONSE_BYTES:  # thousands of workers with hundreds of types each
            response.warnings.append(f"{len(response.workers):,} processes run jobs: too many to list")
            del response.workers[:]
        return response

    async def ListQueues(
        self, request: queue_service_pb2.ListQueuesRequest, call: Call
    ) -> queue_service_pb2.ListQueuesResponse:
        rules.check_list_queues(request)
        names = await self._store.queues()
        first = bisect_right(names, page_tokens.last_queue(request.page_token)) if request.page_token else 0
        size = min(request.page_size or limits.DEFAULT_PAGE_SIZE, limits.PAGE_SIZE)
        page = names[first : first + size]
        response = queue_service_pb2.ListQueuesResponse()
        room = _ROOM
        for name, settings in zip(page, await self._store.settings(page) if page else [], strict=True):
            entry = response.queues.add()
            fill_queue(entry.queue, name, settings)
            fill_counts(entry.counts, await self._store.figures(name))
            room -= entry.ByteSize() + 8
            if room < 0 and len(response.queues) > 1:
                del response.queues[-1]
                break
        if first + len(response.queues) < len(names):
            response.next_page_token = page_tokens.queues_token(response.queues[-1].queue.queue)
        return response

    async def GetQueue(
        self, request: queue_service_pb2.GetQueueRequest, call: Call
    ) -> queue_service_pb2.GetQueueResponse:
        rules.check_names_queue(request)
        queue = _queue(request.queue)
        [settings] = await self._store.settings([queue])
        response = queue_service_pb2.GetQueueResponse()
        fill_queue(response.queue, queue, settings)
        return response

    async def UpdateQueue(
        self, request: queue_service_pb2.UpdateQueueRequest, call: Call
    ) -> queue_service_pb2.UpdateQueueResponse:
        rules.check_update_queue(request)
        queue = _queue(request.queue.queue)
        response = queue_service_pb2.UpdateQueueResponse()
        fill_queue(response.queue, queue, await self._queues.update(queue, to_change(request)))
        return response

    async def PauseQueue(
        self, request: queue_service_pb2.PauseQueueRequest, call: Call
    ) -> queue_service_pb2.PauseQueueResponse:
        rules.check_pause_queue(request)
        queue = _queue(request.queue)
        response = queue_service_pb2.PauseQueueResponse()
        fill_queue(response.queue, queue, await self._queues.pause(queue, request.reason))
        return response

    async def ResumeQueue(
        self, request: queue_service_pb2.ResumeQueueRequest, call: Call
    ) -> queue_service_pb2.ResumeQueueResponse:
        rules.check_names_queue(request)
        queue = _queue(request.queue)
        response = queue_service_pb2.ResumeQueueResponse()
        fill_queue(response.queue, queue, await self._queues.resume(queue, take_back=request.take_back))
        return response

    async def PurgeJobs(
        self, request: queue_service_pb2.PurgeJobsRequest, call: Call
    ) -> queue_service_pb2.PurgeJobsResponse:
        rules.check_purge_jobs(request)
        filter_ = filters.purge_filter(request)
        purged = await self._bulk.purge(_queue(request.queue), filter_, dry_run=request.dry_run)
        return queue_service_pb2.PurgeJobsResponse(purged=purged)

    async def DeleteQueue(
        self, request: queue_service_pb2.DeleteQueueRequest, call: Call
    ) -> queue_service_pb2.DeleteQueueResponse:
        rules.check_names_queue(request)
        await self._queues.delete(_queue(request.queue))
        return queue_service_pb2.DeleteQueueResponse()


def _queue(asked: str) -> str:
    return asked or limits.DEFAULT_QUEUE
