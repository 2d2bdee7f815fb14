"""How answers are shown to people: lines of facts, tables, and one line for what became of something."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.text import Text

from tocsin._times import span
from tocsin.calendars import KeptCalendar
from tocsin.cli.json_lines import as_object, json_text
from tocsin.cli.tables import Column, lines, print_table, terminal
from tocsin.cli.texts import (
    ageing_text,
    attempts_text,
    counted,
    from_now,
    limit_text,
    one_line,
    seconds_text,
    shown,
    state_text,
    styled,
    time_text,
    typed_span,
)
from tocsin.enums import State
from tocsin.following import Explanation, LogLine
from tocsin.jobs import Cancel, Job, JobChange
from tocsin.queues import JobDefaults, PushTarget, Queue, QueueHealth, StateCounts
from tocsin.reminders import ReminderSet
from tocsin.requests import Collapse, Retention, RetryPolicy
from tocsin.schedules import Occurrence, Schedule

_PARENTS = 10  # that are named

Facts = list[tuple[str, str | Text]]


def print_job(job: Job) -> None:
    """All that is known of a job, a line a fact."""
    facts: Facts = [
        ("job_id", job.job_id),
        ("queue", job.queue),
        ("type", job.type),
        ("state", state_text(job.state)),
        ("priority", str(job.priority) if job.priority else ""),
        ("limit key", job.limit_key),
        ("weight", str(job.weight) if job.weight != 1 else ""),
        ("collapses", _collapse(job.collapse)),
        ("waits for", _parents(job)),
        ("on end", "" if job.on_end is None else f"{job.on_end.queue}/{job.on_end.job_id}"),
        ("held", "yes" if job.held else ""),
        ("expires", time_text(job.expire_time)),
        ("tags", " ".join(f"{key}={value}" for key, value in sorted(job.tags.items()))),
        ("created", time_text(job.create_time)),
        ("due", time_text(job.schedule_time)),
        ("schedule", job.schedule_id),
        ("nominal", time_text(job.nominal_time)),
        ("started", time_text(job.start_time)),
        ("ended", time_text(job.end_time)),
        ("attempt", attempts_text(job)),
        ("timeout", "" if job.timeout is None else typed_span(job.timeout)),
        ("retry", _retry(job.retry) if job.message.spec.HasField("retry") else ""),
        ("retention", _retention(job.retention) if job.message.spec.HasField("retention") else ""),
        ("revision", str(job.revision)),
    ]
    if job.explanation is not None and not job.state.ended:
        facts.append(("why", one_line(job.explanation.sentence)))
    if job.progress is not None:
        facts.append(("progress", f"{job.progress.fraction:.0%} {job.progress.message}"))
    if job.cancel is not None:
        facts.append(("cancel", _cancel(job.cancel)))
    payload = job.message.spec.WhichOneof("payload")
    if payload is not None:
        facts.append(("payload", _payload(job, payload)))
    if job.message.HasField("result"):
        facts.append(("result", result_text(job)))
    _print_facts(facts)
    for error in job.errors:
        said = f"attempt {error.attempt}, {time_text(error.time)}: {error.type}: {error.message}"
        _print_facts([("error", said)], _width(facts))
        for line in shown(error.trace.rstrip()).split("\n"):
            _print_facts([("", f"  {line}")], _width(facts))


def _cancel(cancel: Cancel) -> str:
    """How far the wish got, and why it was made."""
    steps = {"asked": cancel.ask_time, "told": cancel.deliver_time, "obeyed": cancel.obey_time}
    said = ", ".join(f"{step} {time_text(time)}" for step, time in steps.items() if time is not None)
    return f"{said} {cancel.reason}".rstrip()


def print_explanation(explanation: Explanation) -> None:
    """The reason, and the sentence."""
    print(f"{explanation.reason}: {one_line(explanation.sentence)}")


def print_log_line(line: LogLine) -> None:
    """One line: when, in which attempt, how important, and what."""
    if line.dropped:
        print(f"... {counted(line.dropped, 'line was', 'lines were')} dropped here ...", flush=True)
    else:
        print(f"{time_text(line.time)} {line.attempt} {line.level.upper():7} {one_line(line.text)}", flush=True)


def result_text(job: Job) -> str:
    """What a completed job returned, as JSON; of bytes how many there are. The job is in view FULL."""
    result = job.message.result
    if result.WhichOneof("value") == "raw":
        return f"{counted(len(result.raw.body), 'byte')} {result.raw.content_type}".rstrip()
    return json_text(as_object(result).get("data"))


def print_jobs(jobs: Iterable[Job]) -> None:
    """A table of jobs. On a terminal it fits, and says "in 3 s"; elsewhere it has everything, in full."""
    print_table(_jobs_columns(jobs, None if terminal() is None else datetime.now(UTC)))


def jobs_lines(jobs: Iterable[Job], room: int | None) -> list[Text]:
    """The lines of such a table, for so many columns of a terminal; None: it is none."""
    return lines(_jobs_columns(jobs, None if room is None else datetime.now(UTC)), room)


def _jobs_columns(jobs: Iterable[Job], now: datetime | None) -> list[Column]:
    columns = [
        Column("JOB_ID"),
        Column("TYPE", gives_way=2, shortened=True),
        Column("STATE"),
        Column("DUE"),
        Column("ATTEMPT", gives_way=3),
        Column("LAST ERROR", gives_way=1, shortened=True),
    ]
    for job in jobs:
        due = time_text(job.schedule_time) if now is None else from_now(job.schedule_time, now)
        last = job.errors[-1].message if job.errors else ""
        cells = (styled(job.job_id), styled(job.type), state_text(job.state), Text(due))
        for column, cell in zip(columns, (*cells, Text(attempts_text(job)), styled(last)), strict=True):
            column.cells.append(cell)
    return columns


def print_outcome(job: Job, did: str) -> None:
    """One line: what became of a job."""
    line = Text(did + " ")
    line.append_text(styled(job.job_id)).append(" ").append_text(state_text(job.state))
    if job.state is State.SCHEDULED:
        line.append(f" due {time_text(job.schedule_time)}")
    print_line(line)


def print_line(line: Text | str) -> None:
    """One line, which the terminal breaks where it is too long."""
    (terminal() or Console(width=100_000)).print(styled(line) if isinstance(line, str) else line, soft_wrap=True)


def print_change(change: JobChange) -> None:
    """One line: what a watch saw, and when that was."""
    if change.job is None:
        print_line("-- changes were missed here --")
        return
    job = change.job
    line = Text(f"{time_text(_changed(job)) or '-':24} ")
    line.append_text(styled(job.job_id)).append(" ").append_text(styled(job.type)).append(" ")
    line.append_text(Text("DELETED", "dim") if change.deleted else state_text(job.state))
    if job.state is State.ACTIVE and job.progress is not None:
        line.append_text(styled(f" {job.progress.fraction:.0%} {job.progress.message}"))
    if job.state in (State.FAILED, State.SCHEDULED) and job.errors:
        line.append_text(styled(f" {job.errors[-1].message}"))
    print_line(line)


def _changed(job: Job) -> datetime | None:
    """When a job last changed, as far as it knows: the newest of its times that have passed by then."""
    times = [job.create_time, job.start_time, job.end_time, *(error.time for error in job.errors)]
    if job.progress is not None:
        times.append(job.progress.update_time)
    if job.cancel is not None:
        times += [job.cancel.ask_time, job.cancel.deliver_time, job.cancel.obey_time]
    if job.state is State.WAITING:
        times.append(job.schedule_time)
    return max((time for time in times if time is not None), default=None)


def print_reminders(found: ReminderSet) -> None:
    """A set of reminders: a line of it, and a table."""
    line = Text(f"{found.kind.lower()} ")
    line.append_text(styled(found.id)).append(f" at {time_text(found.anchor_time)}, revision {found.revision}")
    if found.cancelled:
        line.append(", cancelled")
    print_line(line)
    columns = [Column("BEFORE"), Column("SENT AT", gives_way=1), Column("STATE"), Column("JOB_ID")]
    for one in found.reminders:
        state = Text("skipped", "dim") if one.skipped else state_text(one.state) if one.state else Text("gone", "dim")
        sign = "-" if one.offset < timedelta(0) else ""
        before = Text(f"{sign}{typed_span(abs(one.offset))}")
        for column, cell in zip(
            columns, (before, Text(time_text(one.send_time)), state, styled(one.job_id)), strict=True
        ):
            column.cells.append(cell)
    print_table(columns)


def print_occurrences(found: Sequence[Occurrence]) -> None:
    """A table of a schedule's times."""
    if not found:
        print_line(Text("it never runs", "dim"))
        return
    columns = [Column("RUNS AT"), Column("UTC", gives_way=1), Column("NOTES")]
    for one in found:
        local = Text(one.message.local, "dim" if one.skipped else "")
        for column, cell in zip(columns, (local, Text(time_text(one.time)), styled("; ".join(one.notes))), strict=True):
            column.cells.append(cell)
    print_table(columns)


