"""Limits that queues share."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.v1 import shared_limit_pb2
from tocsin.v1 import shared_limit_service_pb2 as pb

from tocsin_server.api import page_tokens
from tocsin_server.api.answers.queue import fill_rate
from tocsin_server.api.times import set_time
from tocsin_server.domain.shared_limits import SharedLimit, SharedLimitState


def limit_message(limit: SharedLimit) -> shared_limit_pb2.SharedLimit:
    """A shared limit as it stands."""
    message = shared_limit_pb2.SharedLimit(name=limit.name, queues=limit.queues)
    if limit.max_active is not None:
        message.max_active = limit.max_active
    if limit.rate is not None:
        fill_rate(message.rate, limit.rate)
    return message


def status_message(state: SharedLimitState) -> shared_limit_pb2.SharedLimitStatus:
    """A shared limit, and how full it is."""
    message = shared_limit_pb2.SharedLimitStatus(limit=limit_message(state.limit), active=state.total)
    for queue, active in state.active.items():
        message.queues.add(queue=queue, active=active)
    if state.time is not None:
        set_time(message.next_time, state.time)
    return message


def listed(states: Sequence[SharedLimitState], after: str, wanted: int) -> pb.ListSharedLimitsResponse:
    """A page of all, by name."""
    left = [state for state in states if state.limit.name > after]
    answer = pb.ListSharedLimitsResponse(limits=map(status_message, left[:wanted]))
    if len(left) > wanted:
        answer.next_page_token = page_tokens.shared_limits_token(left[wanted - 1].limit.name)
    return answer
