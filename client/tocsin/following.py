"""What is told of a job beside what stands in it: why it does not run, and what its attempts wrote."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tocsin._times import read_time, time_in
from tocsin.enums import Why
from tocsin.v1 import following_pb2, job_pb2, worker_service_pb2

_LEVELS = {number: name.lower() for name, number in worker_service_pb2.LogLine.Level.items() if number}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job is not running, or who runs it. `sentence` says it for people, with the numbers."""

    reason: Why
    sentence: str
    time: datetime | None = None  # that the reason speaks of, by the store's clock
    name: str = ""  # that it speaks of
    worker: str = ""  # who has its lease; "" where nobody says so
    seen_time: datetime | None = None  # when that worker was last heard of
    ahead: int | None = None  # jobs that are taken before it; None: not counted
    active: int | None = None  # taken places of a limit
    max: int | None = None  # places that a limit has
    job_ids: tuple[str, ...] = ()  # jobs that it waits for, the first 100; of another queue's as "queue/id"
    open: int | None = None  # how many it waits for; None: not counted

    @classmethod
    def read(cls, message: job_pb2.Explanation) -> Explanation:
        """From its message."""
        return cls(
            reason=Why(job_pb2.Explanation.Reason.Name(message.reason)),
            sentence=message.sentence,
            time=time_in(message, "time"),
            name=message.name,
            worker=message.worker,
            seen_time=time_in(message, "seen_time"),
            ahead=message.ahead if message.HasField("ahead") else None,
            active=message.active if message.HasField("active") else None,
            max=message.max if message.HasField("max") else None,
            job_ids=tuple(message.job_ids),
            open=message.open if message.HasField("open") else None,
        )


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that an attempt wrote. With `dropped` no line: so many that stood before the next one are gone."""

    time: datetime  # when it was stored
    attempt: int
    level: str  # "debug", "info", "warning" or "error"
    text: str
    dropped: int = 0

    @classmethod
    def read(cls, entry: following_pb2.ListJobLogsResponse.Entry) -> LogLine:
        """From its message."""
        time = read_time(entry.time)
        if entry.dropped:
            return cls(time, 0, "", "", entry.dropped)
        return cls(time, entry.attempt, _LEVELS.get(entry.line.level, "info"), entry.line.text)