def print_schedules(found: Sequence[Schedule]) -> None:
    """A table of schedules that are kept."""
    columns = [Column("SCHEDULE"), Column("NEXT"), Column("LAST"), *map(Column, ("FIRED", "MISSED", "SKIPPED"))]
    for one in found:
        following = time_text(one.next_times[0]) if one.next_times else "paused" if one.paused else "over"
        last = time_text(one.last_time) if one.last_time is not None else ""
        counts = (f"{one.fired:,}", f"{one.missed:,}", f"{one.overlap_skipped:,}")
        for column, cell in zip(columns, (one.schedule_id, following, last, *counts), strict=True):
            column.cells.append(Text(cell))
    print_table(columns)


def print_calendars(found: Sequence[KeptCalendar]) -> None:
    """A table of calendars that are kept."""
    columns = [Column(name) for name in ("CALENDAR", "DAYS OF THE WEEK", "DATES", "ICS", "ZONE", "REVISION", "NOTE")]
    for one in found:
        cells = (
            *(one.name, " ".join(one.weekdays), f"{len(one.dates):,}", "yes" if one.ics else "no"),
            *(one.time_zone, f"{one.revision:,}", one_line(one.note)),
        )
        for column, cell in zip(columns, cells, strict=True):
            column.cells.append(Text(cell))
    print_table(columns)


