"""What `tocsin schedules` is told of a schedule: when it runs, and what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, TypedDict, cast

import typer

from tocsin.cli import options, parsing
from tocsin.enums import Missed, OnExcluded, Overlap
from tocsin.requests import RetryPolicy
from tocsin.schedules import Calendar, KeptOptions, OnExcludedName, TimingOptions

_ACTIONS = "skip|next_day|previous_day"


def _overlap(text: str) -> Overlap:
    [word] = parsing.words(Overlap, [text])
    return word


def _missed(text: str) -> Missed:
    [word] = parsing.words(Missed, [text])
    return word


class TimingFlags(TypedDict, total=False):
    """When it runs. Each is named as in TimingOptions, but for `calendar`."""

    cron: Annotated[
        list[str] | None,
        typer.Option(metavar="LINE", help="A line of cron: '0 9 L * *'. May be repeated: all lines count."),
    ]
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", help="Whose wall clock cron goes by: Europe/Berlin. Default: UTC.")
    ]
    every: Annotated[
        timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="An interval instead: 90s, 6h.")
    ]
    anchor: Annotated[
        datetime | None,
        typer.Option(parser=parsing.time, metavar="TIME", help="The first time of --every. Default: --start, or now."),
    ]
    start_time: Annotated[
        datetime | None, typer.Option("--start", parser=parsing.time, metavar="TIME", help="No time before it.")
    ]
    end_time: Annotated[
        datetime | None, typer.Option("--end", parser=parsing.time, metavar="TIME", help="No time at it or after it.")
    ]
    max_runs: Annotated[int | None, typer.Option(help="It ends after so many runs.")]
    jitter: Annotated[
        timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="Each run is due up to so much later.")
    ]
    calendar: Annotated[
        list[str] | None,
        typer.Option(
            metavar=f"NAME[={_ACTIONS}]",
            help="Leave out the days of this calendar; or run on the next or the last day instead. May be repeated.",
        ),
    ]


class DaysOffFlags(TypedDict, total=False):
    """Days off that need not be kept, for a preview."""

    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="DAY", help="Leave out a date (2026-12-25) or day of the week (SAT). May be repeated."),
    ]
    ics: Annotated[Path | None, typer.Option(metavar="FILE", help="Leave out the days of this iCalendar file, too.")]
    on_excluded: Annotated[
        str | None, typer.Option(metavar=_ACTIONS, help="What becomes of times that those two leave out.")
    ]


class RunningFlags(TypedDict, total=False):
    """What it runs, and what becomes of times that are not plain. Each is named as in KeptOptions."""

    type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Which handler runs its jobs.")]
    data: options.Data
    data_file: options.DataFile
    priority: options.Priority
    max_attempts: options.MaxAttempts
    timeout: options.Timeout
    tag: options.Tags
    overlap: Annotated[
        Overlap | None,
        typer.Option(
            parser=_overlap,
            metavar="skip|queue_one|allow|cancel_other",
            help="What to do while the last job is going on. Default: skip.",
        ),
    ]
    missed: Annotated[
        Missed | None,
        typer.Option(
            parser=_missed,
            metavar="once|skip|all",
            help="What becomes of times at which no server was there. Default: once.",
        ),
    ]
    catch_up_window: Annotated[
        timedelta | None,
        typer.Option(parser=parsing.span, metavar="SPAN", help="With --missed all: older ones are missed."),
    ]
    catch_up_max: Annotated[int | None, typer.Option(help="With --missed all: so many at most. Default: 100.")]
    note: Annotated[str | None, typer.Option(help="Anything, for people.")]


def timing(given: TimingFlags) -> TimingOptions:
    """When it runs, as the client is told."""
    asked = cast("TimingOptions", {name: value for name, value in given.items() if name != "calendar"})
    if "calendar" in given:
        asked["calendars"] = dict(map(_use, given["calendar"] or ()))
    return asked


def kept(when: TimingFlags, what: RunningFlags) -> KeptOptions:
    """A schedule that is kept, as the client is told."""
    plain = ("priority", "timeout", "overlap", "missed", "catch_up_window", "catch_up_max", "note")
    asked = cast("KeptOptions", {**timing(when), **{name: what[name] for name in plain if name in what}})  # type: ignore[literal-required]
    if what.keys() & {"type", "data", "data_file"}:
        asked["type"], asked["payload"] = parsing.payload(
            what.get("type") or "", what.get("data"), what.get("data_file")
        )
    if (attempts := what.get("max_attempts")) is not None:
        asked["retry"] = RetryPolicy(max_attempts=attempts)
    if "tag" in what:
        asked["tags"] = parsing.tags(what["tag"] or ())
    return asked


def days_off(given: DaysOffFlags) -> Calendar:
    """A calendar that is not kept."""
    days = given.get("exclude") or []
    return Calendar(
        dates=[day for day in days if day[:1].isdigit()],
        weekdays=[day for day in days if not day[:1].isdigit()],
        ics=ics_text(given.get("ics")),
        on_excluded=_action(given.get("on_excluded") or "skip", "--on-excluded"),
    )


def ics_text(file: Path | None) -> str:
    """The text of an iCalendar file; empty where none is given."""
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot be read: {error}", param_hint="--ics") from None


def _use(text: str) -> tuple[str, OnExcludedName]:
    name, _, action = text.partition("=")
    return name, _action(action or "skip", "--calendar")


def _action(text: str, option: str) -> OnExcluded:
    found: Sequence[OnExcluded] = parsing.words(OnExcluded, [text])
    if len(found) != 1:
        raise typer.BadParameter("takes one word", param_hint=option)
    return found[0]
