"""Limits that several queues share, as users see them and put them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tocsin._times import time_in
from tocsin.limits import Rate
from tocsin.v1 import shared_limit_pb2


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """A limit that counts all jobs of its queues together. `message` is the tocsin.v1 message it was read from."""

    name: str
    queues: tuple[str, ...]
    max_active: int | None  # how many run at once; None: any number
    rate: Rate | None  # how fast they begin; None: as fast as may be
    active: int  # places that are taken; 0 of what was put just now
    active_by_queue: Mapping[str, int]  # only what is not 0
    next_time: datetime | None  # when its rate lets the next job begin; None: now
    message: shared_limit_pb2.SharedLimitStatus = field(repr=False, compare=False)

    @classmethod
    def read(cls, message: shared_limit_pb2.SharedLimitStatus) -> SharedLimit:
        """The limit that a message holds."""
        limit = message.limit
        return cls(
            name=limit.name,
            queues=tuple(limit.queues),
            max_active=limit.max_active if limit.HasField("max_active") else None,
            rate=Rate.read(limit.rate) if limit.HasField("rate") else None,
            active=message.active,
            active_by_queue={one.queue: one.active for one in message.queues},
            next_time=time_in(message, "next_time"),
            message=message,
        )
