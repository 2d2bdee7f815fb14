"""Limits of queues: how many jobs run at once, and how many begin in a span of time, over all servers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from tocsin._checking import of_kind, put
from tocsin._times import Span, put_duration, span_in
from tocsin.enums import LimitScope, OnFull
from tocsin.errors import WrongType
from tocsin.v1 import queue_pb2


@dataclass(frozen=True, slots=True)
class Rate:
    """So many jobs begin in `per` at most, evenly; `burst` of them at once where none did for a while."""

    jobs: int
    per: Span
    burst: int = 1  # 1 to `jobs`

    def put(self, message: queue_pb2.Limit.Rate, path: str) -> None:
        """Set the message that stands at `path` in a request."""
        put(message, "jobs", self.jobs, f"{path}.jobs")
        put_duration(message.per, self.per, f"{path}.per")
        put(message, "burst", self.burst, f"{path}.burst")

    @classmethod
    def read(cls, message: queue_pb2.Limit.Rate) -> Rate:
        """The rate that a message holds."""
        return cls(message.jobs, span_in(message, "per") or timedelta(0), message.burst)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a queue; a job begins where all those that count it have room. Give max_active, rate, or both.

    Limit("gpu", LimitScope.TYPE, type="render", max_active=2)
    Limit("per-customer", LimitScope.KEY, rate=Rate(100, per=60))
    """

    name: str
    scope: LimitScope | str
    type: str = ""  # TYPE: whose; KEY: of this type only; empty: of all
    max_active: int | None = None  # how many run at once; None: any number
    rate: Rate | None = None  # how fast they begin; None: as fast as may be
    on_full: OnFull | str = OnFull.WAIT

    def put(self, message: queue_pb2.Limit, path: str) -> None:
        """Set the message that stands at `path` in a request."""
        put(message, "name", self.name, f"{path}.name")
        put(message, "type", self.type, f"{path}.type")
        message.scope = queue_pb2.Limit.Scope.Value(_word(LimitScope, self.scope, f"{path}.scope"))
        message.on_full = queue_pb2.Limit.OnFull.Value(_word(OnFull, self.on_full, f"{path}.on_full"))
        if self.max_active is not None:
            put(message, "max_active", self.max_active, f"{path}.max_active")
        if self.rate is not None:
            of_kind(Rate, self.rate, f"{path}.rate").put(message.rate, f"{path}.rate")

    @classmethod
    def read(cls, message: queue_pb2.Limit) -> Limit:
        """The limit that a message holds."""
        return cls(
            name=message.name,
            scope=LimitScope(queue_pb2.Limit.Scope.Name(message.scope)),
            type=message.type,
            max_active=message.max_active if message.HasField("max_active") else None,
            rate=Rate.read(message.rate) if message.HasField("rate") else None,
            on_full=OnFull(queue_pb2.Limit.OnFull.Name(message.on_full)),
        )


def _word(kind: type[LimitScope] | type[OnFull], given: object, path: str) -> str:
    if isinstance(given, str) and given in kind.__members__:
        return str(given)
    raise WrongType.of(path, f"is one of {', '.join(kind.__members__)}, not {given!r}")
