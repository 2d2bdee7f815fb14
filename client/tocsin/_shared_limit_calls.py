"""The calls of SharedLimitService; see `_calls`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from google.protobuf.message import Message

from tocsin._calendar_calls import extend
from tocsin._calls import PreparedCall
from tocsin._checking import of_kind, put
from tocsin.limits import Rate
from tocsin.shared_limits import SharedLimit
from tocsin.v1 import shared_limit_pb2
from tocsin.v1 import shared_limit_service_pb2 as pb

_SERVICE = "tocsin.v1.SharedLimitService"

Answer = TypeVar("Answer", bound=Message)
Result = TypeVar("Result")

SharedLimitPage = tuple[list[SharedLimit], str]


def put_limit(
    name: str, queues: Iterable[str], max_active: int | None, rate: Rate | None
) -> PreparedCall[pb.PutSharedLimitResponse, SharedLimit]:
    """PutSharedLimit."""
    request = pb.PutSharedLimitRequest()
    put(request.limit, "name", name, "name")
    extend(request.limit.queues, queues, "queues")
    if max_active is not None:
        put(request.limit, "max_active", max_active, "max_active")
    if rate is not None:
        of_kind(Rate, rate, "rate").put(request.limit.rate, "rate")

    def read(answer: pb.PutSharedLimitResponse) -> SharedLimit:
        return SharedLimit.read(shared_limit_pb2.SharedLimitStatus(limit=answer.limit))

    return _call("PutSharedLimit", request, pb.PutSharedLimitResponse, read, repeatable=True)


def get(name: str) -> PreparedCall[pb.GetSharedLimitResponse, SharedLimit]:
    """GetSharedLimit."""
    request = pb.GetSharedLimitRequest()
    put(request, "name", name, "name")

    def read(answer: pb.GetSharedLimitResponse) -> SharedLimit:
        return SharedLimit.read(answer.status)

    return _call("GetSharedLimit", request, pb.GetSharedLimitResponse, read, repeatable=True)


def list_page(page_token: str) -> PreparedCall[pb.ListSharedLimitsResponse, SharedLimitPage]:
    """ListSharedLimits, one page."""

    def read(answer: pb.ListSharedLimitsResponse) -> SharedLimitPage:
        return list(map(SharedLimit.read, answer.limits)), answer.next_page_token

    request = pb.ListSharedLimitsRequest(page_token=page_token)
    return _call("ListSharedLimits", request, pb.ListSharedLimitsResponse, read, repeatable=True)


def delete(name: str) -> PreparedCall[pb.DeleteSharedLimitResponse, None]:
    """DeleteSharedLimit."""
    request = pb.DeleteSharedLimitRequest()
    put(request, "name", name, "name")
    return _call("DeleteSharedLimit", request, pb.DeleteSharedLimitResponse, lambda _: None)


def _call(
    method: str, request: Message, answer: type[Answer], read: Callable[[Answer], Result], repeatable: bool = False
) -> PreparedCall[Answer, Result]:
    return PreparedCall(f"/{_SERVICE}/{method}", request, answer, read, repeatable=repeatable)
