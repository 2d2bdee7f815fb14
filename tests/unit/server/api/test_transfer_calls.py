"""Exports and imports as calls: what they do to the store, how they end where they cannot go on, what bounds them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from support.eventually import until_async
from support.stubs import Refusal, refusal, refusal_in, request
from tocsin.v1 import conditions_pb2, job_pb2, queue_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import queue_service_pb2 as qpb
from tocsin.v1 import transfer_pb2 as tpb
from tocsin_server.domain import limits
from tocsin_server.domain.errors import StoreAway
from unit.server.api.record_builder import LATER, T0, State, a_job, a_note, a_queue
from unit.server.api.running_api import Api

IMPORT = "/tocsin.v1.JobService/ImportJobs"


async def refused(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def imported(api: Api, *records: tpb.TransferRecord, over: int = 0) -> tpb.ImportJobsResponse:
    return await api.jobs.ImportJobs(iter([tpb.ImportJobsRequest(over=over, records=records)]))


async def exported(api: Api, *queues: str) -> list[tpb.TransferRecord]:
    answers = [answer async for answer in api.jobs.ExportJobs(tpb.ExportJobsRequest(queues=queues))]
    assert all(answer.records and answer.ByteSize() <= limits.RESPONSE_BYTES for answer in answers)
    return [record for answer in answers for record in answer.records]


async def job(api: Api, job_id: str = "a") -> job_pb2.Job:
    return (await api.jobs.GetJob(pb.GetJobRequest(queue="q", job_id=job_id))).job


class Slow:
    """Requests that come when a test says so; none after the last one until it does."""

    def __init__(self) -> None:
        self._coming: asyncio.Queue[tpb.ImportJobsRequest | None] = asyncio.Queue()

    def send(self, *records: tpb.TransferRecord) -> None:
        self._coming.put_nowait(tpb.ImportJobsRequest(records=records))

    def end(self) -> None:
        self._coming.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[tpb.ImportJobsRequest]:
        while (request := await self._coming.get()) is not None:
            yield request


async def test_a_queue_comes_before_its_notes_and_its_jobs_last_newest_first(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.jobs.ScheduleJob(request("q", "t", job_id=name, delay=60))
    await imported(api, a_note())
    # What another part of the server keeps there is about this store alone.
    await api.store.as_store.write_note("q", "migration", b"{}", revision=0, until=LATER.ToDatetime(UTC))
    found = await exported(api)
    assert [record.WhichOneof("record") for record in found] == ["queue", "note", "job", "job", "job"]
    assert [record.job.job.job_id for record in found[2:]] == ["c", "b", "a"]
    assert [record.job.arrival for record in found[2:]] == [3, 2, 1]
    assert found[1] == a_note()


@pytest.mark.parametrize("mode", conditions_pb2.Collapse.Mode.keys()[1:])
async def test_what_a_jobs_start_depends_on_comes_back_as_it_was(api: Api, mode: str) -> None:
    asked = request("q", "t", job_id="a")
    if mode != "DEBOUNCE":
        asked.delay.seconds = 60
    asked.job.limit_key, asked.job.weight = "k", 7
    asked.job.collapse.key, asked.job.collapse.mode = "k", conditions_pb2.Collapse.Mode.Value(mode)
    if mode in ("KEEP", "THROTTLE", "DEBOUNCE"):
        asked.job.collapse.window.seconds = 600
    asked.job.expire.after_due.seconds = 3600
    asked.job.trace_context.traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    await api.jobs.ScheduleJob(asked)
    [_, record] = await exported(api, "q")
    assert record.job.job.spec.collapse == asked.job.collapse
    before = await job(api)
    await api.jobs.CancelJob(pb.CancelJobRequest(queue="q", job_id="a"))
    await api.jobs.DeleteJob(pb.DeleteJobRequest(queue="q", job_id="a"))
    answer = await imported(api, record)
    assert (answer.created, answer.refused) == (1, 0), answer
    assert (await job(api)).spec == before.spec


async def test_an_export_of_queues_that_nobody_used_is_empty(api: Api) -> None:
    assert await exported(api) == []
    assert await exported(api, "p") == []
    why = await refused(api.jobs.ExportJobs(tpb.ExportJobsRequest(queues=["q", "a b"])).read())
    assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["queues[1]"])


async def test_what_was_running_is_let_go_of_and_nothing_is_counted(api: Api) -> None:
    ran = {"state": State.ACTIVE, "start_time": T0, "attempt": 4, "failures": 1, "crashes": 2}
    asked = job_pb2.Cancel(reason="r", ask_time=T0, grace=Duration(seconds=5))
    answer = await imported(api, a_job("a", **ran), a_job("b", **ran, cancel=asked))
    assert (answer.created, answer.released) == (2, 2)
    waits, ended = await job(api), await job(api, "b")
    assert (waits.state, waits.attempt, waits.failures, waits.crashes) == (State.WAITING, 4, 1, 2)
    assert (ended.state, ended.attempt, ended.cancel.reason) == (State.CANCELLED, 4, "r")
    assert ended.end_time == ended.cancel.obey_time
    assert datetime.now(UTC) - ended.end_time.ToDatetime(UTC) < timedelta(minutes=1)
    again = await imported(api, a_job("a", **ran))
    assert (again.kept, again.released) == (1, 0)


async def test_the_job_of_a_schedule_stays_one(api: Api) -> None:
    nominal = Timestamp(seconds=1_798_704_000)
    await imported(
        api, a_job("pay-day@2026-12-31T08:00:00Z", nominal_time=nominal), a_job("pay-day@2026-12-30T08:00:00Z")
    )
    found = {record.job.job.job_id: record.job.job for record in await exported(api) if record.HasField("job")}
    assert found["pay-day@2026-12-31T08:00:00Z"].nominal_time == nominal
    assert found["pay-day@2026-12-31T08:00:00Z"].schedule_id == "pay-day"
    assert not found["pay-day@2026-12-30T08:00:00Z"].HasField("nominal_time")


async def test_a_job_that_runs_here_is_never_replaced(api: Api) -> None:
    await api.jobs.ScheduleJob(request("q", "t", job_id="a"))
    store = api.store.as_store
    await store.claim("q", {"t": 1}, 1, lease=timedelta(minutes=1), request=b"12345678")
    answer = await imported(api, a_job("a"), a_job("b"), over=tpb.ImportJobsRequest.REPLACE)
    assert (answer.refused, answer.created) == (1, 1)
    [one] = answer.refused_items
    assert (one.index, one.queue, one.job_id) == (0, "q", "a")
    assert refusal_in(one.error).reason == "JOB_ACTIVE"
    assert (await job(api)).state == State.ACTIVE


async def test_of_two_records_of_one_job_the_first_stands_or_with_replace_the_second(api: Api) -> None:
    two = [a_job("a", attempt=1), a_job("a", attempt=2)]
    answer = await imported(api, *two)
    assert (answer.created, answer.kept, (await job(api)).attempt) == (1, 1, 1)
    answer = await imported(api, *two, over=tpb.ImportJobsRequest.REPLACE)
    assert (answer.same, answer.replaced, (await job(api)).attempt) == (1, 1, 2)


SET = {"completed_max": 5}
QUEUES: dict[str, tuple[dict[str, Any] | None, dict[str, Any], str, dict[str, Any]]] = {
    "what was never used takes all": (None, {**SET, "paused": True}, "created", {**SET, "paused": True}),
    "what was never used appears": (None, {}, "created", {}),
    "a pause alone is nothing that is set": ({"paused": True}, SET, "created", {**SET, "paused": True}),
    "what is set is kept": ({"failed_max": 1}, {**SET, "paused": True}, "kept", {"failed_max": 1}),
    "what is the same is so": (SET, SET, "same", SET),
}


@pytest.mark.parametrize("name", QUEUES)
async def test_settings_without_replace(api: Api, name: str) -> None:
    stood, record, did, stands = QUEUES[name]
    if stood is not None:
        await _set(api, stood)
    answer = await imported(api, a_queue(**record))
    counts = {name: getattr(answer, name) for name in ("created", "kept", "same", "replaced")}
    assert {name: count for name, count in counts.items() if count} == {did: 1}
    await _stands(api, stands)


async def test_settings_with_replace_give_way_and_a_pause_never_does(api: Api) -> None:
    await _set(api, {"failed_max": 1, "paused": True})
    answer = await imported(api, a_queue(**SET), over=tpb.ImportJobsRequest.REPLACE)
    assert answer.replaced == 1
    await _stands(api, {**SET, "paused": True})
    answer = await imported(api, a_queue(**SET), over=tpb.ImportJobsRequest.REPLACE)
    assert answer.same == 1


async def _set(api: Api, stood: dict[str, Any]) -> None:
    said = {name: value for name, value in stood.items() if name != "paused"}
    if said:
        await api.queues.UpdateQueue(qpb.UpdateQueueRequest(queue=queue_pb2.Queue(queue="q", **said)))
    if stood.get("paused"):
        await api.queues.PauseQueue(qpb.PauseQueueRequest(queue="q"))


async def _stands(api: Api, wanted: dict[str, Any]) -> None:
    [entry] = (await api.queues.ListQueues(qpb.ListQueuesRequest())).queues
    found = {field.name: value for field, value in entry.queue.ListFields()}
    assert {name: found[name] for name in found.keys() - {"queue", "pause_time"}} == wanted


NOTES: dict[str, tuple[dict[str, Any], dict[str, Any], int, str, int]] = {
    "a later revision goes over": ({}, {"revision": 4}, 0, "replaced", 4),
    "an earlier one does not": ({}, {"revision": 2}, 0, "kept", 3),
    "another one of the same does not": ({}, {"content": "ee"}, 0, "kept", 3),
    "the same is so": ({}, {}, 0, "same", 3),
    "with REPLACE it does": ({}, {"revision": 2}, 2, "replaced", 2),
}


@pytest.mark.parametrize("name", NOTES)
async def test_reminder_sets(api: Api, name: str) -> None:
    stood, record, over, did, revision = NOTES[name]
    notes = [a_note(**stood), a_note(**record)]
    assert (await imported(api, notes[0])).created == 1
    answer = await imported(api, notes[1], over=over)
    assert getattr(answer, did) == 1
    [kept] = [found for found in await exported(api, "q") if found.HasField("note")]
    assert f'"revision": {revision}'.encode() in kept.note.value


async def test_the_first_thousand_refused_are_named_and_all_are_counted(api: Api) -> None:
    answer = await imported(api, *(a_job(state=0) for _ in range(1_500)), a_job("good"))
    assert (answer.refused, answer.created, len(answer.refused_items)) == (1_500, 1, 1_000)
    assert answer.ByteSize() < limits.RESPONSE_BYTES
    assert refusal_in(answer.refused_items[999].error).fields == ["records[999].job.job.state"]


async def test_a_megabyte_that_could_be_scheduled_moves(api: Api) -> None:
    spec = job_pb2.JobSpec(queue="q", type="t", raw={"body": b""})
    spec.raw.body = bytes(limits.JOB_SPEC_BYTES - spec.ByteSize() - 8)
    spec.raw.body += bytes(limits.JOB_SPEC_BYTES - spec.ByteSize())
    assert spec.ByteSize() == limits.JOB_SPEC_BYTES
    for n in range(5):
        await api.jobs.ScheduleJob(pb.ScheduleJobRequest(job=spec, job_id=f"big-{n}"))
    found = await exported(api)
    [first] = [record for record in found if record.job.job.job_id == "big-0"]
    answer = await imported(api, first, over=tpb.ImportJobsRequest.REPLACE)
    assert (answer.same, answer.refused) == (1, 0), answer


async def test_a_drain_ends_an_import_that_waits_for_more_and_says_what_it_did(api: Api) -> None:
    requests = Slow()
    call = api.jobs.ImportJobs(requests.__aiter__())
    requests.send(a_job("a"), a_job("b"))
    await api.store.until_called("put", 1)
    await api.server.drain()
    why = await refused(call)
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN")
    assert "2 records or more had been taken" in why.message
    assert "nothing was changed" not in why.message


async def test_a_drain_ends_what_has_changed_nothing_as_it_refuses_any_call(api: Api) -> None:
    await imported(api, a_job())
    requests = Slow()
    waits = asyncio.ensure_future(refused(api.jobs.ImportJobs(requests.__aiter__())))
    requests.send(a_job())
    await api.store.until_called("put", 1)
    api.store.gates["page"] = asyncio.Event()  # the export is held in the midst of a question to the store
    held = asyncio.ensure_future(refused(_all(api.jobs.ExportJobs(tpb.ExportJobsRequest()))))
    await api.store.until_asked("page", 1)
    await api.server.drain()
    for why in await asyncio.wait_for(asyncio.gather(waits, held), 5):
        assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def _all(call: Any) -> Sequence[Any]:
    return [answer async for answer in call]


async def test_a_store_that_goes_away_is_told_by_what_was_done_before(api: Api) -> None:
    requests = Slow()
    api.store.break_with["put"] = StoreAway("pulled out")
    why = await refused(imported(api, a_job()))
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_AWAY")
    del api.store.break_with["put"]
    call = api.jobs.ImportJobs(requests.__aiter__())
    requests.send(a_job())
    await api.store.until_called("put", 1)
    api.store.break_with["put"] = StoreAway("pulled out")
    requests.send(a_job("b"))
    why = await refused(call)
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN")
    del api.store.break_with["put"]
    api.store.lose["put"] = 1
    assert (await refused(imported(api, a_job("c")))).reason == "OUTCOME_UNKNOWN"


async def test_a_request_that_cannot_be_read_ends_an_import_with_what_was_done(api: Api) -> None:
    raw = api.channel.stream_unary(IMPORT)
    why = await refused(raw(iter([b"\xff\xff"])))
    assert (why.code, why.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["request"])
    good = tpb.ImportJobsRequest(records=[a_job()]).SerializeToString()
    why = await refused(raw(iter([good, b"\xff\xff"])))
    assert (why.code, why.reason) == (grpc.StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN")
    assert (await job(api)).job_id == "a"


@pytest.mark.parametrize(
    ("begin", "code", "reason"),
    [
        (lambda api: api.jobs.ImportJobs(Slow().__aiter__(), timeout=1.5), "DEADLINE_EXCEEDED", "OUTCOME_UNKNOWN"),
        (lambda api: _held_export(api), "DEADLINE_EXCEEDED", "DEADLINE_PASSED"),
    ],
    ids=["import", "export"],
)
async def test_a_callers_deadline_holds(api: Api, begin: Callable[[Api], Any], code: str, reason: str) -> None:
    why = await refused(begin(api))
    assert (why.code, why.reason) == (grpc.StatusCode[code], reason)


def _held_export(api: Api) -> Any:
    api.store.gates["queues"] = asyncio.Event()
    return _all(api.jobs.ExportJobs(tpb.ExportJobsRequest(), timeout=1.5))


async def test_without_a_deadline_they_outlast_the_servers(api: Api) -> None:
    """Which is 2 s here."""
    requests = Slow()
    call = asyncio.ensure_future(_code(api.jobs.ImportJobs(requests.__aiter__())))
    done, _ = await asyncio.wait([call], timeout=2.5)
    assert not done
    requests.end()
    assert await call is grpc.StatusCode.OK


async def _code(call: Any) -> grpc.StatusCode:
    return await call.code()


async def test_more_than_sixteen_at_once_are_refused_and_keep_nobody_else_out(api: Api) -> None:
    slow = [Slow() for _ in range(16)]
    calls = [api.jobs.ImportJobs(requests.__aiter__()) for requests in slow]
    for n, requests in enumerate(slow):
        requests.send(a_job(f"j{n}"))
    await api.store.until_called("put", 16)
    assert (await refused(imported(api, a_job()))).reason == "TOO_MANY_CALLS"
    assert (await refused(_all(api.jobs.ExportJobs(tpb.ExportJobsRequest())))).reason == "TOO_MANY_CALLS"
    assert (await job(api, "j3")).job_id == "j3"
    for requests in slow:
        requests.end()
    assert [(await call).created for call in calls] == [1] * 16

    async def admitted() -> bool:
        try:
            return bool(await exported(api))
        except grpc.aio.AioRpcError:
            return False

    await until_async(admitted, within=5)


async def test_a_caller_who_leaves_an_export_leaves_nothing_behind(api: Api) -> None:
    for start in range(0, 3_000, 1_000):
        batch = pb.BatchScheduleJobsRequest(
            requests=[request("q", "t", {"x": "y" * 8_000}, delay=60) for _ in range(start, start + 1_000)]
        )
        await api.jobs.BatchScheduleJobs(batch)
    call = api.jobs.ExportJobs(tpb.ExportJobsRequest())
    await call.read()
    call.cancel()

    async def alone() -> bool:
        names = [str(task.get_coro()) for task in asyncio.all_tasks()]
        return not any("_next" in name or "Drain" in name for name in names)

    await until_async(alone, within=5)
    assert api.store.calls["page"] < 5, "it went on towards the end, some seven pages"
