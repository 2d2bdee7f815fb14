"""`tocsin calendars`: days off, which schedules name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.calendars import KeptCalendar
from tocsin.cli import json_lines, printing, schedule_options
from tocsin.cli.connecting import Address, AsJson, connected

app = typer.Typer(
    help="Keep calendars of days off, which schedules name.", no_args_is_help=True, rich_markup_mode="markdown"
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The calendar.")]


@app.command()
def put(
    name: _Name,
    day: Annotated[
        list[str] | None,
        typer.Option(metavar="DAY", help="A date (2026-12-25) or day of the week (SAT). May be repeated."),
    ] = None,
    ics: Annotated[Path | None, typer.Option(metavar="FILE", help="The days of this iCalendar file.")] = None,
    time_zone: Annotated[
        str, typer.Option(help="Whose days they are: Europe/Berlin. Default: that of each schedule.")
    ] = "",
    note: Annotated[str, typer.Option(help="Anything, for people.")] = "",
    revision: Annotated[int, typer.Option(help="Only where this revision stands. 0: whichever does.")] = 0,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Make a calendar, or put it whole in the place of what stands. Schedules that name it follow."""
    days = day or []
    with connected(address) as client:
        done = client.calendars.put(
            name,
            revision=revision,
            dates=[one for one in days if one[:1].isdigit()],
            weekdays=[one for one in days if not one[:1].isdigit()],
            ics=schedule_options.ics_text(ics),
            time_zone=time_zone,
            note=note,
        )
    _show([done], json=json)


@app.command()
def get(name: _Name, address: Address = None, json: AsJson = False) -> None:
    """Show a calendar."""
    with connected(address) as client:
        _show([client.calendars.get(name)], json=json)


@app.command("list")
def list_(address: Address = None, json: AsJson = False) -> None:
    """List all calendars."""
    with connected(address) as client:
        _show(client.calendars.list(), json=json)


@app.command()
def delete(name: _Name, address: Address = None) -> None:
    """Delete a calendar that no schedule names."""
    with connected(address) as client:
        client.calendars.delete(name)


def _show(calendars: list[KeptCalendar], *, json: bool) -> None:
    if json:
        for one in calendars:
            json_lines.print_json(one.message)
    else:
        printing.print_calendars(calendars)
