"""Requests about limits that queues share."""

from __future__ import annotations

from typing import Protocol

from tocsin.v1 import shared_limit_service_pb2 as pb

from tocsin_server.api import page_tokens
from tocsin_server.api.requests.jobs import check_page_size
from tocsin_server.api.requests.queue_limits import check_max_and_rate, check_name, to_rate
from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain import limits
from tocsin_server.domain.shared_limits import SharedLimit


class NamesSharedLimit(Protocol):
    """A request about one shared limit."""

    @property
    def name(self) -> str:
        """Of the limit."""


def named_shared_limit(request: NamesSharedLimit) -> str:
    """The name, of a request that has nothing else to check."""
    wrong = Violations()
    check_name(wrong, "name", request.name)
    wrong.done()
    return request.name


def list_shared_limits(request: pb.ListSharedLimitsRequest) -> tuple[str, int]:
    """The name after which the list goes on, and how many are wanted."""
    wrong = Violations()
    check_page_size(wrong, request.page_size)
    wrong.done()
    after = page_tokens.last_shared_limit(request.page_token) if request.page_token else ""
    return after, min(request.page_size or limits.SHARED_LIMITS_PAGE, limits.SHARED_LIMITS_PAGE)


def put_shared_limit(request: pb.PutSharedLimitRequest) -> SharedLimit:
    """The limit as it is to stand."""
    wrong, limit = Violations(), request.limit
    if not request.HasField("limit"):
        wrong.add("limit", "is needed")
        wrong.done()
    check_name(wrong, "limit.name", limit.name)
    if not limit.queues:
        wrong.add("limit.queues", "is needed: name the queues that share it")
    elif wrong.count("limit.queues", limit.queues, limits.SHARED_LIMIT_QUEUES):
        seen: set[str] = set()
        for i, queue in enumerate(limit.queues):
            wrong.name(f"limit.queues[{i}]", queue)
            if queue in seen:
                wrong.add(f"limit.queues[{i}]", f"stands there twice: {queue}")
            seen.add(queue)
    check_max_and_rate(wrong, "limit", limit)
    wrong.done()
    most = limit.max_active if limit.HasField("max_active") else None
    rate = to_rate(limit.rate) if limit.HasField("rate") else None
    return SharedLimit(limit.name, tuple(sorted(limit.queues)), most, rate)
