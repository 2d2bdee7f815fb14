"""How answers are shown: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tocsin.enums import State
from tocsin.jobs import Job, JobChange
from tocsin.queues import JobDefaults, Queue, QueueHealth, StateCounts
from tocsin.reminders import ReminderSet
from tocsin.requests import Retention, RetryPolicy

_STATE_STYLES = {
    State.COMPLETED: "green",
    State.FAILED: "bold red",
    State.CANCELLED: "dim",
    State.ACTIVE: "cyan",
    State.SCHEDULED: "blue",
}
#: Where nobody looks at a screen, a table is as wide as it needs to be.
_ENDLESS = 100_000


def shown(text: str) -> str:
    """Text of others, with what could steer a terminal made visible."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def print_json(message: Message) -> None:
    """One JSON object on one line."""
    print_json_line(json_format.MessageToDict(message))


def print_job_json(job: Job) -> None:
    """A job, as one JSON object on one line."""
    print_json(job.message)


def print_change_json(change: JobChange) -> None:
    """A change, as WatchJobs's answer in JSON on one line."""
    line: dict[str, object] = {}
    if change.job is not None:
        line["job"] = json_format.MessageToDict(change.job.message)
    if change.deleted:
        line["deleted"] = True
    if change.cursor:
        line["cursor"] = change.cursor
    if change.gap:
        line["gap"] = {}
    print_json_line(line)


def print_job(job: Job) -> None:
    """All that is known of a job, a line a fact."""
    facts: list[tuple[str, str | Text]] = [
        ("job_id", job.job_id),
        ("queue", job.queue),
        ("type", job.type),
        ("state", _state(job.state)),
        ("priority", str(job.priority) if job.priority else ""),
        ("tags", " ".join(f"{key}={value}" for key, value in sorted(job.tags.items()))),
        ("created", _time(job.create_time)),
        ("due", _time(job.schedule_time)),
        ("started", _time(job.start_time)),
        ("ended", _time(job.end_time)),
        ("attempt", _attempts(job)),
        ("revision", str(job.revision)),
    ]
    if job.progress is not None:
        facts.append(("progress", f"{job.progress.fraction:.0%} {job.progress.message}"))
    if job.cancel is not None:
        facts.append(("cancel", f"asked {_time(job.cancel.ask_time)} {job.cancel.reason}"))
    payload = job.message.spec.WhichOneof("payload")
    if payload is not None:
        facts.append(("payload", _json(getattr(job.message.spec, payload))))
    if job.message.HasField("result"):
        facts.append(("result", _json(job.message.result)))
    for error in job.errors:
        facts.append(("error", f"attempt {error.attempt}, {_time(error.time)}: {error.type}: {error.message}"))
        if error.trace:
            facts.append(("", error.trace.rstrip()))
    _print_facts(facts)


def print_jobs(jobs: Iterable[Job]) -> None:
    """A table of jobs."""
    table = _table("JOB_ID", "TYPE", "STATE", "DUE", "ATTEMPT", "LAST ERROR")
    for job in jobs:
        last = job.errors[-1].message if job.errors else ""
        table.add_row(
            _text(job.job_id), _text(job.type), _state(job.state), _time(job.schedule_time), _attempts(job), _text(last)
        )
    _console().print(table)


def print_outcome(job: Job, did: str) -> None:
    """One line: what became of a job."""
    line = Text(did + " ")
    line.append_text(_text(job.job_id)).append(" ").append_text(_state(job.state))
    if job.state is State.SCHEDULED:
        line.append(f" due {_time(job.schedule_time)}")
    _console().print(line, soft_wrap=True)


def print_deleted(job_id: str, json: bool) -> None:
    """One line: a job is gone."""
    if json:
        print_json_line({"jobId": job_id, "deleted": True})
    else:
        _console().print(_text(f"deleted {job_id}"), soft_wrap=True)


def print_change(change: JobChange) -> None:
    """One line: what a watch saw."""
    if change.job is None:
        _console().print("-- changes were missed here --", soft_wrap=True)
        return
    job = change.job
    line = Text(f"{datetime.now(UTC):%H:%M:%S} ")
    line.append_text(_text(job.job_id)).append(" ").append_text(_text(job.type)).append(" ")
    line.append_text(Text("DELETED", "dim") if change.deleted else _state(job.state))
    if job.state is State.ACTIVE and job.progress is not None:
        line.append_text(_text(f" {job.progress.fraction:.0%} {job.progress.message}"))
    if job.state in (State.FAILED, State.SCHEDULED) and job.errors:
        line.append_text(_text(f" {job.errors[-1].message}"))
    _console().print(line, soft_wrap=True)


