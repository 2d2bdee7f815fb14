"""`tocsin schedules`: recurring schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, cast

import typer

from tocsin.cli import json_lines, options, parsing, printing, schedule_options
from tocsin.cli.connecting import Address, AsJson, connected
from tocsin.cli.option_groups import takes
from tocsin.cli.schedule_options import DaysOffFlags, RunningFlags, TimingFlags
from tocsin.schedules import KeptOptions, Schedule

app = typer.Typer(
    help="Keep recurring schedules, and see beforehand when they run.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

#: What `update` takes away, and what is said instead.
_CLEARED: dict[str, Any] = {
    **dict.fromkeys(("start_time", "end_time", "max_runs", "jitter", "catch_up_window")),
    "calendars": (),
}
_DAYS_OFF = DaysOffFlags.__annotations__
_ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE_ID", help="The schedule.")]


@app.command()
@takes(TimingFlags, RunningFlags)
def create(
    schedule_id: _ScheduleId,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
    **given: Any,
) -> None:
    """Make a schedule, of jobs of a --type. Its first run is its first time after now."""
    asked = _kept(given, queue)
    with connected(address) as client:
        _show(client.schedules.create(schedule_id, **asked), json=json)


@app.command()
@takes(TimingFlags, RunningFlags)
def update(
    schedule_id: _ScheduleId,
    clear: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help=f"Take away: {', '.join(_CLEARED)}. May be repeated."),
    ] = None,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
    **given: Any,
) -> None:
    """Change what is given, and leave the rest. The rule is one thing, cron with its zone or every with its anchor, and
    so is the job: --type with --data, --priority, --max-attempts, --timeout and --tag. Nothing runs at once by that."""
    asked = _kept(given, queue)
    for name in clear or ():
        if name not in _CLEARED:
            raise typer.BadParameter(f"is none of {', '.join(_CLEARED)}: {name}", param_hint="--clear")
        asked[name] = _CLEARED[name]  # type: ignore[literal-required]  # each is an option
    with connected(address) as client:
        _show(client.schedules.update(schedule_id, **asked), json=json)


@app.command()
def get(
    schedule_id: _ScheduleId, queue: options.QueueName = "default", address: Address = None, json: AsJson = False
) -> None:
    """Show a schedule: its next times, and how many were fired."""
    with connected(address) as client:
        _show(client.schedules.get(schedule_id, queue), json=json)


@app.command("list")
def list_(queue: options.QueueName = "default", address: Address = None, json: AsJson = False) -> None:
    """List a queue's schedules."""
    with connected(address) as client:
        found = client.schedules.list(queue)
    if json:
        for one in found:
            json_lines.print_json(one.message)
    else:
        printing.print_schedules(found)


@app.command()
def pause(
    schedule_id: _ScheduleId,
    reason: Annotated[str, typer.Option(help="Why, for people.")] = "",
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Let a schedule rest. Times meanwhile are not missed."""
    with connected(address) as client:
        _show(client.schedules.pause(schedule_id, queue, reason=reason), json=json)


@app.command()
def resume(
    schedule_id: _ScheduleId, queue: options.QueueName = "default", address: Address = None, json: AsJson = False
) -> None:
    """Let a schedule go on, with its first time after now."""
    with connected(address) as client:
        _show(client.schedules.resume(schedule_id, queue), json=json)


@app.command()
def trigger(schedule_id: _ScheduleId, queue: options.QueueName = "default", address: Address = None) -> None:
    """Run a schedule now, once; prints the id of the job."""
    with connected(address) as client:
        printing.print_line(client.schedules.trigger(schedule_id, queue))


@app.command()
def delete(schedule_id: _ScheduleId, queue: options.QueueName = "default", address: Address = None) -> None:
    """Delete a schedule. Its jobs stay."""
    with connected(address) as client:
        client.schedules.delete(schedule_id, queue)


def _show(schedule: Schedule, *, json: bool) -> None:
    if json:
        json_lines.print_json(schedule.message)
    else:
        printing.print_schedules([schedule])


@app.command()
def backfill(
    schedule_id: _ScheduleId,
    start: Annotated[
        datetime, typer.Option("--from", parser=parsing.time, metavar="TIME", help="From this time on, it included.")
    ],
    end: Annotated[datetime, typer.Option("--to", parser=parsing.time, metavar="TIME", help="Before this time.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", metavar="", help="Only show what would be made.")] = False,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Make jobs of a schedule's times that have passed, up to 1,000; none twice."""
    with connected(address) as client:
        done = client.schedules.backfill(schedule_id, start, end, queue, dry_run=dry_run)
    if json:
        for one in done.times:
            json_lines.print_json(one.occurrence.message)
    else:
        printing.print_occurrences([one.occurrence for one in done.times])
        would = "would be " if dry_run else ""
        printing.print_line(f"{done.made:,} {would}made, {done.kept:,} stood already")


@app.command()
@takes(TimingFlags, DaysOffFlags)
def preview(
    schedule_id: Annotated[
        str | None, typer.Argument(metavar="[SCHEDULE_ID]", help="A schedule that is kept; else give when it runs.")
    ] = None,
    after: Annotated[
        datetime | None, typer.Option(parser=parsing.time, metavar="TIME", help="Look ahead from here. Default: now.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="How many times, up to 1,000.")] = 10,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
    **given: Any,
) -> None:
    """Show the next times of a schedule, and what clock changes, days off and jitter do to them. Changes nothing."""
    days_off = {name: given.pop(name) for name in _DAYS_OFF if name in given}
    timing = schedule_options.timing(cast("TimingFlags", given))
    if days_off:
        of_kept = timing.get("calendars", {})
        here = {"days-off": schedule_options.days_off(cast("DaysOffFlags", days_off))}
        timing["calendars"] = {**here, **(of_kept if isinstance(of_kept, dict) else {})}
    if schedule_id is not None:
        if timing:
            raise typer.BadParameter("give a schedule that is kept, or when it runs, not both")
        timing["schedule_id"], timing["queue"] = schedule_id, queue
    with connected(address) as client:
        found = client.schedules.preview(count, after=after, **timing)
    if json:
        for one in found:
            json_lines.print_json(one.message)
    else:
        printing.print_occurrences(found)


def _kept(given: dict[str, Any], queue: str) -> KeptOptions:
    when = {name: value for name, value in given.items() if name in TimingFlags.__annotations__}
    what = {name: value for name, value in given.items() if name not in when}
    asked = schedule_options.kept(cast("TimingFlags", when), cast("RunningFlags", what))
    asked["queue"] = queue
    return asked
