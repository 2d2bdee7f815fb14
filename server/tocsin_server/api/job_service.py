"""JobService: check, translate, call, translate back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import timedelta
from typing import cast

from google.protobuf.duration_pb2 import Duration
from tocsin.v1 import bulk_pb2, job_service_pb2, transfer_pb2

from tocsin_server.api import batches, page_tokens, transferring, wire
from tocsin_server.api.aside import aside, each_aside
from tocsin_server.api.convert import filters
from tocsin_server.api.convert.events import fill_watched
from tocsin_server.api.convert.job import (
    fill,
    fill_scheduled,
    to_payload,
    to_request,
    to_terms_asked,
    to_view,
    to_when,
)
from tocsin_server.api.convert.times import to_span
from tocsin_server.api.errors import or_raise
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.listing import read_page
from tocsin_server.api.reading import read
from tocsin_server.api.validation import scheduling as schedule_rules
from tocsin_server.api.validation import standing as rules
from tocsin_server.api.validation import transfer as transfer_rules
from tocsin_server.api.validation.payloads.checking import BUILT_IN_TYPES
from tocsin_server.domain import limits
from tocsin_server.domain.changes import CancelJob, Change, RetryJob, RunJob, UpdateJob
from tocsin_server.domain.defaults import JobRequest
from tocsin_server.domain.errors import JobNotFound
from tocsin_server.domain.filters import ListQuery
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.states import State
from tocsin_server.operations.bulk import Bulk
from tocsin_server.operations.changing import Changing
from tocsin_server.operations.scheduling import Scheduling
from tocsin_server.operations.transfer.transfers import Transfers
from tocsin_server.operations.watching import Watched, Watching
from tocsin_server.store.interface import JobStore
from tocsin_server.telemetry import job_log

# JobService's messages as the server sees them.
_ScheduleJobRequest = wire.shadow(job_service_pb2.ScheduleJobRequest)
_ScheduleJobResponse = wire.shadow(job_service_pb2.ScheduleJobResponse)
_BatchScheduleJobsResponse = wire.shadow(job_service_pb2.BatchScheduleJobsResponse)
_GetJobResponse = wire.shadow(job_service_pb2.GetJobResponse)
_ListJobsResponse = wire.shadow(job_service_pb2.ListJobsResponse)
_CancelJobResponse = wire.shadow(job_service_pb2.CancelJobResponse)
_BatchCancelJobsResponse = wire.shadow(job_service_pb2.BatchCancelJobsResponse)
_BatchRetryJobsResponse = wire.shadow(bulk_pb2.BatchRetryJobsResponse)
_RetryJobResponse = wire.shadow(job_service_pb2.RetryJobResponse)
_RunJobResponse = wire.shadow(job_service_pb2.RunJobResponse)
_UpdateJobResponse = wire.shadow(job_service_pb2.UpdateJobResponse)
_DeleteJobResponse = wire.shadow(job_service_pb2.DeleteJobResponse)
_BatchDeleteJobsResponse = wire.shadow(bulk_pb2.BatchDeleteJobsResponse)
_WatchJobsResponse = wire.shadow(job_service_pb2.WatchJobsResponse)
_ImportJobsResponse = wire.shadow(transfer_pb2.ImportJobsResponse)


class JobService:
    """Schedules jobs, and shows, lists, changes, cancels, watches and moves them."""

    def __init__(
        self,
        store: JobStore,
        scheduling: Scheduling,
        watching: Watching,
        bulk: Bulk,
        changing: Changing,
        transfers: Transfers,
    ) -> None:
        self._store = store
        self._scheduling = scheduling
        self._watching = watching
        self._bulk = bulk
        self._changing = changing
        self._transfers = transfers

    async def ScheduleJob(
        self, request: job_service_pb2.ScheduleJobRequest, call: Call
    ) -> job_service_pb2.ScheduleJobResponse:
        asked = await aside(request.ByteSize(), lambda: _checked(request))
        [scheduled] = await self._scheduling.schedule([asked])
        response = _ScheduleJobResponse()
        fill_scheduled(response, *or_raise(scheduled))
        return response

    async def BatchScheduleJobs(
        self, request: job_service_pb2.BatchScheduleJobsRequest, call: Call
    ) -> job_service_pb2.BatchScheduleJobsResponse:
        schedule_rules.check_batch_schedule_jobs(request)
        # Bytes in the shadow message: each item is read by itself.
        raws = cast("Sequence[bytes]", request.requests)
        asked = await each_aside(sum(map(len, raws)), raws, batches.tried(_read_and_checked))
        good = batches.good(asked)
        scheduled = await self._scheduling.schedule(good) if good else []
        response = _BatchScheduleJobsResponse()
        batches.fill_batch_scheduled(response, batches.answers(asked, scheduled))
        return response

    async def GetJob(self, request: job_service_pb2.GetJobRequest, call: Call) -> job_service_pb2.GetJobResponse:
        rules.check_get_job(request)
        queue, view = _queue(request.queue), to_view(request.view, View.FULL)
        [job] = await self._store.get(queue, [request.job_id], view)
        if job is None:
            raise JobNotFound(queue, request.job_id)
        response = _GetJobResponse()
        fill(response.job, job, view)
        return response

    async def ListJobs(self, request: job_service_pb2.ListJobsRequest, call: Call) -> job_service_pb2.ListJobsResponse:
        rules.check_list_jobs(request)
        queue, filter_, order = _queue(request.queue), filters.list_filter(request), filters.list_order(request)
        list_hash = page_tokens.filter_hash(queue, filter_, order)
        after = page_tokens.jobs_position(list_hash, request.page_token, request.skip) if request.page_token else None
        limit = min(request.page_size or limits.DEFAULT_PAGE_SIZE, limits.PAGE_SIZE)
        query = ListQuery(queue, filter_, order, limit, request.skip, after, to_view(request.view, View.BASIC))
        response = _ListJobsResponse()
        next_, total = await read_page(self._store, query, response.jobs)
        if next_ is not None:
            response.next_page_token = page_tokens.jobs_token(list_hash, next_)
        if total is not None:
            response.total_size = total
        return response

    async def CancelJob(
        self, request: job_service_pb2.CancelJobRequest, call: Call
    ) -> job_service_pb2.CancelJobResponse:
        rules.check_cancel_job(request)
        grace = _grace(request.grace if request.HasField("grace") else None)
        wish = CancelJob(request.job_id, request.reason, call.caller, grace)
        [job] = await self._store.cancel(_queue(request.queue), [wish])
        job_log.cancel_asked([job])
        response = _CancelJobResponse()
        fill(response.job, or_raise(job), View.BASIC)
        return response

    async def BatchCancelJobs(
        self, request: job_service_pb2.BatchCancelJobsRequest, call: Call
    ) -> job_service_pb2.BatchCancelJobsResponse:
        rules.check_batch_cancel_jobs(request)
        grace = _grace(request.grace if request.HasField("grace") else None)
        if request.job_ids:
            return await self._cancel_ids(request, grace, call.caller)
        done = await self._bulk.cancel(
            _queue(request.queue),
            filters.cancel_filter(request),
            reason=request.reason,
            by=call.caller,
            grace=grace,
        )
        return _BatchCancelJobsResponse(cancelled=done.cancelled, asked=done.asked)

    async def RetryJob(self, request: job_service_pb2.RetryJobRequest, call: Call) -> job_service_pb2.RetryJobResponse:
        rules.check_names_job(request)
        response = _RetryJobResponse()
        fill(response.job, await self._changed(request.queue, RetryJob(request.job_id)), View.BASIC)
        return response

    async def BatchRetryJobs(
        self, request: bulk_pb2.BatchRetryJobsRequest, call: Call
    ) -> bulk_pb2.BatchRetryJobsResponse:
        rules.check_batch_retry_jobs(request)
        queue, response = _queue(request.queue), _BatchRetryJobsResponse()
        if not request.job_ids:
            response.retried = await self._bulk.retry(queue, filters.retry_filter(request), dry_run=request.dry_run)
            return response
        asked = [batches.tried(_named)(job_id) for job_id in request.job_ids]
        good = batches.good(asked)
        retried = await self._store.update(queue, [RetryJob(job_id) for job_id in good]) if good else []
        batches.fill_batch_retried(response, request.job_ids, batches.answers(asked, retried))
        return response

    async def RunJob(self, request: job_service_pb2.RunJobRequest, call: Call) -> job_service_pb2.RunJobResponse:
        rules.check_names_job(request)
        response = _RunJobResponse()
        fill(response.job, await self._changed(request.queue, RunJob(request.job_id)), View.BASIC)
        return response

    async def UpdateJob(
        self, request: job_service_pb2.UpdateJobRequest, call: Call
    ) -> job_service_pb2.UpdateJobResponse:
        await aside(request.ByteSize(), lambda: rules.check_update_job(request))
        changed = rules.updated(request)
        payload = to_payload(request.job)
        change = UpdateJob(
            request.job_id,
            when=to_when(request) if "schedule_time" in changed else None,
            priority=request.job.priority if "priority" in changed else None,
            payload=payload if "payload" in changed else None,
            revision=request.revision if request.HasField("revision") else None,
        )
        type_ = request.job.type or (BUILT_IN_TYPES.get(payload.kind) if payload else None) or None
        job = await self._changing.update(_queue(request.queue), change, type_, to_terms_asked(request.job, changed))
        response = _UpdateJobResponse()
        fill(response.job, or_raise(job), View.BASIC)
        return response

    async def DeleteJob(
        self, request: job_service_pb2.DeleteJobRequest, call: Call
    ) -> job_service_pb2.DeleteJobResponse:
        rules.check_names_job(request)
        [refusal] = await self._store.delete(_queue(request.queue), [request.job_id])
        or_raise(refusal)
        return _DeleteJobResponse()

    async def BatchDeleteJobs(
        self, request: bulk_pb2.BatchDeleteJobsRequest, call: Call
    ) -> bulk_pb2.BatchDeleteJobsResponse:
        rules.check_batch_delete_jobs(request)
        queue, response = _queue(request.queue), _BatchDeleteJobsResponse()
        if not request.job_ids:
            response.deleted = await self._bulk.purge(queue, filters.delete_filter(request), dry_run=request.dry_run)
            return response
        asked = [batches.tried(_named)(job_id) for job_id in request.job_ids]
        good = batches.good(asked)
        refusals = await self._store.delete(queue, good) if good else []
        batches.fill_batch_deleted(response, request.job_ids, batches.answers(asked, refusals))
        return response

    async def WatchJobs(
        self, request: job_service_pb2.WatchJobsRequest, call: Call
    ) -> AsyncIterator[job_service_pb2.WatchJobsResponse]:
        rules.check_watch_jobs(request)
        queue = _queue(request.queue)
        if request.job_id:
            opened: AbstractAsyncContextManager[AsyncIterator[Watched]] = self._watching.job(queue, request.job_id)
        else:
            states = frozenset(map(State, request.states))
            types = frozenset(request.types)
            opened = self._watching.matching(queue, states, types, request.cursor, start=request.send_start)
        async with opened as changes:
            # Whoever waits for the headers knows that no change from here on is missed.
            await call.context.send_initial_metadata(())
            async for change in changes:
                response = _WatchJobsResponse()
                fill_watched(response, change)
                yield response

    async def ExportJobs(
        self, request: transfer_pb2.ExportJobsRequest, call: Call
    ) -> AsyncIterator[transfer_pb2.ExportJobsResponse]:
        transfer_rules.check_export_jobs(request)
        async with aclosing(self._transfers.exporting.records(request.queues)) as found:
            async for answer in transferring.answers(found):
                yield answer

    async def ImportJobs(
        self, requests: AsyncIterator[transfer_pb2.ImportJobsRequest], call: Call
    ) -> transfer_pb2.ImportJobsResponse:
        async with aclosing(transferring.slices(requests)) as slices:
            done = await self._transfers.importing.take(slices)
        response = _ImportJobsResponse()
        transferring.fill_imported(response, done)
        return response

    async def _changed(self, queue: str, change: Change) -> Job:
        [job] = await self._store.update(_queue(queue), [change])
        return or_raise(job)

    async def _cancel_ids(
        self, request: job_service_pb2.BatchCancelJobsRequest, grace: timedelta, caller: str
    ) -> job_service_pb2.BatchCancelJobsResponse:
        def wish(job_id: str) -> CancelJob:
            rules.check_id(job_id)
            return CancelJob(job_id, request.reason, caller, grace)

        asked = [batches.tried(wish)(job_id) for job_id in request.job_ids]
        good = batches.good(asked)
        cancelled = await self._store.cancel(_queue(request.queue), good) if good else []
        job_log.cancel_asked(cancelled)
        response = _BatchCancelJobsResponse()
        batches.fill_batch_cancelled(response, request.job_ids, batches.answers(asked, cancelled))
        return response


def _read_and_checked(raw: bytes) -> JobRequest:
    return _checked(read(job_service_pb2.ScheduleJobRequest, _ScheduleJobRequest, raw))


def _checked(item: job_service_pb2.ScheduleJobRequest) -> JobRequest:
    schedule_rules.check_schedule_job(item)
    return to_request(item)


def _named(job_id: str) -> str:
    rules.check_id(job_id)
    return job_id


def _queue(asked: str) -> str:
    return asked or limits.DEFAULT_QUEUE


def _grace(asked: Duration | None) -> timedelta:
    return limits.DEFAULT_GRACE if asked is None else to_span(asked)
