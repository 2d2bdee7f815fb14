"""`tocsin schedules`: recurring schedules."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import json_lines, options, parsing, printing
from tocsin.cli.connecting import Address, AsJson, connected
from tocsin.enums import Missed, OnExcluded, Overlap
from tocsin.schedules import Calendar, KeptOptions, Schedule, TimingOptions

app = typer.Typer(
    help="Keep recurring schedules, and see beforehand when they run.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE_ID", help="The schedule.")]


@app.command()
def create(
    schedule_id: _ScheduleId,
    type_: Annotated[str, typer.Option("--type", metavar="TYPE", help="Which handler runs its jobs.")],
    data: options.Data = None,
    data_file: options.DataFile = None,
    cron: Annotated[
        list[str] | None,
        typer.Option(metavar="LINE", help="A line of cron: '0 9 L * *'. May be repeated: all lines count."),
    ] = None,
    zone: Annotated[str, typer.Option(help="Whose wall clock cron goes by: Europe/Berlin. Default: UTC.")] = "",
    every: Annotated[
        timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="An interval instead: 90s, 6h.")
    ] = None,
    overlap: Annotated[
        str,
        typer.Option(metavar="skip|queue_one|allow|cancel_other", help="What to do while the last job is going on."),
    ] = "skip",
    missed: Annotated[
        str, typer.Option(metavar="once|skip|all", help="What becomes of times at which no server was there.")
    ] = "once",
    note: Annotated[str, typer.Option(help="Anything, for people.")] = "",
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Make a schedule. Its first run is its first time after now."""
    [overlap_word], [missed_word] = parsing.words(Overlap, [overlap]), parsing.words(Missed, [missed])
    named, payload = parsing.payload(type_, data, data_file)
    asked = KeptOptions(type=named, payload=payload, overlap=overlap_word, missed=missed_word, note=note, queue=queue)
    if cron:
        asked["cron"] = cron
    if zone:
        asked["time_zone"] = zone
    if every is not None:
        asked["every"] = every
    with connected(address) as client:
        _show(client.schedules.create(schedule_id, **asked), json=json)


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
def preview(
    cron: Annotated[
        list[str] | None,
        typer.Option(metavar="LINE", help="A line of cron: '0 9 L * *'. May be repeated: all lines count."),
    ] = None,
    zone: Annotated[str, typer.Option(help="Whose wall clock cron goes by: Europe/Berlin. Default: UTC.")] = "",
    every: Annotated[
        timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="An interval instead: 90s, 6h.")
    ] = None,
    anchor: Annotated[
        datetime | None,
        typer.Option(parser=parsing.time, metavar="TIME", help="The first time of --every. Default: --start, or now."),
    ] = None,
    start: Annotated[
        datetime | None, typer.Option(parser=parsing.time, metavar="TIME", help="No time before it.")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option(parser=parsing.time, metavar="TIME", help="No time at it or after it.")
    ] = None,
    jitter: Annotated[
        timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="Each run is due up to so much later.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="DAY", help="Leave out a date (2026-12-25) or day of the week (SAT). May be repeated."),
    ] = None,
    ics: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Leave out the days of this iCalendar file, too.")
    ] = None,
    on_excluded: Annotated[
        str, typer.Option(metavar="skip|next_day|previous_day", help="What becomes of times that are left out.")
    ] = "skip",
    after: Annotated[
        datetime | None, typer.Option(parser=parsing.time, metavar="TIME", help="Look ahead from here. Default: now.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="How many times, up to 1,000.")] = 10,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Show the next times of a schedule, and what clock changes, days off and jitter do to them. Changes nothing."""
    timing = TimingOptions()
    if cron:
        timing["cron"] = cron
    if zone:
        timing["time_zone"] = zone
    if every is not None:
        timing["every"] = every
    if anchor is not None:
        timing["anchor"] = anchor
    if start is not None:
        timing["start_time"] = start
    if end is not None:
        timing["end_time"] = end
    if jitter is not None:
        timing["jitter"] = jitter
    if exclude or ics is not None:
        timing["calendars"] = {"days-off": _days_off(exclude or [], ics, on_excluded)}
    with connected(address) as client:
        found = client.schedules.preview(count, after=after, **timing)
    if json:
        for one in found:
            json_lines.print_json(one.message)
    else:
        printing.print_occurrences(found)


def _days_off(days: list[str], ics: Path | None, on_excluded: str) -> Calendar:
    action, *more = parsing.words(OnExcluded, [on_excluded])
    if more:
        raise typer.BadParameter("takes one word", param_hint="--on-excluded")
    text = ""
    if ics is not None:
        try:
            text = ics.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"cannot be read: {error}", param_hint="--ics") from None
    return Calendar(
        dates=[day for day in days if day[:1].isdigit()],
        weekdays=[day for day in days if not day[:1].isdigit()],
        ics=text,
        on_excluded=action,
    )
