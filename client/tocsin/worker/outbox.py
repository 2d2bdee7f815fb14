"""What a worker has to say on its stream: outcomes, heartbeats and credits, many in one message."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from tocsin.v1 import worker_service_pb2 as pb
from tocsin.worker.log_lines import WAITING_LINES
from tocsin.worker.slots import FreeSlots

#: CONTRACT: a message has at most so many outcomes, and so many heartbeats.
ITEMS = 1000

#: A message is closed once it is so long, in bytes: results have up to 256 KiB, and a request 16 MiB at most.
ENOUGH_BYTES = 2 << 20


class GivenCredits:
    """Jobs that a server may still send on a stream: in all, and of types that have fewer slots than there are in all.

    They never come to more than there are free slots.
    """

    def __init__(self, narrow: Collection[str]) -> None:
        self._unused = 0
        self._unused_of = dict.fromkeys(narrow, 0)

    def first(self, free: FreeSlots) -> list[pb.StreamJobsRequest.Credit]:
        """What to give with `hello`: what may begin beside the attempts that go on."""
        given = self.more(free)
        # Of a type without any credit as many jobs are sent as there are credits in all, unless it is given none.
        given.extend(pb.StreamJobsRequest.Credit(type=type) for type, unused in self._unused_of.items() if not unused)
        return given

    def more(self, free: FreeSlots) -> list[pb.StreamJobsRequest.Credit]:
        """What to give for slots that have become free since."""
        given = []
        if (more := free.free - self._unused) > 0:
            self._unused += more
            given.append(pb.StreamJobsRequest.Credit(n=more))
        if self._unused_of:
            left = free.of("")
            for type, unused in self._unused_of.items():
                if (more := left.get(type, 0) - unused) > 0:
                    self._unused_of[type] += more
                    given.append(pb.StreamJobsRequest.Credit(type=type, n=more))
        return given

    def used(self, type: str) -> None:
        """A job was sent."""
        self._unused -= 1
        if type in self._unused_of:
            self._unused_of[type] -= 1


@dataclass(slots=True, eq=False)
class DueOutcome:
    """An outcome to be sent, and who wants to hear what became of it: True, recorded; False, not taken."""

    outcome: pb.Outcome
    answered: Callable[[bool], None]
    tries: int = 0


class Outbox:
    """Keeps what waits to be sent, and outcomes that were sent until they are answered, over all streams."""

    def __init__(self) -> None:
        self._due: deque[DueOutcome] = deque()
        self._sent: deque[DueOutcome] = deque()  # on this stream
        self._beats: dict[bytes, pb.Heartbeat] = {}
        self._unsure: list[pb.Heartbeat] = []  # sent on a stream that no server has answered yet
        self._answered = False

    def __len__(self) -> int:
        return len(self._due) + len(self._sent)

    def report(self, report: DueOutcome) -> None:
        """Send an outcome."""
        self._due.append(report)

    def beat(self, heartbeat: pb.Heartbeat) -> None:
        """Send a heartbeat, together with what waits of the same attempt."""
        waiting = self._beats.get(heartbeat.token)
        if waiting is None:
            self._beats[heartbeat.token] = heartbeat
        else:
            waiting.MergeFrom(heartbeat)
            if len(waiting.log) > WAITING_LINES:  # no server is reached for long
                del waiting.log[WAITING_LINES // 2 : -WAITING_LINES // 2]

    def begin_stream(self) -> None:
        """On a new stream: what was sent on the one before, and not answered, is sent again."""
        self._due.extendleft(reversed(self._sent))
        self._sent.clear()
        again, self._unsure = [*self._unsure, *self._beats.values()], []
        self._beats.clear()
        for beat in again:
            self.beat(beat)
        self._answered = False

    def stream_answered(self) -> None:
        """A server is there and reads what is sent."""
        self._answered = True
        self._unsure.clear()

    def answered(self) -> DueOutcome:
        """The outcome that was sent first and not answered yet. Raises IndexError: there is none."""
        return self._sent.popleft()

    def fill(self, message: pb.StreamJobsRequest) -> bool:
        """Move what fits into the message; whether that was anything."""
        room = ENOUGH_BYTES
        while self._beats and room > 0 and len(message.heartbeats) < ITEMS:
            beat = self._beats.pop(next(iter(self._beats)))
            message.heartbeats.append(beat)
            if not self._answered:
                self._unsure.append(beat)
            if beat.log:
                room -= beat.ByteSize()
        # An attempt's last words go before its outcome.
        while self._due and not self._beats and room > 0 and len(message.outcomes) < ITEMS:
            report = self._due.popleft()
            message.outcomes.append(report.outcome)
            self._sent.append(report)
            room -= report.outcome.ByteSize()
        return bool(message.heartbeats or message.outcomes)
