"""Health per name, and reflection of both versions, as their real clients see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from support.spied_store import SpiedStore
from tocsin_server.api.grpc_server import GrpcServer
from tocsin_server.api.health import Health
from tocsin_server.api.listening import CannotListen
from tocsin_server.api.services import SERVICE_NAMES
from tocsin_server.operations.cancel_jobs import CancelJobs
from tocsin_server.operations.queues import QueueSettingsCache
from tocsin_server.operations.reminders.reminders import Reminders
from tocsin_server.operations.schedule_jobs import ScheduleJobs
from tocsin_server.operations.watching import Watching
from tocsin_server.servicers import build_servicers
from unit.server.api.running_api import FACTS, Api

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def statuses(api: Api) -> dict[str, int]:
    stub = health_pb2_grpc.HealthStub(api.channel)
    return {
        name: (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status
        for name in ("", "live", *SERVICE_NAMES)
    }


async def test_ready_is_said_for_the_whole_and_each_service_and_live_by_itself(api: Api) -> None:
    ready = dict.fromkeys(("", *SERVICE_NAMES), SERVING)
    assert await statuses(api) == {**ready, "live": SERVING}
    await api.health.set_ready(False)
    assert await statuses(api) == {**dict.fromkeys(ready, NOT_SERVING), "live": SERVING}
    await api.health.set_ready(True)
    await api.health.set_live(False)
    assert await statuses(api) == {**ready, "live": NOT_SERVING}


async def test_after_shutdown_began_it_is_never_ready_again_but_still_alive(api: Api) -> None:
    await api.health.enter_shutdown()
    await api.health.set_ready(True)
    assert await statuses(api) == {**dict.fromkeys(("", *SERVICE_NAMES), NOT_SERVING), "live": SERVING}


async def test_health_is_watched_and_served_while_draining(api: Api) -> None:
    stub = health_pb2_grpc.HealthStub(api.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="tocsin.v1.JobService"))
    assert (await watch.read()).status == SERVING
    await api.server.drain()
    assert (await watch.read()).status == NOT_SERVING
    assert (await statuses(api))[""] == NOT_SERVING
    watch.cancel()


async def test_an_unknown_name_is_not_found(api: Api) -> None:
    stub = health_pb2_grpc.HealthStub(api.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_services_methods_and_messages_are_found_by_name(api: Api, version: str) -> None:
    method = api.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    names = [
        "tocsin.v1.JobService",
        "tocsin.v1.JobService.ScheduleJob",
        "tocsin.v1.Job.State",
        "grpc.health.v1.Health.Check",
        "tocsin.v1.JobService.Nothing",
        "nothing.at.all",
    ]

    async def asked() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="*")
        for name in names:
            yield reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)

    services, *answers = [answer async for answer in method(asked())]
    listed = {service.name for service in services.list_services_response.service}
    assert {*SERVICE_NAMES, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= listed
    assert [answer.HasField("file_descriptor_response") for answer in answers] == [True] * 5 + [False]
    assert [answer.original_request.file_containing_symbol for answer in answers] == names


async def run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_a_port_that_is_taken_is_refused_in_a_line(api: Api, spied: SpiedStore) -> None:
    store = spied.as_store
    settings = QueueSettingsCache(store)
    scheduling = ScheduleJobs(store, settings.get)
    servicers = build_servicers(
        store,
        scheduling,
        CancelJobs(store),
        Watching(store),
        settings,
        Reminders(store, scheduling),
        api.working,
        FACTS,
    )
    second = GrpcServer(servicers, Health(SERVICE_NAMES), listen=api.address)
    with pytest.raises(CannotListen, match=api.address) as caught:
        await second.start()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("another program has the port; name another one with --listen HOST:PORT")
    await second.stop(timedelta(0))
