"""What this process sends to MongoDB: which commands, which of them one after another, and what they wait for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pymongo import monitoring

_OF_CONNECTIONS = {"hello", "ismaster", "saslStart", "saslContinue", "endSessions", "killCursors"}


@dataclass(slots=True)
class Sent:
    """A command. `depth`: so many that had to be answered first, one after another, and itself."""

    name: str
    collection: str
    command: dict[str, Any]
    depth: int
    answered: bool = False

    @property
    def waits(self) -> bool:
        """For a majority of the servers."""
        return bool(self.command.get("writeConcern", {}).get("w") == "majority")


@dataclass(slots=True)
class Trace:
    """What was sent while it was kept."""

    sent: list[Sent] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Commands in the order in which they were sent: "update jobs"."""
        return [f"{one.name} {one.collection}" for one in self.sent]

    @property
    def in_sequence(self) -> int:
        """Round trips, one after another."""
        return max((one.depth for one in self.sent), default=0)

    @property
    def waits(self) -> int:
        """Round trips that wait for a majority of the servers, of those that go on at once the longest row."""
        return len({one.depth for one in self.sent if one.waits})


class _Listener(monitoring.CommandListener):
    def __init__(self) -> None:
        self._open: dict[int, Sent] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if (trace := _trace.get()) is None or event.command_name in _OF_CONNECTIONS:
            return
        depth = 1 + max((one.depth for one in trace.sent if one.answered), default=0)
        sent = Sent(event.command_name, str(event.command[event.command_name]), dict(event.command), depth)
        trace.sent.append(sent)
        self._open[event.request_id] = sent

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._ended(event.request_id)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._ended(event.request_id)

    def _ended(self, request: int) -> None:
        if (sent := self._open.pop(request, None)) is not None:
            sent.answered = True


_trace: ContextVar[Trace | None] = ContextVar("trace", default=None)
monitoring.register(_Listener())  # clients that are made from now on tell


@contextlib.contextmanager
def tracing() -> Iterator[Trace]:
    """Meanwhile keep what this task sends, and the tasks that it starts."""
    trace = Trace()
    token = _trace.set(trace)
    try:
        yield trace
    finally:
        _trace.reset(token)
