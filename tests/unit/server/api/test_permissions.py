"""Principals reach their own queues alone, whatever they call, and see what is in jobs only where they may: over all
methods and all fields that there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from support import worker_messages as words
from support.spied_store import SpiedStore
from support.stubs import Refusal, refusal, refusal_in, request
from tocsin.v1 import dependencies_pb2 as dpb
from tocsin.v1 import externalscaler_pb2 as scaler_pb
from tocsin.v1 import job_pb2
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import queue_service_pb2 as qpb
from tocsin.v1 import worker_service_pb2 as wpb
from tocsin_server.api import permissions
from tocsin_server.api.interceptors.auth import Auth
from tocsin_server.api.requests.payloads.checking import BUILT_IN_TYPES
from tocsin_server.api.services import SERVICES
from tocsin_server.domain.job import View
from tocsin_server.operations.dependents import Dependents
from tocsin_server.security.authentication import Authentication
from tocsin_server.security.principals import Principal, Principals, Scope, Token, hash_of
from unit.server.api.naming_queues import naming, ways_to_queues
from unit.server.api.running_api import Api, running_api

CODE = grpc.StatusCode
MARK = "planted-in-a-job"
ALL = frozenset(Scope)


def principal(name: str, scopes: frozenset[Scope] = ALL, queues: tuple[str, ...] | None = None) -> Principal:
    return Principal(name, scopes, tokens=(Token("123456", hash_of(name)),), queues=queues)


EACH = Principals.of(
    [
        principal("root"),
        principal("own", queues=("own", "mail.*")),
        principal("none", queues=()),
        *(principal(f"not-{scope}", ALL - {scope}) for scope in Scope),
        principal("reader", frozenset({Scope.READ})),
    ]
)


@pytest.fixture
async def api(spied: SpiedStore) -> AsyncIterator[Api]:
    """Nothing asks the store but what is called."""
    async with running_api(spied, auth=Auth(Authentication(lambda: EACH).principal), watches=50) as api:
        yield api


@pytest.fixture
async def working(spied: SpiedStore) -> AsyncIterator[Api]:
    """Jobs are leased to workers, too."""
    async with running_api(spied, auth=Auth(Authentication(lambda: EACH).principal), leasing=True) as api:
        yield api


async def call(api: Api, path: str, message: Any, who: str, within: float = 20) -> list[bytes] | Refusal:
    """The answers in bytes, those that came in time, or why there are none."""
    metadata = (("authorization", f"Bearer {who}"),)
    answers: list[bytes] = []
    called = api.channel.unary_stream(path)(message.SerializeToString(), metadata=metadata, timeout=30)
    try:
        async with asyncio.timeout(within):
            async for answer in called:
                answers.append(answer)
    except TimeoutError:
        called.cancel()
    except grpc.aio.AioRpcError as error:
        return refusal(error)
    return answers


# --- queues ---

WAYS = {
    f"{method.name}.{'.'.join(field.name for field in way)}": (f"/{service.served_as}/{method.name}", method, way)
    for service in SERVICES
    for method in service.descriptor.methods
    for way in ways_to_queues(method.input_type)
    if method.name != "BatchScheduleJobs"
}


def test_all_ways_to_name_a_queue_are_tried() -> None:
    assert len(WAYS) > 60
    fields = {way[-1].full_name for _, _, way in WAYS.values()}
    assert {"tocsin.v1.DataCleanup.queue", "tocsin.v1.ReportGeneration.queue", "tocsin.v1.LeaseAsk.queue"} <= fields


@pytest.mark.parametrize("way", sorted(WAYS))
async def test_a_foreign_queue_is_refused_alike_whether_the_job_is_there_or_not(api: Api, way: str) -> None:
    path, method, fields = WAYS[way]
    await call(api, "/tocsin.v1.JobService/ScheduleJob", request("foreign", "t", {}, job_id="there"), "root")
    asked = dict(api.store.calls)
    named = [naming(method.input_type, fields, "foreign", job_id) for job_id in ("there", "gone")]
    there, gone = [await call(api, path, message, "own") for message in named]
    assert isinstance(there, Refusal)
    assert (there.code, there.reason) == (CODE.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert there == gone
    assert dict(api.store.calls) == asked, "the store was asked for it"
    for queue in ("own", "mail.de"):
        own = await call(api, path, naming(method.input_type, fields, queue, "gone"), "own", 0.2)
        assert not isinstance(own, Refusal) or own.code is not CODE.PERMISSION_DENIED, own


async def test_where_no_queue_is_said_the_default_one_is_meant(api: Api) -> None:
    for path, message in (
        ("JobService/GetJob", pb.GetJobRequest(job_id="a")),
        ("JobService/ScheduleJob", pb.ScheduleJobRequest(job=job_pb2.JobSpec(type="t"))),
        ("QueueService/PauseQueue", qpb.PauseQueueRequest()),
    ):
        said = await call(api, f"/tocsin.v1.{path}", message, "own")
        assert isinstance(said, Refusal)
        assert "own does not reach the queue 'default'" in said.message


@pytest.mark.parametrize("field", permissions.ALL_WHERE_EMPTY)
async def test_all_queues_are_for_those_who_reach_all(api: Api, field: str) -> None:
    [path] = [path for path, _, way in WAYS.values() if way[-1].full_name == field]
    said = await call(api, path, pb.GetJobRequest(), "own")
    assert isinstance(said, Refusal)
    assert said.code is CODE.PERMISSION_DENIED
    assert not isinstance(await call(api, path, pb.GetJobRequest(), "root"), Refusal)


@pytest.mark.parametrize("name", permissions.FOR_ALL)
async def test_what_changes_all_queues_is_for_those_who_reach_all(api: Api, name: str) -> None:
    [path] = [
        f"/{service.served_as}/{method.name}"
        for service in SERVICES
        for method in service.descriptor.methods
        if method.input_type.full_name == name
    ]
    said = {who: await call(api, path, pb.GetJobRequest(), who) for who in ("own", "root")}
    codes = {who: one.code for who, one in said.items() if isinstance(one, Refusal)}
    assert codes.pop("own") is CODE.PERMISSION_DENIED
    assert CODE.PERMISSION_DENIED not in codes.values()


async def test_one_foreign_item_of_a_batch_harms_no_other(api: Api) -> None:
    items = [request(queue, "t", {}, job_id=f"j{n}") for n, queue in enumerate(["own", "foreign", "mail.de"])]
    said = await call(
        api, "/tocsin.v1.JobService/BatchScheduleJobs", pb.BatchScheduleJobsRequest(requests=items), "own"
    )
    assert not isinstance(said, Refusal)
    answer = pb.BatchScheduleJobsResponse.FromString(said[0])
    assert [one.WhichOneof("result") for one in answer.results] == ["response", "error", "response"]
    assert answer.results[1].error.code == CODE.PERMISSION_DENIED.value[0]
    assert await api.store.as_store.get("foreign", ["j1"], View.BASIC) == [None]


async def test_lists_of_queues_show_ones_own(api: Api) -> None:
    for queue in ("own", "foreign", "mail.de", "mailbox"):
        await call(api, "/tocsin.v1.JobService/ScheduleJob", request(queue, "t", {}), "root")

    async def seen(who: str) -> set[str]:
        said = await call(api, "/tocsin.v1.QueueService/ListQueues", qpb.ListQueuesRequest(), who)
        assert not isinstance(said, Refusal)
        return {one.queue.queue for one in qpb.ListQueuesResponse.FromString(said[0]).queues}

    assert await seen("root") == {"own", "foreign", "mail.de", "mailbox"}
    assert await seen("own") == {"own", "mail.de"}
    assert await seen("none") == set()


# --- leases ---


async def _leased(api: Api, *queues: str) -> list[bytes]:
    """Tokens of jobs that somebody who reaches all queues has leased, one of each queue."""
    root = (("authorization", "Bearer root"),)
    tokens = []
    for queue in queues:
        await api.jobs.ScheduleJob(request(queue, "t", {}, job_id="a"), metadata=root)
        leased = await api.workers.LeaseJobs(words.poll(queue, "t", most=1), metadata=root)
        tokens.append(leased.jobs[0].token)
    return tokens


async def _states(api: Api, *queues: str) -> list[str]:
    found = [job for queue in queues for job in await api.store.as_store.get(queue, ["a"], View.BASIC)]
    return [job.state.name for job in found if job is not None]


async def test_who_has_a_token_of_a_foreign_queue_neither_keeps_nor_ends_its_lease(working: Api) -> None:
    foreign, own = await _leased(working, "foreign", "own")
    me = (("authorization", "Bearer own"),)
    extended = (await working.workers.ExtendLeases(words.extend(foreign, own), metadata=me)).results
    reported = (
        await working.workers.ReportOutcomes(words.report(*map(words.completed, (foreign, own))), metadata=me)
    ).results
    for bad, good in (extended, reported):
        assert refusal_in(bad.error).code is CODE.PERMISSION_DENIED
        assert "own does not reach the queue 'foreign'" in bad.error.message
        assert not good.HasField("error")
    assert await _states(working, "foreign", "own") == ["ACTIVE", "COMPLETED"]


async def test_nor_does_who_says_so_on_a_stream(working: Api) -> None:
    foreign, held, own = await _leased(working, "foreign", "foreign.held", "own")

    class AsOwn:
        def StreamJobs(self) -> Any:
            return working.workers.StreamJobs(metadata=(("authorization", "Bearer own"),))

    hello = words.hello(queue="own", held=[held])
    async with words.streaming(AsOwn(), hello=hello) as stream:
        await stream.until(lambda: stream.lost == [held])
        beats = [wpb.Heartbeat(token=token) for token in (foreign, own)]
        await stream.say(heartbeats=beats, outcomes=[words.completed(token) for token in (foreign, own)])
        await stream.until(lambda: len(stream.acks) == 2 and len(stream.lost) == 2)
        assert stream.lost == [held, foreign]
        bad, good = stream.acks
        assert refusal_in(bad.error).code is CODE.PERMISSION_DENIED
        assert not good.HasField("error")
        await stream.say(goodbye=wpb.StreamJobsRequest.Goodbye(unbegun_tokens=[foreign]))
        await stream.close()
        with pytest.raises(EOFError):
            await stream.until(lambda: False)
    assert await _states(working, "foreign", "foreign.held", "own") == ["ACTIVE", "ACTIVE", "COMPLETED"]


# --- types ---


def test_each_built_in_type_is_weighed() -> None:
    # http_request goes where http.allow lets it, and to no person.
    assert set(permissions.SCOPES_OF_TYPES) == set(BUILT_IN_TYPES.values()) - {"http_request"}


@pytest.mark.parametrize("by_payload", [True, False], ids=["payload", "type"])
@pytest.mark.parametrize(("type_", "scope"), permissions.SCOPES_OF_TYPES.items())
async def test_types_that_write_to_people_or_delete_take_their_scope(
    api: Api, type_: str, scope: Scope, by_payload: bool
) -> None:
    asked = pb.ScheduleJobRequest()
    if by_payload:
        getattr(asked.job, type_).SetInParent()
    else:
        asked.job.type = type_
    denied = await call(api, "/tocsin.v1.JobService/ScheduleJob", asked, f"not-{scope}")
    assert isinstance(denied, Refusal)
    assert (denied.code, str(scope) in denied.message) == (CODE.PERMISSION_DENIED, True)
    other = await call(api, "/tocsin.v1.JobService/ScheduleJob", asked, "not-read")
    assert not isinstance(other, Refusal) or other.code is CODE.INVALID_ARGUMENT


async def test_a_mail_that_waits_is_not_written_anew_without_the_scope(api: Api) -> None:
    mail = pb.ScheduleJobRequest(job_id="mail")
    mail.job.email_notification.to.append("ada@example.com")
    mail.job.email_notification.subject = mail.job.email_notification.text = "Hello"
    mail.delay.seconds = 60
    assert not isinstance(await call(api, "/tocsin.v1.JobService/ScheduleJob", mail, "root"), Refusal)
    other = pb.UpdateJobRequest(job_id="mail")
    other.job.data.update({"to": ["eve@example.com"], "subject": "Hello", "text": "Hello"})
    denied = await call(api, "/tocsin.v1.JobService/UpdateJob", other, "not-send")
    assert isinstance(denied, Refusal)
    assert denied.code is CODE.PERMISSION_DENIED
    later = pb.UpdateJobRequest(job_id="mail")
    later.job.priority = 5
    assert not isinstance(await call(api, "/tocsin.v1.JobService/UpdateJob", later, "not-send"), Refusal)


async def test_an_export_takes_the_scope_of_what_it_holds(api: Api) -> None:
    denied = await call(api, "/tocsin.v1.JobService/ExportJobs", pb.GetJobRequest(), "not-read_payload")
    assert isinstance(denied, Refusal)
    assert "read_payload" in denied.message


# --- what is in jobs ---


async def _ended_and_failed(api: Api) -> None:
    """A job that has completed, and one that has failed, both with the mark wherever a job may have something."""
    root = (("authorization", "Bearer root"),)
    for job_id in ("done", "failed", "waits"):
        asked = request("q", "t", {"said": MARK}, job_id=job_id)
        await api.jobs.ScheduleJob(asked, metadata=root)
    worker = wpb.Worker(name="w")
    ask = wpb.LeaseAsk(queue="q", types=["t"], max_jobs=2)
    leased = await api.workers.LeaseJobs(wpb.LeaseJobsRequest(worker=worker, asks=[ask]), metadata=root)
    assert MARK.encode() in leased.SerializeToString()
    first, second = leased.jobs
    beat = wpb.Heartbeat(token=first.token)
    beat.progress.fraction, beat.progress.message = 0.5, MARK
    await api.workers.ExtendLeases(wpb.ExtendLeasesRequest(worker=worker, heartbeats=[beat]), metadata=root)
    good, bad = wpb.Outcome(token=first.token), wpb.Outcome(token=second.token)
    good.completed.result.data.string_value = MARK
    bad.failed.type, bad.failed.message, bad.failed.trace, bad.failed.final = "E", MARK, MARK, True
    await api.workers.ReportOutcomes(wpb.ReportOutcomesRequest(worker=worker, outcomes=[good, bad]), metadata=root)


async def test_without_read_payload_nothing_of_what_is_in_jobs_is_seen(working: Api) -> None:
    api = working
    await _ended_and_failed(api)
    reads: list[tuple[str, Any]] = [
        *(("GetJob", pb.GetJobRequest(queue="q", job_id=job_id)) for job_id in ("done", "failed", "waits")),
        *(("WatchJobs", pb.WatchJobsRequest(queue="q", job_id=job_id)) for job_id in ("done", "failed")),
        ("ListJobs", pb.ListJobsRequest(queue="q", view=job_pb2.Job.FULL)),
        ("ExplainJob", pb.GetJobRequest(queue="q", job_id="failed")),
    ]
    shown = 0
    for name, message in reads:
        seen = {who: await call(api, f"/tocsin.v1.JobService/{name}", message, who) for who in ("root", "reader")}
        assert not isinstance(seen["reader"], Refusal), (name, seen["reader"])
        assert not isinstance(seen["root"], Refusal)
        assert MARK.encode() not in b"".join(seen["reader"]), name
        assert seen["reader"]
        shown += MARK.encode() in b"".join(seen["root"])
    assert shown >= 5
    got = await call(api, "/tocsin.v1.JobService/GetJob", pb.GetJobRequest(queue="q", job_id="failed"), "reader")
    assert not isinstance(got, Refusal)
    job = pb.GetJobResponse.FromString(got[0]).job
    assert (job.job_id, job.state, job.errors[0].type, job.spec.type) == ("failed", job_pb2.Job.FAILED, "E", "t")


async def test_who_may_only_schedule_learns_nothing_of_a_job_that_stands(working: Api) -> None:
    api = working
    await _ended_and_failed(api)
    asked = request("q", "t", {}, job_id="failed")
    asked.on_conflict = pb.ScheduleJobRequest.KEEP
    kept = await call(api, "/tocsin.v1.JobService/ScheduleJob", asked, "not-read_payload")
    assert not isinstance(kept, Refusal)
    assert pb.ScheduleJobResponse.FromString(kept[0]).outcome == pb.ScheduleJobResponse.KEPT
    assert MARK.encode() not in kept[0]


# --- jobs that wait for others ---


async def _waiting_for_foreign(api: Api, *rules: str) -> None:
    """In `own` a job a rule, named for it, that waits for one of a foreign queue; another is to follow it there."""
    root = (("authorization", "Bearer root"),)
    await api.jobs.ScheduleJob(request("foreign", "t", {}, job_id="the-secret"), metadata=root)
    for rule in rules:
        asked = request("own", "t", {}, job_id=rule)
        asked.job.depends_on.parents.add(queue="foreign", job_id="the-secret")
        asked.job.depends_on.when_parent_fails = dpb.DependsOn.WhenParentFails.Value(rule)
        asked.job.on_end.queue, asked.job.on_end.type = "foreign", "t"
        await api.jobs.ScheduleJob(asked, metadata=root)


def _reads_of(job_id: str) -> list[tuple[str, Any]]:
    return [
        ("ExplainJob", pb.GetJobRequest(queue="own", job_id=job_id)),
        ("GetJob", pb.GetJobRequest(queue="own", job_id=job_id)),
        ("ListJobs", pb.ListJobsRequest(queue="own", view=job_pb2.Job.FULL, explain=True)),
        ("CancelJob", pb.CancelJobRequest(queue="own", job_id=job_id)),
    ]


async def test_of_foreign_jobs_that_ones_own_waits_for_nothing_is_said(api: Api) -> None:
    await _waiting_for_foreign(api, "RUN")
    for name, message in _reads_of("RUN"):
        seen = {who: await call(api, f"/tocsin.v1.JobService/{name}", message, who) for who in ("own", "root")}
        assert not isinstance(seen["own"], Refusal), (name, seen["own"])
        assert not isinstance(seen["root"], Refusal)
        assert b"foreign" in b"".join(seen["root"]), name
        assert b"foreign" not in b"".join(seen["own"]), name
        assert b"the-secret" not in b"".join(seen["own"]), name


async def test_nor_is_of_how_those_ended(api: Api, spied: SpiedStore) -> None:
    await _waiting_for_foreign(api, "FAIL", "CANCEL")
    root = (("authorization", "Bearer root"),)
    await api.jobs.CancelJob(pb.CancelJobRequest(queue="foreign", job_id="the-secret"), metadata=root)
    dependencies = spied.as_store.dependencies
    assert dependencies is not None
    await Dependents(spied.as_store, dependencies).run_errands("foreign")
    for job_id, state in (("FAIL", job_pb2.Job.FAILED), ("CANCEL", job_pb2.Job.CANCELLED)):
        for name, message in _reads_of(job_id)[:3]:
            seen = await call(api, f"/tocsin.v1.JobService/{name}", message, "own")
            assert not isinstance(seen, Refusal)
            assert b"foreign" not in b"".join(seen), (name, seen)
            assert b"the-secret" not in b"".join(seen), (name, seen)
        for who, named in (("own", False), ("root", True)):
            got = await call(api, "/tocsin.v1.JobService/GetJob", pb.GetJobRequest(queue="own", job_id=job_id), who)
            assert not isinstance(got, Refusal)
            job = pb.GetJobResponse.FromString(got[0]).job
            said = job.errors[0].message if job_id == "FAIL" else job.cancel.reason
            assert job.state == state
            assert said.endswith("which it waited for, ended CANCELLED")
            assert ("'the-secret' in queue 'foreign'" in said) is named


def test_nothing_that_is_looked_at_stands_in_a_map() -> None:
    """A map is gone through in another way than a list; there is none yet that says anything."""

    def maps(descriptor: Descriptor) -> Iterator[FieldDescriptor]:
        for field in descriptor.fields:
            below = field.message_type
            if below is not None and below.full_name.startswith("tocsin.") and below.full_name != descriptor.full_name:
                if below.GetOptions().map_entry:
                    yield field
                yield from maps(below)

    found = {
        field.full_name: field
        for service in SERVICES
        for method in service.descriptor.methods
        for message in (method.input_type, method.output_type)
        for field in maps(message)
    }
    assert found
    assert [name for name, field in found.items() if permissions._plan(field.message_type).says_something] == []


@pytest.mark.parametrize("method", ["IsActive", "StreamIsActive", "GetMetricSpec", "GetMetrics"])
async def test_a_scaler_is_told_of_its_own_queues_alone(api: Api, method: str) -> None:
    """They stand in a map of KEDA's, and in no field."""
    for queues, allowed in (("own,mail.in", True), ("own,foreign", False), ("foreign", False)):
        asked: Any = scaler_pb.ScaledObjectRef(scalerMetadata={"queues": queues})
        if method == "GetMetrics":
            asked = scaler_pb.GetMetricsRequest(scaledObjectRef=asked)
        answer = await call(api, f"/externalscaler.ExternalScaler/{method}", asked, "own", within=0.3)
        assert isinstance(answer, list) is allowed
        if isinstance(answer, Refusal):
            assert answer.code is CODE.PERMISSION_DENIED
            assert "'foreign'" in answer.message
