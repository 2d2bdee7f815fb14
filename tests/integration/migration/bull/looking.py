"""What a test asks of the things that a reader found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf import json_format
from tocsin.v1 import job_pb2, payloads_pb2
from tocsin_server.api.requests.payloads.checking import check_payload
from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain.job import Job, JobSpec
from tocsin_server.domain.states import State
from tocsin_server.migrate.systems.foreign import Foreign, Verdict


def job_of(thing: Foreign) -> Job:
    """The job it becomes."""
    assert thing.job is not None, thing
    return thing.job


def taken(things: Iterable[Foreign]) -> list[Job]:
    """All jobs, in the order in which they were found."""
    return [thing.job for thing in things if thing.job is not None]


def by_name(things: Iterable[Foreign]) -> dict[str, Foreign]:
    """The things that become jobs, by the `name` in their data, else by their type."""
    return {name_of(job_of(thing)): thing for thing in things if thing.job is not None}


def name_of(job: Job) -> str:
    """What the scene called it."""
    data = data_of(job)
    return str(data["name"]) if isinstance(data, dict) and "name" in data else job.spec.type


def data_of(job: Job) -> object:
    """Its payload, checked as the api checks what it is sent: a dict, or (content type, body)."""
    return payload_data(job.spec)


def payload_data(made: JobSpec) -> object:
    """The same of a spec."""
    payload = made.payload
    assert payload is not None
    wrong = Violations()
    check_payload(wrong, "job", payload.kind, payload.body)
    wrong.done()
    if payload.kind == job_pb2.JobSpec.RAW_FIELD_NUMBER:
        raw = payloads_pb2.RawPayload.FromString(payload.body)
        return raw.content_type, raw.body
    spec = job_pb2.JobSpec()
    spec.data.MergeFromString(payload.body)
    return json_format.MessageToDict(spec.data)


def result_of(job: Job) -> object:
    """What it returned."""
    return None if job.result is None else json_format.MessageToDict(job_pb2.Result.FromString(job.result).data)


def run_order(jobs: Iterable[Job]) -> Sequence[Job]:
    """Those that wait, in the order in which Tocsin runs them: priority, due time, arrival."""
    numbered = [(job, at) for at, job in enumerate(jobs) if job.state is State.WAITING]
    return [job for job, _ in sorted(numbered, key=lambda one: (-one[0].spec.priority, one[0].schedule_time, one[1]))]


def verdicts(things: Iterable[Foreign]) -> dict[str, Verdict]:
    """By source id."""
    return {thing.source_id: thing.verdict for thing in things}
