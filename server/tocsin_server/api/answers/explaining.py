"""Why a job is not running, and what its attempts wrote, as answers show it."""

from __future__ import annotations

from tocsin.v1 import following_pb2, job_pb2, worker_service_pb2

from tocsin_server.api import wire
from tocsin_server.api.times import set_time
from tocsin_server.domain.explaining import Explanation
from tocsin_server.domain.logs import LoggedLine, LogPage

_ExplainJobResponse = wire.shadow(following_pb2.ExplainJobResponse)
_ListJobLogsResponse = wire.shadow(following_pb2.ListJobLogsResponse)


def explained(explanation: Explanation) -> following_pb2.ExplainJobResponse:
    """The answer to who asks why."""
    answer = _ExplainJobResponse()
    fill_explanation(answer.explanation, explanation)
    return answer


def fill_explanation(target: job_pb2.Explanation, explanation: Explanation) -> None:
    """Write an explanation into the field `target`, which is empty."""
    target.reason = job_pb2.Explanation.Reason.ValueType(explanation.why)
    target.sentence = explanation.sentence
    target.name = explanation.name
    target.worker = explanation.worker
    if explanation.time is not None:
        set_time(target.time, explanation.time)
    if explanation.seen_time is not None:
        set_time(target.seen_time, explanation.seen_time)
    if explanation.ahead is not None:
        target.ahead = explanation.ahead
    if explanation.job_ids:
        target.job_ids.extend(explanation.job_ids)
    if explanation.open is not None:
        target.open = explanation.open
    if explanation.active is not None:
        target.active = explanation.active
    if explanation.most is not None:
        target.max = explanation.most


def logged(page: LogPage) -> following_pb2.ListJobLogsResponse:
    """A page of lines. It is far smaller than an answer may be: a job keeps 256 KiB."""
    answer = _ListJobLogsResponse()
    for line in page.lines:
        _fill_line(answer.lines.add(), line)
    answer.next_cursor = page.cursor
    answer.more = page.more
    return answer


def _fill_line(target: following_pb2.ListJobLogsResponse.Entry, line: LoggedLine) -> None:
    set_time(target.time, line.time)
    if line.dropped:
        target.dropped = line.dropped
        return
    target.attempt = line.attempt
    target.line.level = worker_service_pb2.LogLine.Level.ValueType(line.level)
    target.line.text = line.text
