"""ClockService: the store's clock, which tests move by hand."""

from __future__ import annotations

from tocsin.v1 import clock_service_pb2 as pb
from tocsin.v1 import job_pb2

from tocsin_server.api.interceptors.call import Call
from tocsin_server.api.requests import clock as requests
from tocsin_server.api.times import set_time
from tocsin_server.domain.clock import EndedRun
from tocsin_server.operations.advancing import Advancing


class ClockService:
    """Reads the clock, and moves it."""

    def __init__(self, advancing: Advancing) -> None:
        self._advancing = advancing

    async def GetClock(self, request: pb.GetClockRequest, call: Call) -> pb.GetClockResponse:
        reading = await self._advancing.read()
        answer = pb.GetClockResponse(manual=reading.manual)
        set_time(answer.now, reading.now)
        if reading.next_due is not None:
            set_time(answer.next_due_time, reading.next_due)
        return answer

    async def AdvanceClock(self, request: pb.AdvanceClockRequest, call: Call) -> pb.AdvanceClockResponse:
        done = await self._advancing.advance(requests.advance(request))
        answer = pb.AdvanceClockResponse(more=done.more)
        set_time(answer.now, done.now)
        for run in done.ran:
            _fill(answer.ran.add(), run)
        return answer


def _fill(target: pb.EndedAttempt, run: EndedRun) -> None:
    target.queue, target.job_id, target.type = run.queue, run.job_id, run.type
    target.attempt, target.error = run.attempt, run.error
    target.state = job_pb2.Job.State.ValueType(run.state)
    set_time(target.due_time, run.due)
    set_time(target.start_time, run.start)
