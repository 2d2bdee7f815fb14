"""A document of Agenda's that repeats, as a rule: one document is both the rule and its next run."""

from __future__ import annotations

from datetime import datetime, timedelta

from tocsin_server.domain import limits
from tocsin_server.domain.schedules.standing import Overlap
from tocsin_server.migrate.systems.agenda.documents import AgendaJob
from tocsin_server.migrate.systems.agenda.fields import date, number, quoted, text
from tocsin_server.migrate.systems.agenda.intervals import cron_of_day, in_words, interval_ms
from tocsin_server.migrate.systems.recurring.rule import NoLike, Rule

NO_NEXT_RUN = "it has no next run there (nextRunAt is null), so Agenda would never run it again"
DISABLED = "it was disabled in Agenda"
MISREAD = (
    "Agenda takes its interval {interval} for none at all, and runs it again and again: here it is what the words say"
)
SKIPS = "it leaves out days (skipDays {days})"
UNREADABLE = "its interval {interval} is neither words, nor a number, nor a cron"

_TOO_LONG_MS = limits.MAX_DELAY.total_seconds() * 1_000 + 1


def first_of(job: AgendaJob) -> datetime | None:
    """The next run. Of a time of day Agenda keeps the milliseconds at which it reckoned that."""
    first = job.next_run_at
    if first is None or job.document.get("repeatInterval"):
        return first
    return first.replace(second=0, microsecond=0)


def rule_of(job: AgendaJob, first: datetime) -> Rule:
    """What the document says; what is not as it was is added to the job's `why`. NoLike."""
    document = job.document
    interval, at = document.get("repeatInterval"), document.get("repeatAt")
    cron, every, zone = "", None, text(document.get("repeatTimezone")) or ""
    ms = number(interval)
    if interval and ms is None and (words := text(interval)) is not None:
        cron, ms = _read(job, words)
    if ms is not None:
        every = timedelta(milliseconds=min(max(ms, 0), _TOO_LONG_MS))
    elif not interval and (words := text(at)) is not None:
        cron, zone = cron_of_day(words), ""  # Agenda takes it by the clock of the machine, whatever the zone
    elif not cron:
        raise NoLike(UNREADABLE.format(interval=quoted(interval or at)))
    end = date(document.get("endDate"))
    return Rule(
        cron=cron,
        time_zone=zone,
        every=every,
        begins=date(document.get("startDate")),
        last=None if end is None else max(end, first),
        days_off=_days_off(document.get("skipDays")),
        overlap=Overlap.QUEUE_ONE,  # a document is locked while it runs, and runs again right after, if it is due
        paused=DISABLED if job.disabled else "",
    )


def _days_off(days: object) -> frozenset[int]:
    """Agenda 6 counts from Sunday; before it one could say a span that each run is put off by, which has no like."""
    if days in (None, []):
        return frozenset()
    if not isinstance(days, list) or not all(number(day) in range(7) for day in days) or len({*days}) == 7:
        raise NoLike(SKIPS.format(days=quoted(days)))
    return frozenset((int(day) - 1) % 7 for day in days)


def _read(job: AgendaJob, words: str) -> tuple[str, float | None]:
    """A cron, or milliseconds."""
    try:
        return "", float(words)
    except ValueError:
        pass
    if not in_words(words):
        return words, None
    ms, literal = interval_ms(words)
    if not literal:
        job.why.append(MISREAD.format(interval=quoted(words)))
    return "", ms
