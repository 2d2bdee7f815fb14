"""Any request at all: answered or refused for a reason of ours, and a refused one changes nothing."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st
from support.mongo_backend import JOBS, MongoBackend
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import STORES, StoreBackend, store_settings
from support.stubs import Refusal, Stubs, refusal

from fuzz.messages import messages

SERVICES = {
    "BulkService": "bulk_service_pb2",
    "ClockService": "clock_service_pb2",
    "JobService": "job_service_pb2",
    "QueueService": "queue_service_pb2",
    "ReminderService": "reminder_service_pb2",
    "ScheduleService": "schedule_service_pb2",
    "ServerService": "server_service_pb2",
    "WorkerService": "worker_service_pb2",
}
for _module in SERVICES.values():
    importlib.import_module(f"tocsin.v1.{_module}")
RPCS = [
    method
    for service in SERVICES
    for method in descriptor_pool.Default().FindServiceByName(f"tocsin.v1.{service}").methods
]
#: Calls that may have nothing to tell for as long as their request says.
WAITING = {"WaitJob", "LeaseJobs"}
ALLOWED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,  # what a store has not got (fair turns in MongoDB): refused, nothing changed
}


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreBackend]:
    """A store in which nothing stands but what these requests put there: it is dumped twice a request."""
    if request.param == "mongo":
        with MongoBackend(request.getfixturevalue("mongo_server"), "fuzz") as mongo:
            yield mongo
    else:
        with RedisBackend(tmp_path_factory.mktemp("redis")) as redis:
            yield redis


@pytest.fixture(scope="module")
def server(store: StoreBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs no jobs."""
    server = Server(tmp_path_factory.mktemp("server"), ["--no-dispatch"], store_settings(store.url))
    yield server.start()
    assert server.stop() == 0


def queues_of(dump: dict[bytes, str]) -> dict[bytes, str]:
    """What says which queues there are."""
    kept = {name: held for name, held in dump.items() if name == b"tocsin:queues"}
    return kept | dict.fromkeys((name for name in dump if name.startswith(f"{JOBS}.queues/".encode())), "")


@pytest.mark.parametrize("examples", [25, pytest.param(150, marks=[pytest.mark.full, pytest.mark.timeout(600)])])
@pytest.mark.parametrize("rpc", RPCS, ids=lambda method: method.name)
def test_any_request_is_answered_or_refused_for_a_reason_and_then_changes_nothing(
    server: Server, store: StoreBackend, rpc: object, examples: int
) -> None:
    path = f"/{rpc.containing_service.full_name}/{rpc.name}"  # type: ignore[attr-defined]  # a MethodDescriptor
    asks = rpc.input_type  # type: ignore[attr-defined]
    waits = rpc.server_streaming or rpc.name in WAITING  # type: ignore[attr-defined]

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        request: Message = data.draw(messages(asks))
        before = store.dump()
        why = answer(request)
        if why is None:
            event("answered")
            return
        event(why.reason)
        note(f"{why} for {request}")
        assert why.code in ALLOWED, why
        assert why.code != grpc.StatusCode.INVALID_ARGUMENT or why.fields, why
        after = store.dump()
        if after != before:
            # A job of an earlier request may have come due, or been trimmed, meanwhile: that repeats itself no more.
            assert queues_of(after) == queues_of(before)
            answer(request)
            assert store.dump() == after

    def answer(request: Message) -> Refusal | None:
        """Why it was refused; None if it was not."""
        sent = request.SerializeToString()
        try:
            if rpc.client_streaming:  # type: ignore[attr-defined]
                for _ in stubs.channel.stream_stream(path)(iter([sent]), timeout=0.3):
                    break
            elif rpc.server_streaming:  # type: ignore[attr-defined]
                for _ in stubs.channel.unary_stream(path)(sent, timeout=0.3):
                    break
            else:
                stubs.channel.unary_unary(path)(sent, timeout=0.3 if waits else 20)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and waits:
                return None  # taken, with nothing to tell
            return refusal(error)
        return None

    with Stubs(server.address) as stubs:
        check()