def print_reminders(found: ReminderSet) -> None:
    """A set of reminders: a line of it, and a table."""
    line = Text(f"{found.kind.lower()} ")
    line.append_text(_text(found.id)).append(f" at {_time(found.anchor_time)}, revision {found.revision}")
    if found.cancelled:
        line.append(", cancelled")
    console = _console()
    console.print(line, soft_wrap=True)
    table = _table("BEFORE", "SENT AT", "STATE", "JOB_ID")
    for one in found.reminders:
        state = Text("skipped", "dim") if one.skipped else _state(one.state) if one.state else Text("gone", "dim")
        sign = "-" if one.offset < timedelta(0) else ""
        table.add_row(f"{sign}{typed_span(abs(one.offset))}", _time(one.send_time), state, _text(one.job_id))
    console.print(table)


def print_queues(queues: Iterable[Queue]) -> None:
    """A table of queues."""
    table = _table("QUEUE", "", *(name.upper() for name in StateCounts.__slots__))
    for queue in queues:
        counts = queue.counts or StateCounts()
        figures = (str(getattr(counts, name)) for name in StateCounts.__slots__)
        table.add_row(_text(queue.name), "paused" if queue.paused else "", *figures)
    _console().print(table)


def print_queue(queue: Queue, did: str) -> None:
    """One line: what became of a queue."""
    why = f": {queue.pause_reason}" if queue.pause_reason else ""
    _console().print(_text(f"{did} {queue.name}{why}"), soft_wrap=True)


def print_queue_settings(queue: Queue) -> None:
    """What was set for a queue, a line a level; what is not named there is as the level below it says."""
    facts: list[tuple[str, str | Text]] = [
        ("queue", queue.name),
        ("paused", f"since {_time(queue.pause_time)} {queue.pause_reason}" if queue.paused else ""),
        ("completed max", "" if queue.completed_max is None else str(queue.completed_max)),
        ("failed max", "" if queue.failed_max is None else str(queue.failed_max)),
        ("all types", _defaults(queue.defaults)),
    ]
    facts += [(f"type {name}", _defaults(found)) for name, found in sorted(queue.type_defaults.items())]
    _print_facts(facts)


def _defaults(defaults: JobDefaults | None) -> str:
    return "" if defaults is None else ", ".join(f"{name} {value}" for name, value in _said(defaults))


def typed_span(span: timedelta) -> str:
    """A span as it would be typed: "1h30m", "0s"."""
    left, parts = round(span / timedelta(milliseconds=1)), []
    for unit, ms in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _said(defaults: JobDefaults) -> Iterable[tuple[str, str]]:
    for level in (defaults, defaults.retry or RetryPolicy(), defaults.retention or Retention()):
        for field in fields(level):
            value = getattr(level, field.name)
            if value is not None and not isinstance(value, RetryPolicy | Retention):
                yield field.name.replace("_", " "), typed_span(value) if isinstance(value, timedelta) else f"{value}"


def print_health(health: QueueHealth) -> None:
    """Whether a queue does its work, with the figures."""
    facts: list[tuple[str, str | Text]] = [
        ("queue", health.queue),
        ("healthy", Text("yes", "green") if health.healthy else Text("no", "bold red")),
        ("error", health.error),
        ("paused", "yes" if health.paused else ""),
        ("jobs", ", ".join(f"{getattr(health.counts, name)} {name}" for name in StateCounts.__slots__)),
        ("oldest waiting", _span(health.oldest_waiting_age)),
        ("lag", _span(health.lag)),
        ("per second", f"{health.completed_per_second:.2f} completed, {health.failed_per_second:.2f} failed"),
        ("unserved types", ", ".join(health.unserved_types)),
    ]
    facts += [
        ("worker", f"{worker.worker}: {worker.busy} of {worker.slots} busy, {worker.abandoned} abandoned")
        for worker in health.workers
    ]
    facts += [("warning", warning) for warning in health.warnings]
    _print_facts(facts)


def _print_facts(facts: Sequence[tuple[str, str | Text]]) -> None:
    width = max(len(name) for name, _ in facts) + 2
    console = _console()
    for name, value in facts:
        if value:
            line = Text(f"{name:<{width}}", "dim")
            console.print(line.append_text(_text(value) if isinstance(value, str) else value), soft_wrap=True)


def _json(message: Message) -> str:
    return json.dumps(json_format.MessageToDict(message), ensure_ascii=False)


def print_json_line(value: object) -> None:
    """Anything, as JSON on one line."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_ENDLESS)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _text(text: str) -> Text:
    return Text(shown(text))


def _state(state: State) -> Text:
    return Text(str(state), _STATE_STYLES.get(state, ""))


def _time(time: datetime | None) -> str:
    return "" if time is None else f"{time.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def _span(span: timedelta | None) -> str:
    return "" if span is None else f"{span.total_seconds():.3f} s"


def _attempts(job: Job) -> str:
    extra = [f"{job.failures} failed"] if job.failures else []
    extra += [f"{job.crashes} crashed"] if job.crashes else []
    return f"{job.attempt}" + (f" ({', '.join(extra)})" if extra else "")
