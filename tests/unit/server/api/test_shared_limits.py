"""SharedLimitService keeps limits that queues share as its proto says, over a real store."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from support.spied_store import SpiedStore
from support.stubs import Refusal, refusal
from tocsin.v1 import (
    queue_pb2,
    queue_service_pb2,
    queue_service_pb2_grpc,
    shared_limit_pb2,
    shared_limit_service_pb2_grpc,
)
from tocsin.v1 import shared_limit_service_pb2 as pb
from tocsin_server.api.interceptors.auth import Auth
from tocsin_server.security.authentication import Authentication
from tocsin_server.security.principals import Principal, Principals, Scope, Token, hash_of
from unit.server.api.running_api import Api, running_api

SharedLimit = shared_limit_pb2.SharedLimit
HOUR = Duration(seconds=3600)


@pytest.fixture
def limits(api: Api) -> shared_limit_service_pb2_grpc.SharedLimitServiceAsyncStub:
    return shared_limit_service_pb2_grpc.SharedLimitServiceStub(api.channel)


async def refused(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def put(limits, name: str = "l", **fields) -> SharedLimit:
    return (await limits.PutSharedLimit(pb.PutSharedLimitRequest(limit=SharedLimit(name=name, **fields)))).limit


async def test_a_shared_limit_is_put_got_listed_and_deleted(limits) -> None:
    rate = queue_pb2.Limit.Rate(jobs=10, per=HOUR, burst=1)
    made = await put(limits, queues=["b", "a"], max_active=5, rate=rate)
    assert made == SharedLimit(name="l", queues=["a", "b"], max_active=5, rate=rate)
    await put(limits, "m", queues=["b"], max_active=1)
    got = (await limits.GetSharedLimit(pb.GetSharedLimitRequest(name="l"))).status
    assert got == shared_limit_pb2.SharedLimitStatus(limit=made)
    first = await limits.ListSharedLimits(pb.ListSharedLimitsRequest(page_size=1))
    assert [one.limit.name for one in first.limits] == ["l"]
    rest = await limits.ListSharedLimits(pb.ListSharedLimitsRequest(page_token=first.next_page_token))
    assert [one.limit.name for one in rest.limits] == ["m"]
    assert not rest.next_page_token
    await limits.DeleteSharedLimit(pb.DeleteSharedLimitRequest(name="l"))
    for gone in (
        limits.GetSharedLimit(pb.GetSharedLimitRequest(name="l")),
        limits.DeleteSharedLimit(pb.DeleteSharedLimitRequest(name="l")),
    ):
        found = await refused(gone)
        assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "SHARED_LIMIT_NOT_FOUND")


async def test_a_queue_names_its_shared_limits(limits, api: Api) -> None:
    await put(limits, queues=["a"], max_active=5)
    await put(limits, "m", queues=["a", "b"], max_active=5)
    queues = queue_service_pb2_grpc.QueueServiceStub(api.channel)
    found = await queues.GetQueue(queue_service_pb2.GetQueueRequest(queue="a"))
    assert list(found.queue.shared_limits) == ["l", "m"]
    # As it was read it may be sent back.
    await queues.UpdateQueue(
        queue_service_pb2.UpdateQueueRequest(queue=queue_pb2.Queue(queue="a", shared_limits=["l"], completed_max=5))
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"queues": ["a"], "max_active": 1, "name": "no name"}, "limit.name"),
        ({"queues": [], "max_active": 1}, "limit.queues"),
        ({"queues": ["a", "a"], "max_active": 1}, "limit.queues[1]"),
        ({"queues": ["a", "no name"], "max_active": 1}, "limit.queues[1]"),
        ({"queues": ["a"]}, "limit"),
        ({"queues": ["a"], "max_active": 0}, "limit.max_active"),
        ({"queues": ["a"], "max_active": 100_001}, "limit.max_active"),
        ({"queues": ["a"], "rate": queue_pb2.Limit.Rate(jobs=1)}, "limit.rate.per"),
        ({"queues": ["a"], "rate": queue_pb2.Limit.Rate(jobs=1, per=HOUR, burst=2)}, "limit.rate.burst"),
    ],
)
async def test_bad_input_is_refused_with_the_field_named(limits, fields: dict[str, Any], field: str) -> None:
    found = await refused(put(limits, **fields))
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert found.fields == [field]


async def test_more_queues_than_may_share_one_are_refused(limits) -> None:
    found = await refused(put(limits, queues=[f"q{i}" for i in range(101)], max_active=1))
    assert found.fields == ["limit.queues"]


async def test_there_are_at_most_a_hundred(limits) -> None:
    for i in range(100):
        await put(limits, f"l{i}", queues=["a"], max_active=1)
    await put(limits, "l0", queues=["a"], max_active=2)
    found = await refused(put(limits, "m", queues=["a"], max_active=1))
    assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")


async def test_a_queue_in_a_shared_limit_is_not_deleted_and_its_refusal_names_it(limits, api: Api) -> None:
    await put(limits, queues=["a"], max_active=5)
    queues = queue_service_pb2_grpc.QueueServiceStub(api.channel)
    found = await refused(queues.DeleteQueue(queue_service_pb2.DeleteQueueRequest(queue="a")))
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "QUEUE_IN_USE")
    assert "'l'" in found.message
    await limits.DeleteSharedLimit(pb.DeleteSharedLimitRequest(name="l"))
    await queues.DeleteQueue(queue_service_pb2.DeleteQueueRequest(queue="a"))


async def test_who_does_not_reach_a_queue_neither_puts_nor_sees_what_it_shares(spied: SpiedStore) -> None:
    each = Principals.of(
        Principal(name, frozenset(Scope), tokens=(Token("123456", hash_of(name)),), queues=queues)
        for name, queues in (("root", None), ("crm", ("crm",)))
    )
    async with running_api(spied, auth=Auth(Authentication(lambda: each).principal)) as api:
        limits = shared_limit_service_pb2_grpc.SharedLimitServiceStub(api.channel)

        async def may_not(call: Any) -> None:
            found = await refused(call)
            assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
            assert "'mail'" in found.message

        root, crm = ({"metadata": (("authorization", f"Bearer {who}"),)} for who in ("root", "crm"))

        def asked(name: str, *queues: str) -> pb.PutSharedLimitRequest:
            return pb.PutSharedLimitRequest(limit=SharedLimit(name=name, queues=queues, max_active=5))

        await limits.PutSharedLimit(asked("both", "crm", "mail"), **root)
        await limits.PutSharedLimit(asked("theirs", "mail"), **root)
        await may_not(limits.PutSharedLimit(asked("mine", "crm", "mail"), **crm))
        await may_not(limits.PutSharedLimit(asked("both", "crm"), **crm))  # it would let go what mail shares
        await may_not(limits.DeleteSharedLimit(pb.DeleteSharedLimitRequest(name="both"), **crm))
        await limits.PutSharedLimit(asked("mine", "crm"), **crm)
        listed = (await limits.ListSharedLimits(pb.ListSharedLimitsRequest(), **crm)).limits
        assert [(one.limit.name, list(one.limit.queues)) for one in listed] == [("both", ["crm"]), ("mine", ["crm"])]
        found = await refused(limits.GetSharedLimit(pb.GetSharedLimitRequest(name="theirs"), **crm))
        assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "SHARED_LIMIT_NOT_FOUND")
        stands = (await limits.ListSharedLimits(pb.ListSharedLimitsRequest(), **root)).limits
        assert [(one.limit.name, list(one.limit.queues)) for one in stands] == [
            ("both", ["crm", "mail"]),
            ("mine", ["crm"]),
            ("theirs", ["mail"]),
        ]
