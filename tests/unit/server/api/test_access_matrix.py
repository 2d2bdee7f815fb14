"""Who may call what, as one table made from the descriptors: each method, by each scope, about one's own and a foreign
queue, about what is there and what is not, by no credentials and wrong, expired and right ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from support.spied_store import SpiedStore
from support.stubs import request
from tocsin.v1 import externalscaler_pb2 as scaler_pb
from tocsin.v1 import job_service_pb2 as pb
from tocsin.v1 import reminder_service_pb2 as reminders_pb
from tocsin.v1 import schedule_pb2
from tocsin.v1 import schedule_service_pb2 as schedules_pb
from tocsin.v1 import worker_service_pb2 as workers_pb
from tocsin_server.api import permissions
from tocsin_server.api.interceptors.auth import Auth
from tocsin_server.api.lease_tokens import token_of
from tocsin_server.api.scopes import RULES, NoScope
from tocsin_server.api.services import PROBES, SERVICES
from tocsin_server.domain.lease import Lease
from tocsin_server.security.authentication import Authentication
from tocsin_server.security.principals import Principal, Principals, Scope, Token, hash_of
from unit.server.api.naming_queues import naming, ways_to_queues
from unit.server.api.running_api import Api, running_api

CODE = grpc.StatusCode
METHODS: dict[str, MethodDescriptor] = {
    service.method(descriptor).path: descriptor
    for service in (*SERVICES, *PROBES)
    for descriptor in service.descriptor.methods
}
#: Who has one scope alone, and who has all; each reaches the queue `own` and no other.
SCOPES = {**{str(scope): frozenset({scope}) for scope in Scope}, "all": frozenset(Scope)}
QUEUES, THERE, CREDENTIALS = ("own", "foreign"), ("there", "gone"), ("none", "wrong", "expired", "right")
#: Their items are refused, and not the call.
BY_ITEMS = {"BatchScheduleJobs", "ReportOutcomes", "ExtendLeases"}
#: They say nothing of a queue.
OF_NO_QUEUE = {
    "GetCalendar",
    "ListCalendars",
    "PutCalendar",
    "DeleteCalendar",
    "GetSharedLimit",
    "ListSharedLimits",
    "DeleteSharedLimit",
    "GetClock",
    "AdvanceClock",
    "GetServerInfo",
    "ListQueues",
    "Check",
    "Watch",
    "List",
    "ServerReflectionInfo",
}
#: Seconds that are given to one that is let in, which may wait for jobs or changes, and to one that is to be refused.
LET_IN, REFUSED = 0.2, 20.0
#: So many are let in beside each other.
AT_ONCE = 16


def _principals() -> Iterable[Principal]:
    passed = datetime.now(UTC) - timedelta(seconds=1)
    for name, scopes in SCOPES.items():
        good, late = Token("123456", hash_of(f"right-{name}")), Token("234567", hash_of(f"expired-{name}"), passed)
        yield Principal(f"p-{name}", scopes, tokens=(good, late), queues=("own",))
    yield Principal("root", frozenset(Scope), tokens=(Token("345678", hash_of("root")),))


@pytest.fixture
async def api(spied: SpiedStore) -> AsyncIterator[Api]:
    """In both queues stand a job, a schedule and a set of reminders called `there`. Calls alone ask the store."""
    each = Principals.of(_principals())
    async with running_api(spied, auth=Auth(Authentication(lambda: each).principal), watches=1_000, calls=1_000) as api:
        for queue in QUEUES:
            await _stand(api, queue)
        yield api


async def _stand(api: Api, queue: str) -> None:
    root = (("authorization", "Bearer root"),)
    schedule = schedule_pb2.Schedule(queue=queue, schedule_id="there")
    schedule.cron.lines.append("0 3 * * *")
    schedule.job.type = "t"
    asked = reminders_pb.ScheduleBookingRemindersRequest(queue=queue)
    asked.reminder.booking_id, asked.reminder.title = "there", "A table"
    asked.reminder.email_to.append("ada@example.com")
    asked.reminder.booking_time.FromDatetime(datetime.now(UTC) + timedelta(days=30))
    for service, method, message in (
        ("JobService", "ScheduleJob", request(queue, "t", {}, job_id="there", delay=3600)),
        ("ScheduleService", "CreateSchedule", schedules_pb.CreateScheduleRequest(schedule=schedule)),
        ("ReminderService", "ScheduleBookingReminders", asked),
    ):
        await api.channel.unary_unary(f"/tocsin.v1.{service}/{method}")(message.SerializeToString(), metadata=root)


def asked_for(path: str, queue: str, name: str) -> Any:
    """A request of the method about such a queue."""
    method = METHODS[path]
    if method.name == "GetMetrics":
        return scaler_pb.GetMetricsRequest(scaledObjectRef=scaler_pb.ScaledObjectRef(scalerMetadata={"queues": queue}))
    if method.input_type.full_name == scaler_pb.ScaledObjectRef.DESCRIPTOR.full_name:
        return scaler_pb.ScaledObjectRef(scalerMetadata={"queues": queue})
    token, worker = token_of(Lease(queue, name, 1, b"12345678"), "t"), workers_pb.Worker(name="w")
    if method.name == "ReportOutcomes":
        outcome = workers_pb.Outcome(token=token, completed=workers_pb.Outcome.Completed())
        return workers_pb.ReportOutcomesRequest(worker=worker, outcomes=[outcome])
    if method.name == "ExtendLeases":
        return workers_pb.ExtendLeasesRequest(worker=worker, heartbeats=[workers_pb.Heartbeat(token=token)])
    if method.name == "BatchScheduleJobs":
        return pb.BatchScheduleJobsRequest(requests=[request(queue, "t", {}, job_id=name)])
    ways = sorted(ways_to_queues(method.input_type), key=len)
    if not ways:
        return message_factory.GetMessageClass(method.input_type)()
    return naming(method.input_type, ways[0], queue, name)


@dataclass(frozen=True)
class Ended:
    """How a call did; of one whose items are refused, how its item did."""

    code: grpc.StatusCode
    said: str = ""


async def ended(api: Api, path: str, message: Any, token: str | None, within: float) -> Ended:
    metadata = None if token is None else (("authorization", f"Bearer {token}"),)
    call = api.channel.unary_stream(path)(message.SerializeToString(), metadata=metadata, timeout=30)
    try:
        async with asyncio.timeout(within):
            while (answer := await call.read()) is not grpc.aio.EOF:
                if METHODS[path].name in BY_ITEMS:
                    [item] = message_factory.GetMessageClass(METHODS[path].output_type).FromString(answer).results  # type: ignore[attr-defined]
                    if item.HasField("error"):
                        code = next(code for code in CODE if code.value[0] == item.error.code)
                        return Ended(code, item.error.message)
            return Ended(await call.code())
    except TimeoutError:
        call.cancel()
        return Ended(CODE.OK)
    except grpc.aio.AioRpcError as error:
        return Ended(error.code(), str(error.details()))


def expected(path: str, scopes: frozenset[Scope], queue: str, credential: str) -> grpc.StatusCode | None:
    """The refusal that is due; None: none is."""
    rule, asked = RULES[path], METHODS[path].input_type.full_name
    if rule is NoScope.OPEN:
        return None
    if credential != "right":
        return CODE.UNAUTHENTICATED
    if rule is NoScope.ANYBODY:
        return None
    taken = {rule, permissions.ALSO_TAKE.get(asked, rule)}
    if not taken <= scopes or asked in permissions.FOR_ALL:
        return CODE.PERMISSION_DENIED
    foreign = queue == "foreign" and METHODS[path].name not in OF_NO_QUEUE
    return CODE.PERMISSION_DENIED if foreign else None


def test_the_table_is_of_all_methods_and_each_names_a_queue_that_can() -> None:
    assert METHODS.keys() == RULES.keys()
    silent = {METHODS[path].name for path in METHODS if b"own" not in asked_for(path, "own", "").SerializeToString()}
    assert silent == OF_NO_QUEUE


async def of_cell(api: Api, path: str, cell: tuple[str, str, str, str], within: float) -> Ended:
    scope, queue, name, credential = cell
    token = None if credential == "none" else f"{credential}-{scope}"
    return await ended(api, path, asked_for(path, queue, name), token, within)


@pytest.mark.parametrize("path", sorted(METHODS))
async def test_each_cell_is_as_its_rule_says_and_a_refusal_asks_the_store_nothing(api: Api, path: str) -> None:
    cells: dict[tuple[str, str, str, str], Ended] = {}
    refused = {
        cell: due
        for cell in product(SCOPES, QUEUES, THERE, CREDENTIALS)
        if (due := expected(path, SCOPES[cell[0]], cell[1], cell[3])) is not None
    }
    asked = dict(api.store.calls)
    for cell, due in refused.items():
        cells[cell] = await of_cell(api, path, cell, REFUSED)
        assert cells[cell].code is due, (cell, cells[cell])
        assert dict(api.store.calls) == asked, f"the store was asked for {cell}"
    # Last, for a watch that is left may read on for a moment.
    let_in = [cell for cell in product(SCOPES, QUEUES, THERE, CREDENTIALS) if cell not in refused]
    for start in range(0, len(let_in), AT_ONCE):
        some = let_in[start : start + AT_ONCE]
        found_of_some = await asyncio.gather(*(of_cell(api, path, cell, LET_IN) for cell in some))
        for cell, found in zip(some, found_of_some, strict=True):
            cells[cell] = found
            assert found.code not in (CODE.UNAUTHENTICATED, CODE.PERMISSION_DENIED), (cell, found)
    for (scope, queue, name, credential), found in cells.items():
        if found.code in (CODE.UNAUTHENTICATED, CODE.PERMISSION_DENIED) and name == "there":
            assert cells[scope, queue, "gone", credential] == found, "what is there was told"
