"""What is brought in is held to its bringer's queues and scopes as what is scheduled is: also where a payload's bytes
stand beside the job, or the whole record is encrypted. What is refused writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.spied_store import SpiedStore
from support.stubs import Refusal, refusal, refusal_in
from tocsin.v1 import calendar_pb2, job_pb2, payloads_pb2
from tocsin.v1 import transfer_pb2 as pb
from tocsin_server.api import wire
from tocsin_server.api.interceptors.auth import Auth
from tocsin_server.api.requests import transfer
from tocsin_server.domain.errors import NotAllowed
from tocsin_server.domain.job import Job, View
from tocsin_server.operations.transfer.importing import Item
from tocsin_server.security.authentication import Authentication
from tocsin_server.security.principals import Principal, Principals, Scope, Token, hash_of
from tocsin_server.store.encrypting.keyring import LiveKeyring, create_keyring
from tocsin_server.store.encrypting.record_sealer import KeyedRecordSealer
from unit.server.api.record_builder import a_job, a_schedule
from unit.server.api.running_api import Api, running_api

CODE = grpc.StatusCode
ALL = frozenset(Scope)
FIELDS = job_pb2.JobSpec.DESCRIPTOR.fields_by_name


def principal(name: str, scopes: frozenset[Scope] = ALL, queues: tuple[str, ...] | None = None) -> Principal:
    return Principal(name, scopes, tokens=(Token("123456", hash_of(name)),), queues=queues)


OWN = principal("own", queues=("own", "mail.*"))
EACH = Principals.of(
    [principal("root"), OWN, *(principal(f"not-{one}", ALL - {one}) for one in (Scope.SEND, Scope.OPERATE))]
)


@pytest.fixture
async def api(spied: SpiedStore) -> AsyncIterator[Api]:
    async with running_api(spied, auth=Auth(Authentication(lambda: EACH).principal)) as api:
        yield api


def carrying(kind: str, name: str, payload: Any, queue: str = "own") -> pb.TransferRecord:
    """A job or a schedule whose payload stands beside it, and whose type nothing else says."""
    record = a_job("a", queue=queue) if kind == "job" else a_schedule("a", queue=queue)
    carrier, spec = (
        (record.job, record.job.job.spec) if kind == "job" else (record.schedule, record.schedule.schedule.job)
    )
    spec.type = ""
    carrier.payload_field, carrier.payload = FIELDS[name].number, payload.SerializeToString()
    return record


def cleanup(queue: str) -> payloads_pb2.DataCleanup:
    payload = payloads_pb2.DataCleanup(queue=queue)
    payload.older_than.seconds = 3600
    return payload


def report(queue: str) -> payloads_pb2.ReportGeneration:
    payload = payloads_pb2.ReportGeneration(queue=queue)
    payload.window.seconds = 3600
    return payload


def a_move(queue: str, target: str) -> payloads_pb2.BulkAction:
    payload = payloads_pb2.BulkAction(queue=queue)
    payload.filter.all = True
    payload.move.queue = target
    return payload


NAMING = {
    "cleanup": ("data_cleanup", cleanup("foreign")),
    "report": ("report_generation", report("foreign")),
    "action": ("bulk_action", a_move("foreign", "own")),
    "move": ("bulk_action", a_move("own", "foreign")),
}
HARMLESS = {
    "cleanup": ("data_cleanup", cleanup("mail.de")),
    "around": ("data_cleanup", cleanup("")),
    "move": ("bulk_action", a_move("own", "mail.de")),
}


async def bring(api: Api, who: str, *requests: pb.ImportJobsRequest) -> pb.ImportJobsResponse | Refusal:
    metadata = (("authorization", f"Bearer {who}"),)
    try:
        answer: pb.ImportJobsResponse = await api.jobs.ImportJobs(iter(requests), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return refusal(error)
    return answer


async def stands(api: Api, *ids: str) -> list[str]:
    """Of these, the jobs and schedules that are in the queue `own`."""
    store = api.store.as_store
    jobs = await store.get("own", ids, View.BASIC)
    schedules = await store.schedules.read_schedules("own", ids)
    return [one for one, *found in zip(ids, jobs, schedules, strict=True) if any(found)]


@pytest.mark.parametrize("kind", ["job", "schedule"])
@pytest.mark.parametrize("case", NAMING)
async def test_a_payload_that_names_a_foreign_queue_is_refused_and_nothing_is_written(
    api: Api, kind: str, case: str
) -> None:
    bad = carrying(kind, *NAMING[case])
    said = await bring(api, "own", pb.ImportJobsRequest(records=[a_job("b", queue="own"), bad]))
    assert isinstance(said, Refusal)
    assert (said.code, said.reason) == (CODE.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert "own does not reach the queue 'foreign'" in said.message
    assert await stands(api, "a", "b") == []
    taken = await bring(api, "root", pb.ImportJobsRequest(records=[bad]))
    assert not isinstance(taken, Refusal)
    assert taken.created == 1, taken


@pytest.mark.parametrize("kind", ["job", "schedule"])
@pytest.mark.parametrize("case", HARMLESS)
async def test_one_that_names_own_queues_is_taken(api: Api, kind: str, case: str) -> None:
    said = await bring(api, "own", pb.ImportJobsRequest(records=[carrying(kind, *HARMLESS[case])]))
    assert not isinstance(said, Refusal)
    assert said.created == 1, said
    assert await stands(api, "a") == ["a"]


@pytest.mark.parametrize("kind", ["job", "schedule"])
async def test_a_type_that_its_payload_alone_tells_takes_its_scope(api: Api, kind: str) -> None:
    mail = payloads_pb2.EmailNotification(to=["ada@example.com"], subject="Hello", text="Hello")
    for who, record in (
        ("not-send", carrying(kind, "email_notification", mail)),
        ("not-operate", carrying(kind, "bulk_action", a_move("own", "mail.de"))),
    ):
        said = await bring(api, who, pb.ImportJobsRequest(records=[record]))
        assert isinstance(said, Refusal)
        assert (said.code, who.removeprefix("not-") in said.message) == (CODE.PERMISSION_DENIED, True)
    assert await stands(api, "a") == []


async def test_a_payload_that_cannot_be_read_is_refused_by_itself(api: Api) -> None:
    broken, unknown = carrying("job", *HARMLESS["move"]), carrying("job", *HARMLESS["move"])
    broken.job.payload = b"\xff"
    unknown.job.payload_field = FIELDS["priority"].number
    said = await bring(api, "own", pb.ImportJobsRequest(records=[broken, unknown, a_job("b", queue="own")]))
    assert not isinstance(said, Refusal)
    assert (said.created, said.refused) == (1, 2)
    assert {refusal_in(one.error).code for one in said.refused_items} == {CODE.INVALID_ARGUMENT}


async def test_calendars_which_are_for_all_queues_are_brought_by_who_reaches_all(api: Api) -> None:
    calendar = pb.TransferRecord(calendar={"calendar": calendar_pb2.Calendar(name="days")})
    calendar.calendar.calendar.dates.append("2030-01-01")
    said = await bring(api, "own", pb.ImportJobsRequest(records=[calendar, a_job("b", queue="own")]))
    assert not isinstance(said, Refusal)
    assert (said.created, said.refused) == (1, 1)
    [refused] = said.refused_items
    assert refusal_in(refused.error).code is CODE.PERMISSION_DENIED
    assert await api.store.as_store.calendars.read_calendars(["days"]) == [None]
    taken = await bring(api, "root", pb.ImportJobsRequest(records=[calendar]))
    assert not isinstance(taken, Refusal)
    assert taken.created == 1


# --- whose wish it is ---


def a_bulk_job(queue: str = "own", **more: Any) -> pb.TransferRecord:
    """As an export has a job of BulkAct, which names whose wish it was there."""
    action = payloads_pb2.BulkAction(queue=queue, by="somebody else", **more)
    action.filter.all = True
    action.cancel.reason = "no longer needed"
    return carrying("job", "bulk_action", action, queue)


def by_of(payload: bytes) -> str:
    return payloads_pb2.BulkAction.FromString(payload).by


async def test_a_bulk_action_that_is_brought_in_is_its_bringers_wish(api: Api) -> None:
    said = await bring(api, "own", pb.ImportJobsRequest(records=[a_bulk_job(max_jobs=7)]))
    assert not isinstance(said, Refusal)
    assert said.created == 1
    [job] = await api.store.as_store.get("own", ["a"], View.FULL)
    assert job is not None
    assert job.spec.payload is not None
    kept = payloads_pb2.BulkAction.FromString(job.spec.payload.body)
    assert (kept.by, kept.max_jobs, kept.cancel.reason) == ("own", 7, "no longer needed")


async def test_where_nobody_has_a_name_it_is_the_jobs_also_encrypted(tmp_path: Path) -> None:
    create_keyring(tmp_path / "ring")
    sealer = KeyedRecordSealer(LiveKeyring(tmp_path / "ring"))
    for who, by in ((None, ""), (OWN, "own")):
        for record in (a_bulk_job(), sealed(sealer, a_bulk_job())):
            [item] = await read(sealer, who, record)
            assert isinstance(item.record, Job)
            assert item.record.spec.payload is not None
            assert by_of(item.record.spec.payload.body) == by


async def test_a_schedule_cannot_name_anybody(api: Api) -> None:
    action = payloads_pb2.BulkAction.FromString(a_bulk_job().job.payload)
    said = await bring(api, "own", pb.ImportJobsRequest(records=[carrying("schedule", "bulk_action", action)]))
    assert not isinstance(said, Refusal)
    assert said.refused == 1
    why = refusal_in(said.refused_items[0].error)
    assert "bulk_action.by" in str(why.fields)


# --- encrypted records ---


@pytest.fixture
def sealer(tmp_path: Path) -> KeyedRecordSealer:
    create_keyring(tmp_path / "ring")
    return KeyedRecordSealer(LiveKeyring(tmp_path / "ring"))


def sealed(sealer: KeyedRecordSealer, record: pb.TransferRecord, queue: str = "own") -> pb.TransferRecord:
    kind = pb.TransferRecord.DESCRIPTOR.fields_by_name[str(record.WhichOneof("record"))].number
    body, key_id = sealer.seal(queue, kind, record.SerializeToString())
    return pb.TransferRecord(sealed=pb.SealedRecord(queue=queue, record_field=kind, record=body, key_id=key_id))


async def read(sealer: KeyedRecordSealer, who: Principal | None, *records: pb.TransferRecord) -> list[Item]:
    async def stream() -> AsyncIterator[Any]:
        request = pb.ImportJobsRequest(records=records)
        yield wire.shadow(pb.ImportJobsRequest).FromString(request.SerializeToString())

    return [item async for _, some in transfer.slices(stream(), sealer, who) for item in some]


@pytest.mark.parametrize("case", [*NAMING, "inner"])
async def test_what_an_encrypted_record_names_is_looked_at_before_anything_of_its_request_is_given(
    sealer: KeyedRecordSealer, case: str
) -> None:
    inner = a_job("a", queue="foreign") if case == "inner" else carrying("job", *NAMING[case])
    records = [*(a_job(f"b{n}", queue="own") for n in range(300)), sealed(sealer, inner)]
    with pytest.raises(NotAllowed, match="does not reach the queue 'foreign'"):
        await read(sealer, OWN, *records)
    for who in (None, principal("root")):
        assert len(await read(sealer, who, *records)) == 301


async def test_one_that_cannot_be_opened_is_refused_by_itself(sealer: KeyedRecordSealer) -> None:
    good, spoilt = (sealed(sealer, carrying("job", *HARMLESS["cleanup"])) for _ in range(2))
    spoilt.sealed.record = spoilt.sealed.record[:-1] + b"?"
    items = await read(sealer, OWN, good, spoilt)
    assert [isinstance(item.record, Exception) for item in items] == [False, True]
