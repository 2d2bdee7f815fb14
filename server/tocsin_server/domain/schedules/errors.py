"""Refusals about one schedule. The tree of all refusals is drawn in domain/errors.py."""

from __future__ import annotations

from tocsin_server.domain.errors import TocsinError


class _OfSchedule(TocsinError):
    """A refusal about one schedule."""

    facts = ("queue", "schedule_id")

    def __init__(self, message: str, queue: str, schedule_id: str) -> None:
        self.queue, self.schedule_id = queue, schedule_id
        super().__init__(message)


class ScheduleNotFound(_OfSchedule):
    """No schedule of that id stands in that queue."""

    reason = "SCHEDULE_NOT_FOUND"

    def __init__(self, queue: str, schedule_id: str) -> None:
        super().__init__(
            f"no schedule {schedule_id!r} stands in queue {queue!r}; nothing was changed. Check both names.",
            queue,
            schedule_id,
        )


class ScheduleExists(_OfSchedule):
    """The id stands already."""

    reason = "SCHEDULE_EXISTS"

    def __init__(self, queue: str, schedule_id: str) -> None:
        super().__init__(
            f"schedule {schedule_id!r} stands already in queue {queue!r}; nothing was changed. "
            "UpdateSchedule changes it.",
            queue,
            schedule_id,
        )


class ScheduleChanged(_OfSchedule):
    """It has changed since the revision given."""

    reason = "REVISION_MISMATCH"

    def __init__(self, queue: str, schedule_id: str, expected: int, found: int) -> None:
        super().__init__(
            f"schedule {schedule_id!r} in queue {queue!r} has revision {found}, not {expected}; nothing was changed. "
            "Read it again and decide anew.",
            queue,
            schedule_id,
        )