def print_queues(queues: Iterable[Queue]) -> None:
    """A table of queues. On a narrow terminal those states give way that tell least."""
    gives_way = {"completed": 2, "cancelled": 1, "blocked": 3}
    names = StateCounts.__slots__
    columns = [Column("QUEUE"), Column(" "), *(Column(name.upper(), gives_way.get(name, 0)) for name in names)]
    for queue in queues:
        counts = queue.counts or StateCounts()
        cells = [
            styled(queue.name),
            Text("paused" if queue.paused else "draining" if queue.draining else ""),
            *(Text(f"{getattr(counts, n)}") for n in names),
        ]
        for column, cell in zip(columns, cells, strict=True):
            column.cells.append(cell)
    print_table(columns)


def _parents(job: Job) -> str:
    """Whom it waits for or waited for, and how those ended."""
    if job.depends_on is None:
        return ""
    named = [f"{one.queue}/{one.job_id} ({'open' if one.end is None else one.end.lower()})" for one in job.parents]
    more = f" and {len(named) - _PARENTS} more" if len(named) > _PARENTS else ""
    rule = f"; if one fails: {job.depends_on.when_parent_fails.lower()}"
    return one_line(", ".join(named[:_PARENTS]) + more) + rule


def _collapse(collapse: Collapse | None) -> str:
    if collapse is None:
        return ""
    spans = (("window", collapse.window), ("at most", collapse.max_wait))
    said = [f"{name} {typed_span(span(value, name))}" for name, value in spans if value is not None]
    return ", ".join([f"{one_line(collapse.key)}: {collapse.mode.lower()}", *said])


