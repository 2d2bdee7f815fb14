"""Bulk actions as calls: what is refused before anything is begun or shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from support.spied_store import SpiedStore
from support.stubs import Refusal, refusal, request
from tocsin.v1 import bulk_service_pb2 as pb
from tocsin.v1 import bulk_service_pb2_grpc
from tocsin.v1 import queue_service_pb2 as qpb
from tocsin_server.api.interceptors.auth import Auth
from tocsin_server.domain.bulk_actions import BULK_QUEUE
from tocsin_server.security.authentication import Authentication
from tocsin_server.security.principals import Principal, Principals, Scope, Token, hash_of
from unit.server.api.running_api import Api, running_api

CODE = grpc.StatusCode
ALL = frozenset(Scope)
EACH = Principals.of(
    Principal(name, ALL, tokens=(Token("123456", hash_of(name)),), queues=queues)
    for name, queues in (("root", None), ("own", ("own", "mail.*")))
)


@pytest.fixture
async def api(spied: SpiedStore) -> AsyncIterator[Api]:
    """A job in each of two queues. Nothing asks the store but what is called."""
    async with running_api(spied, auth=Auth(Authentication(lambda: EACH).principal), watches=50) as api:
        for queue in ("own", "foreign"):
            await api.jobs.ScheduleJob(request(queue, "t", {}, job_id="a"), metadata=as_("root"))
        yield api


def as_(who: str) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {who}"),)


def a_move(target: str, **more: Any) -> pb.BulkActRequest:
    asked = pb.BulkActRequest(queue="own", **more)
    asked.filter.all = True
    asked.move.queue = target
    return asked


async def first(api: Api, asked: pb.BulkActRequest, who: str = "root") -> pb.BulkActResponse | Refusal:
    """The first answer: there is nobody here who would carry an action out."""
    called = bulk_service_pb2_grpc.BulkServiceStub(api.channel).BulkAct(asked, metadata=as_(who), timeout=20)
    try:
        async for answer in called:
            called.cancel()
            return answer
    except grpc.aio.AioRpcError as error:
        return refusal(error)
    raise AssertionError("no answer")


async def begun(api: Api) -> int:
    """Actions of which a job stands."""
    counts = (await api.store.as_store.figures(BULK_QUEUE)).counts
    return sum(sum(types.values()) for types in counts.values())


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_move_to_a_queue_of_others_is_refused_dry_run_too(api: Api, dry_run: bool) -> None:
    asked = dict(api.store.calls)
    said = await first(api, a_move("foreign", dry_run=dry_run), "own")
    assert isinstance(said, Refusal)
    assert (said.code, said.reason) == (CODE.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert "own does not reach the queue 'foreign'" in said.message
    assert dict(api.store.calls) == asked, "the store was asked for it"
    assert not isinstance(await first(api, a_move("mail.de", dry_run=dry_run), "own"), Refusal)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_move_to_a_draining_queue_is_refused_and_nothing_is_begun(api: Api, dry_run: bool) -> None:
    await api.queues.DrainQueue(qpb.DrainQueueRequest(queue="foreign"), metadata=as_("root"))
    said = await first(api, a_move("foreign", dry_run=dry_run))
    assert isinstance(said, Refusal)
    assert (said.code, said.reason) == (CODE.FAILED_PRECONDITION, "QUEUE_DRAINING")
    assert "'foreign'" in said.message
    assert await begun(api) == 0
    await api.queues.ResumeQueue(qpb.ResumeQueueRequest(queue="foreign"), metadata=as_("root"))
    assert not isinstance(await first(api, a_move("foreign", dry_run=dry_run)), Refusal)


async def test_who_asks_again_follows_an_action_that_had_begun_before(api: Api) -> None:
    counted = await first(api, a_move("foreign", dry_run=True))
    assert isinstance(counted, pb.BulkActResponse)
    again = a_move("foreign", token=counted.token)
    following = await first(api, again)
    assert isinstance(following, pb.BulkActResponse)
    await api.queues.DrainQueue(qpb.DrainQueueRequest(queue="foreign"), metadata=as_("root"))
    assert await first(api, again) == following
    assert await begun(api) == 1
