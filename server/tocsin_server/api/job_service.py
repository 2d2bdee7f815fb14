"""JobService: read the request, call, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing

from tocsin.v1 import bulk_pb2, holding_pb2, transfer_pb2
from tocsin.v1 import following_pb2 as fpb
from tocsin.v1 import job_service_pb2 as pb

from tocsin_server.api import wire
from tocsin_server.api.answers import batches, scheduling
from tocsin_server.api.answers import job as answers
from tocsin_server.api.answers import transfer as transfer_answers
from tocsin_server.api.answers.explaining import explained, logged
from tocsin_server.api.aside import aside, each_aside
from tocsin_server.api.errors import or_raise
from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.interceptors.deadline import within_deadline
from tocsin_server.api.payload_rules import NO_RULES, PayloadRules
from tocsin_server.api.permissions import check_type, checked
from tocsin_server.api.requests import jobs as requests
from tocsin_server.api.requests import schedule_jobs
from tocsin_server.api.requests import transfer as transfer_requests
from tocsin_server.api.trace_context import CallTrace
from tocsin_server.domain.commands import CancelJob, Change, HoldJob, ReleaseJob, RetryJob, RunJob
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import Job, View
from tocsin_server.domain.job_errors import JobNotFound
from tocsin_server.operations.cancel_jobs import CancelJobs
from tocsin_server.operations.explaining import Explaining
from tocsin_server.operations.matching_jobs import MatchingJobs
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.operations.transfer.transfers import Transfers
from tocsin_server.operations.update_jobs import UpdateJobs
from tocsin_server.operations.watching import Watched, Watching
from tocsin_server.store.interface import JobStore

# JobService's messages as the server sees them.
_BatchCancelJobsResponse = wire.shadow(pb.BatchCancelJobsResponse)
_BatchRetryJobsResponse = wire.shadow(bulk_pb2.BatchRetryJobsResponse)
_BatchDeleteJobsResponse = wire.shadow(bulk_pb2.BatchDeleteJobsResponse)
_DeleteJobResponse = wire.shadow(pb.DeleteJobResponse)


class JobService:
    """Schedules jobs, and shows, lists, changes, cancels, watches and moves them."""

    def __init__(
        self,
        store: JobStore,
        scheduling: ScheduleJobs,
        cancelling: CancelJobs,
        watching: Watching,
        explaining: Explaining,
        matching: MatchingJobs,
        updating: UpdateJobs,
        transfers: Transfers,
        rules: PayloadRules = NO_RULES,
    ) -> None:
        self._store = store
        self._scheduling = scheduling
        self._cancelling = cancelling
        self._watching = watching
        self._explaining = explaining
        self._matching = matching
        self._updating = updating
        self._transfers = transfers
        self._rules = rules
        # Per job of a batch: nothing more is called where nothing is refused.
        self._read_one = schedule_jobs.schedule_job_bytes
        if rules.any:
            self._read_one = lambda raw: rules.checked(schedule_jobs.schedule_job_bytes(raw))

    async def ScheduleJob(self, request: pb.ScheduleJobRequest, call: Call) -> pb.ScheduleJobResponse:
        asked = self._rules.checked(await aside(request.ByteSize(), lambda: schedule_jobs.schedule_job(request)))
        [scheduled] = await self._scheduling.schedule(CallTrace(call.context).onto([asked]))
        return scheduling.scheduled(*or_raise(scheduled))

    async def BatchScheduleJobs(self, request: pb.BatchScheduleJobsRequest, call: Call) -> pb.BatchScheduleJobsResponse:
        raws = schedule_jobs.batch_schedule_jobs(request)
        read = checked(call.principal, pb.ScheduleJobRequest, self._read_one)
        asked = await each_aside(sum(map(len, raws)), raws, batches.tried(read))
        good = CallTrace(call.context).onto(batches.good(asked))
        places: Sequence[int] = range(len(asked))
        if len(good) < len(asked):
            places = [at for at, item in enumerate(asked) if not isinstance(item, TocsinError)]
        done = await self._scheduling.schedule(good, places) if good else []
        return batches.scheduled(batches.in_order(asked, done))

    async def GetJob(self, request: pb.GetJobRequest, call: Call) -> pb.GetJobResponse:
        queue, job_id, view = requests.get_job(request)
        [job] = await self._store.get(queue, [job_id], view)
        if job is None:
            raise JobNotFound(queue, job_id)
        job = await self._explaining.with_parents(job)
        [explanation] = await self._explaining.each(queue, [job])
        return answers.of_job(pb.GetJobResponse, job, view, explanation)

    async def WaitJob(self, request: fpb.WaitJobRequest, call: Call) -> fpb.WaitJobResponse:
        queue, job_id, view, wait = requests.wait_job(request)
        job = await self._watching.ended(queue, job_id, view, within_deadline(wait, call.context))
        return answers.of_job(fpb.WaitJobResponse, job, view)

    async def ExplainJob(self, request: fpb.ExplainJobRequest, call: Call) -> fpb.ExplainJobResponse:
        queue, job_id = requests.named_job(request)
        return explained(await self._explaining.explain(queue, job_id))

    async def ListJobLogs(self, request: fpb.ListJobLogsRequest, call: Call) -> fpb.ListJobLogsResponse:
        queue, job_id, attempt, cursor = requests.list_job_logs(request)
        page = await self._store.logs(queue, job_id, attempt=attempt, cursor=cursor)
        if page is None:
            raise JobNotFound(queue, job_id)
        return logged(page)

    async def ListJobs(self, request: pb.ListJobsRequest, call: Call) -> pb.ListJobsResponse:
        query, list_hash = requests.list_jobs(request)
        page = await self._store.page(query)
        explanations = await self._explaining.each(query.queue, page.jobs) if request.explain else ()
        return answers.listed(page, query, list_hash, explanations)

    async def CancelJob(self, request: pb.CancelJobRequest, call: Call) -> pb.CancelJobResponse:
        queue, wish = requests.cancel_job(request, call.caller)
        [job] = await self._cancelling.cancel(queue, [wish])
        return answers.of_job(pb.CancelJobResponse, or_raise(job))

    async def BatchCancelJobs(self, request: pb.BatchCancelJobsRequest, call: Call) -> pb.BatchCancelJobsResponse:
        many, grace = requests.batch_cancel_jobs(request)
        reason, by = request.reason, call.caller
        if not many.job_ids:
            done = await self._matching.cancel(many.queue, many.filter, reason=reason, by=by, grace=grace)
            return _BatchCancelJobsResponse(cancelled=done.cancelled, asked=done.asked)
        asked = [batches.tried(requests.job_id)(job_id) for job_id in many.job_ids]
        wishes = [CancelJob(job_id, reason, by, grace) for job_id in batches.good(asked)]
        cancelled = await self._cancelling.cancel(many.queue, wishes) if wishes else []
        return batches.cancelled(many.job_ids, batches.in_order(asked, cancelled))

    async def RetryJob(self, request: pb.RetryJobRequest, call: Call) -> pb.RetryJobResponse:
        queue, job_id = requests.named_job(request)
        return answers.of_job(pb.RetryJobResponse, await self._changed(queue, RetryJob(job_id)))

    async def BatchRetryJobs(
        self, request: bulk_pb2.BatchRetryJobsRequest, call: Call
    ) -> bulk_pb2.BatchRetryJobsResponse:
        many = requests.batch_retry_jobs(request)
        if not many.job_ids:
            retried = await self._matching.retry(many.queue, many.filter, dry_run=many.dry_run)
            return _BatchRetryJobsResponse(retried=retried)
        asked = [batches.tried(requests.job_id)(job_id) for job_id in many.job_ids]
        changes = [RetryJob(job_id) for job_id in batches.good(asked)]
        done = await self._store.update(many.queue, changes) if changes else []
        return batches.retried(many.job_ids, batches.in_order(asked, done))

    async def RunJob(self, request: pb.RunJobRequest, call: Call) -> pb.RunJobResponse:
        queue, job_id = requests.named_job(request)
        return answers.of_job(pb.RunJobResponse, await self._changed(queue, RunJob(job_id)))

    async def HoldJob(self, request: holding_pb2.HoldJobRequest, call: Call) -> holding_pb2.HoldJobResponse:
        queue, job_id = requests.named_job(request)
        return answers.of_job(holding_pb2.HoldJobResponse, await self._changed(queue, HoldJob(job_id)))

    async def ReleaseJob(self, request: holding_pb2.ReleaseJobRequest, call: Call) -> holding_pb2.ReleaseJobResponse:
        queue, job_id = requests.named_job(request)
        return answers.of_job(holding_pb2.ReleaseJobResponse, await self._changed(queue, ReleaseJob(job_id)))

    async def UpdateJob(self, request: pb.UpdateJobRequest, call: Call) -> pb.UpdateJobResponse:
        asked = await aside(request.ByteSize(), lambda: requests.update_job(request))
        self._rules.check_payload("job", asked.job.payload)
        if asked.job.payload is not None and call.principal is not None and not call.principal.unrestricted:
            # The payload of a mail is a mail, also where the request does not say so.
            for standing in await self._store.get(asked.queue, [asked.job.job_id], View.BASIC):
                check_type(call.principal, standing.spec.type if standing is not None else "")
        job = await self._updating.update(asked.queue, asked.job, asked.type, asked.terms)
        return answers.of_job(pb.UpdateJobResponse, or_raise(job))

    async def DeleteJob(self, request: pb.DeleteJobRequest, call: Call) -> pb.DeleteJobResponse:
        queue, job_id = requests.named_job(request)
        [refusal] = await self._store.delete(queue, [job_id])
        or_raise(refusal)
        return _DeleteJobResponse()

    async def BatchDeleteJobs(
        self, request: bulk_pb2.BatchDeleteJobsRequest, call: Call
    ) -> bulk_pb2.BatchDeleteJobsResponse:
        many = requests.batch_delete_jobs(request)
        if not many.job_ids:
            deleted = await self._matching.purge(many.queue, many.filter, dry_run=many.dry_run)
            return _BatchDeleteJobsResponse(deleted=deleted)
        asked = [batches.tried(requests.job_id)(job_id) for job_id in many.job_ids]
        good = batches.good(asked)
        refusals = await self._store.delete(many.queue, good) if good else []
        return batches.deleted(many.job_ids, batches.in_order(asked, refusals))

    async def WatchJobs(self, request: pb.WatchJobsRequest, call: Call) -> AsyncIterator[pb.WatchJobsResponse]:
        asked = requests.watch_jobs(request)
        opened: AbstractAsyncContextManager[AsyncIterator[Watched]]
        if asked.job_id:
            opened = self._watching.job(asked.queue, asked.job_id)
        else:
            opened = self._watching.matching(asked.queue, asked.states, asked.types, asked.cursor, start=asked.start)
        async with opened as changes:
            # Whoever waits for the headers knows that no change from here on is missed.
            await call.context.send_initial_metadata(())
            async for change in changes:
                yield answers.watched(change)

    async def ExportJobs(
        self, request: transfer_pb2.ExportJobsRequest, call: Call
    ) -> AsyncIterator[transfer_pb2.ExportJobsResponse]:
        queues = transfer_requests.export_jobs(request)
        async with aclosing(self._transfers.exporting.records(queues)) as batches:
            sealer = None if request.decrypt else self._transfers.sealer
            async for answer in transfer_answers.exported(batches, sealer):
                yield answer

    async def ImportJobs(
        self, stream: AsyncIterator[transfer_pb2.ImportJobsRequest], call: Call
    ) -> transfer_pb2.ImportJobsResponse:
        async with aclosing(transfer_requests.slices(stream, self._transfers.sealer, call.principal)) as slices:
            return transfer_answers.imported(await self._transfers.importing.take(slices))

    async def _changed(self, queue: str, change: Change) -> Job:
        [job] = await self._store.update(queue, [change])
        return or_raise(job)
