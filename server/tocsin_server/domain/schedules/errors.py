"""Refusals about one schedule, or one calendar. The tree of all refusals is drawn in domain/errors.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tocsin_server.domain.errors import InvalidFields, TocsinError, Violation


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


class TooManyTimes(InvalidFields):
    """A schedule has more times in a span than one call makes up for; nothing was changed."""

    def __init__(self, field: str, most: int, further: datetime) -> None:
        at = further.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        why = (
            f"has more than {most:,} times before it, which is the most of one call: ask up to {at}, then from there on"
        )
        super().__init__([Violation(field, why)])


class CalendarNotFound(TocsinError):
    """There is no calendar of that name."""

    reason = "CALENDAR_NOT_FOUND"
    facts = ("calendar",)

    def __init__(self, calendar: str) -> None:
        self.calendar = calendar
        super().__init__(
            f"there is no calendar {calendar!r}; nothing was changed. Check its name, or make it with PutCalendar."
        )


class CalendarChanged(TocsinError):
    """It has changed since the revision given."""

    reason = "REVISION_MISMATCH"
    facts = ("calendar",)

    def __init__(self, calendar: str, expected: int, found: int) -> None:
        self.calendar = calendar
        super().__init__(
            f"calendar {calendar!r} has revision {found}, not {expected}; nothing was changed. "
            "Read it again and decide anew."
        )


class CalendarInUse(TocsinError):
    """Schedules name the calendar, so it is not deleted. `users`: some of them, as queue and schedule_id."""

    reason = "CALENDAR_IN_USE"
    facts = ("calendar",)

    def __init__(self, calendar: str, users: Sequence[tuple[str, str]], *, more: bool) -> None:
        self.calendar, self.users = calendar, tuple(users)
        named = ", ".join(f"{schedule_id!r} in queue {queue!r}" for queue, schedule_id in users)
        super().__init__(
            f"schedules name calendar {calendar!r}: {named}{' and more' if more else ''}; nothing was changed. Take it "
            "out of them with UpdateSchedule, or delete them, and repeat."
        )
