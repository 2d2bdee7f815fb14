"""`tocsin queues limits`, and the options of `tocsin queues update` that set limits, turns and the ageing of
priorities."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, TypeAlias

import typer

from tocsin.cli import json_lines, parsing
from tocsin.cli.connecting import Address, AsJson, connected
from tocsin.cli.options import QueueArgument
from tocsin.cli.tables import Column, print_table
from tocsin.cli.texts import ageing_text, rate_text, styled
from tocsin.enums import LimitScope, OnFull
from tocsin.limits import Limit, Rate

_KEYS = ("name", "scope", "type", "max", "rate", "burst", "on-full")
_EXAMPLE = "name=per-customer,scope=key,max=2,rate=100/1m"

LimitOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="KEY=VALUE,...",
        help=f"Set a limit, in the place of one of its name: {_EXAMPLE}. May be repeated.",
    ),
]
NoLimitOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--no-limit", metavar="NAME", help="Take a limit away. May be repeated.")
]
FairTurnsOption: TypeAlias = Annotated[
    bool | None,
    typer.Option("--fair-turns/--no-fair-turns", metavar="", help="Whether the keys of jobs take turns."),
]
PriorityAgeingOption: TypeAlias = Annotated[
    timedelta | None,
    typer.Option(
        parser=parsing.span, metavar="SPAN", help="A job gains one priority for each such time that it waits: 10m."
    ),
]
NoPriorityAgeingOption: TypeAlias = Annotated[
    bool, typer.Option("--no-priority-ageing", metavar="", help="Jobs gain no priority while they wait.")
]


def limits(queue: QueueArgument = "default", address: Address = None, json: AsJson = False) -> None:
    """Show the limits of a queue, whether its keys take turns, and whether jobs gain priority while they wait."""
    with connected(address) as client:
        found = client.queue(queue)
    if json:
        json_lines.print_json(found.message)
        return
    names = ("name", "scope", "type", "max active", "rate", "on full")
    columns = [Column(name.upper()) for name in names]
    for limit in found.limits:
        most = "" if limit.max_active is None else f"{limit.max_active}"
        row = (limit.name, str(limit.scope), limit.type, most, rate_text(limit.rate), str(limit.on_full))
        for column, cell in zip(columns, row, strict=True):
            column.cells.append(styled(cell))
    print_table(columns)
    if found.fair_turns:
        typer.echo("keys take turns")
    if found.priority_ageing is not None:
        typer.echo(ageing_text(found.priority_ageing))


def changed(standing: Sequence[Limit], given: Sequence[str], taken: Sequence[str]) -> list[Limit]:
    """The limits that stand, with those that are given, without those that are taken away."""
    wanted = {limit.name: limit for limit in standing}
    for name in taken:
        if wanted.pop(name, None) is None:
            raise typer.BadParameter(f"the queue has no limit {name!r}", param_hint="--no-limit")
    return list((wanted | {limit.name: limit for limit in map(_read, given)}).values())


def _read(text: str) -> Limit:
    said: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if key not in _KEYS or not equals or key in said:
            known = ", ".join(_KEYS)
            raise typer.BadParameter(
                f"{part!r} is none of {known}, with = and a value: {_EXAMPLE}", param_hint="--limit"
            )
        said[key] = value
    if "name" not in said or "scope" not in said:
        raise typer.BadParameter(f"{text!r} needs name= and scope=: {_EXAMPLE}", param_hint="--limit")
    rate = None
    if "rate" in said:
        rate = read_rate(said["rate"], _whole(said.get("burst", "1")), "--limit")
    return Limit(
        said["name"],
        parsing.words(LimitScope, [said["scope"]])[0],
        said.get("type", ""),
        _whole(said["max"]) if "max" in said else None,
        rate,
        parsing.words(OnFull, [said.get("on-full", "wait").replace("-", "_")])[0],
    )


def read_rate(text: str, burst: int, option: str) -> Rate:
    """A rate such as 100/1m, of this option."""
    jobs, slash, span = text.partition("/")
    if not slash:
        raise typer.BadParameter(f"{text!r} is no rate; write 100/1m", param_hint=option)
    return Rate(_whole(jobs, option), parsing.span(span), burst)


def _whole(text: str, option: str = "--limit") -> int:
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is no whole number", param_hint=option)
    return int(text)
