"""What another system says of a rule, and the schedule that it becomes: with the next time that it had there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin_server.domain import limits
from tocsin_server.domain.job import JobSpec
from tocsin_server.domain.schedules.calendars import Calendars, KeptCalendar
from tocsin_server.domain.schedules.cron_line import CronLine, WrongLine
from tocsin_server.domain.schedules.reckoning import MOST_MOVED_A_DAY, Reckoning, times_a_day
from tocsin_server.domain.schedules.standing import Overlap, Schedule, ScheduleSpec
from tocsin_server.domain.schedules.timing import WEEKDAYS, Calendar, CalendarUse, Cron, Every, OnExcluded, Timing
from tocsin_server.domain.time_zones import UnknownZone, zone_of
from tocsin_server.domain.times import MILLISECOND
from tocsin_server.migrate.systems.recurring.cron_parser import as_here, knows_no_zone

IN_UTC = "its cron names no time zone, so it goes by UTC here; --time-zone names that of its old workers"
IN_ZONE = "its cron names no time zone: it goes by {zone} here, as --time-zone says"
OTHER_ZONE = (
    "its cron names no time zone, and its next run is at {first}, which is none of its times in UTC: name the zone of "
    "its old workers with --time-zone"
)
DAYS_IN_UTC = "its days off (skipDays) name no time zone, so they are those of UTC here; --time-zone names another"
SKIPS = "it leaves out days (skipDays), and goes on from the day that it came to: its interval is no part of a day"
NO_ZONE = "its time zone {zone!r} is no IANA name"
TOO_SHORT = "its interval is shorter than 1 s, the shortest here"
TOO_LONG = "its interval is longer than {most:,} days, the longest here"
OVER = "it has no run any more: its end has come, or its limit is reached"


_DAY = timedelta(days=1)


class NoLike(Exception):
    """It can be no schedule here; the message says why, as the rest of a sentence that names it."""


class NothingAfter(NoLike):
    """Its next run is the last, and none of its times: that run is all that is left of it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a source says of a rule. One of `cron` and `every` is given."""

    cron: str = ""  # as cron-parser reads it
    time_zone: str = ""  # of the cron; empty: that of the machine its workers run on, which nobody has written down
    every: timedelta | None = None
    begins: datetime | None = None  # no time before it
    last: datetime | None = None  # no time after it
    max_runs: int | None = None
    fired: int = 0  # runs that were made there, the next one not counted
    overlap: Overlap = Overlap.ALLOW
    days_off: frozenset[int] = frozenset()  # whose times run on the next other day; 0 is Monday
    paused: str = ""  # why it does not run there


@dataclass(frozen=True, slots=True)
class Made:
    """The schedule, and whether its first run there is one of its times; else that run is a job of its own."""

    schedule: Schedule
    with_first: bool
    why: tuple[str, ...] = ()
    calendars: tuple[KeptCalendar, ...] = ()  # that it names


def made(
    rule: Rule, schedule_id: str, job: JobSpec, *, first: datetime, apart: bool, now: datetime, zone: str, note: str
) -> Made:
    """The schedule of a rule whose next run there is that of the time `first`. NoLike.

    `apart`: that run goes at another time than its own, as somebody has moved it. `zone`: of crons that name none, ""
    where nobody has said it. An interval goes on in its own step: `first` is its anchor.
    """
    why: tuple[str, ...] = ()
    calendars = _calendars(rule, zone)
    timing = Timing(
        _cron(rule, zone) if rule.every is None else _every(rule.every, first),
        start_time=first if rule.begins is not None and rule.begins > now else None,
        end_time=None if rule.last is None or rule.last >= limits.LAST_TIME else rule.last + MILLISECOND,
        max_runs=rule.max_runs,
    )
    by_name = {one.name: one for one in calendars}
    timing = replace(timing, calendars=_uses(timing, by_name))
    paused = bool(rule.paused)
    spec = ScheduleSpec(
        job.queue,
        schedule_id,
        timing,
        job,
        rule.overlap,
        paused=paused,
        pause_reason=rule.paused,
        note=_cut(note, limits.REASON_BYTES),
    )
    schedule = Schedule(spec, now, first, fired=rule.fired)
    if rule.max_runs is not None and rule.fired >= rule.max_runs:
        raise NoLike(OVER)
    reckoning = schedule.reckoning(by_name)
    fits = _comes_at(reckoning, first)
    if rule.every is None and not rule.time_zone:
        if not fits and not zone:
            raise NoLike(OTHER_ZONE.format(first=shown(first)))
        if zone:
            why = (IN_ZONE.format(zone=zone),)
        elif not knows_no_zone(rule.cron):
            why = (IN_UTC,)
    elif calendars and not (rule.time_zone or zone):
        why = (DAYS_IN_UTC,)
    if paused:
        return Made(replace(schedule, next_time=None), with_first=True, why=why, calendars=calendars)
    if fits and not apart:
        return Made(schedule, with_first=True, why=why, calendars=calendars)
    coming = schedule.from_now_on(reckoning, max(first, now)).next_time
    if coming is None:
        raise NothingAfter(OVER)
    return Made(replace(schedule, next_time=coming), with_first=False, why=why, calendars=calendars)


def shown(time: datetime) -> str:
    """A time in a sentence."""
    return time.isoformat(timespec="milliseconds").replace(".000", "").replace("+00:00", "Z")


def _cron(rule: Rule, zone: str) -> Cron:
    line = as_here(rule.cron)
    try:
        CronLine(line)
    except WrongLine as error:
        raise NoLike(f"its cron {error}") from None
    name = rule.time_zone or zone
    try:
        zone_of(name)
    except UnknownZone:
        raise NoLike(NO_ZONE.format(zone=name)) from None
    return Cron((line,), name)


def _every(interval: timedelta, first: datetime) -> Every:
    if interval < limits.MIN_INTERVAL:
        raise NoLike(TOO_SHORT)
    if interval > limits.MAX_DELAY:
        raise NoLike(TOO_LONG.format(most=limits.MAX_DELAY.days))
    return Every(interval, first)


def _calendars(rule: Rule, zone: str) -> tuple[KeptCalendar, ...]:
    """The days off as a calendar. Its name tells its days, so that all rules with those share it."""
    if not rule.days_off:
        return ()
    if rule.every is not None and (rule.every > _DAY or _DAY % rule.every):
        raise NoLike(SKIPS)
    # A cron's days are those of its own zone, as in a calendar without one.
    of_days = "" if rule.every is None else rule.time_zone or zone
    words = [WEEKDAYS[day] for day in sorted(rule.days_off)] + ([of_days.replace("/", "-")] if of_days else [])
    return (KeptCalendar(f"not-on-{'-'.join(words)}", Calendar(weekdays=rule.days_off, time_zone=of_days)),)


def _uses(timing: Timing, calendars: Calendars) -> tuple[CalendarUse, ...]:
    """Moved to the next day, but for what comes all day long anyway: there it is the same to leave it out."""
    often = times_a_day(timing) > MOST_MOVED_A_DAY
    return tuple(CalendarUse(name, OnExcluded.SKIP if often else OnExcluded.NEXT_DAY) for name in calendars)


def _comes_at(reckoning: Reckoning, first: datetime) -> bool:
    found = reckoning.next_after(first - MILLISECOND)
    return found is not None and found.time == first


def _cut(text: str, most: int) -> str:
    return text.encode(errors="replace")[:most].decode(errors="ignore")