def print_queue(queue: Queue, did: str) -> None:
    """One line: what became of a queue."""
    print_line(f"{did} {queue.name}" + (f": {queue.pause_reason}" if queue.pause_reason else ""))


def print_queue_settings(queue: Queue) -> None:
    """What was set for a queue, a line a level; what is not named there is as the level below it says."""
    facts: Facts = [
        ("queue", queue.name),
        ("paused", f"since {time_text(queue.pause_time)} {queue.pause_reason}" if queue.paused else ""),
        ("draining", "yes" if queue.draining else ""),
        ("until", time_text(queue.pause_until) if queue.pause_until is not None else ""),
        ("completed max", "" if queue.completed_max is None else str(queue.completed_max)),
        ("failed max", "" if queue.failed_max is None else str(queue.failed_max)),
        ("all types", _defaults(queue.defaults)),
    ]
    facts += [(f"type {name}", _defaults(found)) for name, found in sorted(queue.type_defaults.items())]
    facts += [(f"limit {limit.name}", limit_text(limit)) for limit in queue.limits]
    facts.append(("turns", "keys take turns" if queue.fair_turns else ""))
    facts.append(("ageing", "" if queue.priority_ageing is None else ageing_text(queue.priority_ageing)))
    _print_facts(facts)


def print_health(health: QueueHealth) -> None:
    """Whether a queue does its work, with the figures."""
    facts: Facts = [
        ("queue", health.queue),
        ("healthy", Text("yes", "green") if health.healthy else Text("no", "bold red")),
        ("error", health.error),
        ("paused", "yes" if health.paused else ""),
        ("jobs", ", ".join(f"{getattr(health.counts, name)} {name}" for name in StateCounts.__slots__)),
        ("oldest waiting", seconds_text(health.oldest_waiting_age)),
        ("lag", seconds_text(health.lag)),
        ("per second", f"{health.completed_per_second:.2f} completed, {health.failed_per_second:.2f} failed"),
        ("unserved types", ", ".join(health.unserved_types)),
    ]
    facts += [
        ("worker", f"{worker.worker}: {worker.busy} of {worker.slots} busy, {worker.abandoned} abandoned")
        for worker in health.workers
    ]
    facts += [("warning", warning) for warning in health.warnings]
    _print_facts(facts)


def _width(facts: Sequence[tuple[str, str | Text]]) -> int:
    return max(len(name) for name, _ in facts) + 2


def _print_facts(facts: Sequence[tuple[str, str | Text]], width: int | None = None) -> None:
    room = _width(facts) if width is None else width
    for name, value in facts:
        if value:
            # The label alone is dim; as the style of the whole line it would be that of the value, too.
            line = Text().append(f"{one_line(name):<{room}}", "dim")
            print_line(line.append_text(styled(value) if isinstance(value, str) else value))


def _payload(job: Job, name: str) -> str:
    if name == "data":
        return json_text(as_object(job.message.spec)["data"])
    return json_text(as_object(getattr(job.message.spec, name), empty=False))


def _defaults(defaults: JobDefaults | None) -> str:
    return "" if defaults is None else ", ".join(_said(defaults, defaults.retry, defaults.retention))


def _retry(retry: RetryPolicy) -> str:
    return ", ".join(_said(retry))


def _retention(retention: Retention) -> str:
    return ", ".join(_said(retention))


def _said(*levels: JobDefaults | RetryPolicy | Retention | None) -> Iterable[str]:
    for level in levels:
        for field in fields(level) if level is not None else ():
            value = getattr(level, field.name)
            if value is not None and not isinstance(value, RetryPolicy | Retention):
                yield f"{field.name.replace('_', ' ')} {_word(value)}"


def _word(value: object) -> str:
    if isinstance(value, PushTarget):
        signed = f", signed with {value.secret_ref}" if value.secret_ref else ""
        headers = f", with {', '.join(value.headers)}" if value.headers else ""  # not their values: they may be keys
        return f"to {value.url}{signed}{headers}"
    return typed_span(value) if isinstance(value, timedelta) else f"{value}"
