"""The times of recurring schedules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tocsin.v1 import schedule_pb2
from tocsin.v1 import schedule_service_pb2 as pb

from tocsin_server.api.sized import AnswerRoom
from tocsin_server.api.times import set_span, set_time
from tocsin_server.domain.schedules.backfill import BackfilledTime
from tocsin_server.domain.schedules.timing import DstFold, DstGap, Excluded, Jittered, Note, Occurrence


def backfilled(times: Sequence[BackfilledTime]) -> pb.BackfillScheduleResponse:
    """What became of the times of a span."""
    answer = pb.BackfillScheduleResponse()
    for one in times:
        entry = answer.times.add(job_id=one.job_id or "", kept=one.kept)
        entry.occurrence.CopyFrom(_occurrence(one.occurrence))
    answer.kept = sum(one.kept for one in times)
    answer.made = sum(one.job_id is not None for one in times) - answer.kept
    return answer


class Preview:
    """An answer that takes times as they come, as many as there is room for."""

    def __init__(self) -> None:
        self.answer = pb.PreviewScheduleResponse()
        self._room = AnswerRoom()

    def take(self, occurrences: Iterable[Occurrence]) -> bool:
        """Whether there were any, and there is room for more."""
        any_came = False
        for one in occurrences:
            entry = _occurrence(one)
            if not self._room.takes(entry):
                return False
            self.answer.occurrences.append(entry)
            any_came = True
        return any_came


def _occurrence(one: Occurrence) -> schedule_pb2.Occurrence:
    target = schedule_pb2.Occurrence(local=_iso(one.local), skipped=not one.runs)
    set_time(target.time, one.time)
    set_time(target.due_time, one.due_time)
    for note in one.notes:
        _add_note(target.notes.add(), note, one)
    return target


def _add_note(target: schedule_pb2.Occurrence.Note, note: Note, one: Occurrence) -> None:
    at = f"{one.local:%H:%M:%S}"
    match note:
        case DstGap(skipped):
            target.dst_gap.skipped = _iso(skipped)
            target.text = f"{_shown(skipped)} does not exist, as clocks are set forward: it runs at {at}"
        case DstFold():
            target.dst_fold.SetInParent()
            target.text = f"{_shown(one.local)} comes twice, as clocks are set back"
        case Excluded(calendar, time, moved_to):
            target.excluded.calendar, target.excluded.local = calendar, _iso(time)
            target.text = f"{calendar} excludes {_shown(time)}: it is skipped"
            if moved_to is not None:
                set_time(target.excluded.moved_to, one.time)
                target.text = f"{calendar} excludes {_shown(time)}: it runs {_shown(moved_to)}"
        case Jittered(by):
            set_span(target.jittered.by, by)
            target.text = f"due {by.total_seconds():g} s later, by jitter"


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds" if time.microsecond else "seconds")


def _shown(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"
