"""`tocsin queues get` and `tocsin queues update`: what is set for a queue and its types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

import typer

from tocsin.cli import json_lines, parsing, printing
from tocsin.cli.connecting import Address, AsJson, connected
from tocsin.cli.options import QueueArgument
from tocsin.cli.queue_limits import (
    FairTurnsOption,
    LimitOption,
    NoLimitOption,
    NoPriorityAgeingOption,
    PriorityAgeingOption,
    changed,
)
from tocsin.enums import Backoff
from tocsin.queues import JobDefaults, PushTarget, Queue, QueueChanges
from tocsin.requests import Retention, RetryPolicy

_Span: TypeAlias = timedelta | None

_RETRY = tuple(field.name for field in fields(RetryPolicy))
_RETENTION = tuple(field.name for field in fields(Retention))
_PLAIN = ("concurrency", "min_worker_version", "push", "timeout")
_DEFAULTS = (*_PLAIN, *_RETRY, *_RETENTION)
_COUNTS = ("completed_max", "failed_max")
_ORDER = ("limits", "fair_turns", "priority_ageing")


def get(queue: QueueArgument = "default", address: Address = None, json: AsJson = False) -> None:
    """Show what is set for a queue and its types. What is not shown is as the server is set."""
    with connected(address) as client:
        _show(client.queue(queue), json)


def update(
    queue: QueueArgument = "default",
    type_: Annotated[
        str, typer.Option("--type", "-t", help="Set it for jobs of this type only. Default: for all that say nothing.")
    ] = "",
    concurrency: Annotated[int | None, typer.Option(help="Attempts of one type that each server runs at once.")] = None,
    min_worker_version: Annotated[
        str | None, typer.Option(help="Lowest version of a worker that is given such jobs.")
    ] = None,
    push: Annotated[
        str | None, typer.Option(metavar="URL", help="Send what is due there, each job as an HTTP request.")
    ] = None,
    push_header: Annotated[
        list[str] | None, typer.Option(metavar="NAME:VALUE", help="A header to send there. May be repeated.")
    ] = None,
    push_secret: Annotated[str, typer.Option(metavar="NAME", help="The server's secret that signs requests.")] = "",
    push_timeout: Annotated[
        _Span, typer.Option(parser=parsing.span, metavar="SPAN", help="How long an answer may take: 30s.")
    ] = None,
    max_attempts: Annotated[int | None, typer.Option(help="Attempts that may fail, the first included.")] = None,
    backoff: Annotated[
        str | None, typer.Option(metavar="fixed|exponential", help="How waits between attempts grow.")
    ] = None,
    initial_delay: Annotated[
        _Span, typer.Option(parser=parsing.span, metavar="SPAN", help="Wait after the first failure: 2s, 1h30m.")
    ] = None,
    max_delay: Annotated[_Span, typer.Option(parser=parsing.span, metavar="SPAN", help="No wait is longer.")] = None,
    jitter: Annotated[float | None, typer.Option(help="Share of each wait drawn at random, 0 to 1.")] = None,
    timeout: Annotated[_Span, typer.Option(parser=parsing.span, metavar="SPAN", help="Limit of one attempt.")] = None,
    completed_for: Annotated[
        _Span, typer.Option(parser=parsing.span, metavar="SPAN", help="Age at which completed jobs go.")
    ] = None,
    failed_for: Annotated[
        _Span, typer.Option(parser=parsing.span, metavar="SPAN", help="Age at which failed jobs go.")
    ] = None,
    completed_max: Annotated[int | None, typer.Option(help="Completed jobs that the queue keeps at most.")] = None,
    failed_max: Annotated[int | None, typer.Option(help="Failed jobs that the queue keeps at most.")] = None,
    limit: LimitOption = None,
    no_limit: NoLimitOption = None,
    fair_turns: FairTurnsOption = None,
    priority_ageing: PriorityAgeingOption = None,
    no_priority_ageing: NoPriorityAgeingOption = False,
    clear: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Take this back (concurrency, max-attempts, ...), or all. May be repeated."),
    ] = None,
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Change what is named of a queue's settings, or of one of its types'; the rest stays.

    Servers take it over within a tick, 1 s. Attempts, waits, time limits and ages are filled in when a job is
    scheduled; those that stand keep theirs.
    """
    given: dict[str, object] = {
        "concurrency": concurrency,
        "min_worker_version": min_worker_version,
        "push": _push(push, push_header or [], push_secret, push_timeout),
        "max_attempts": max_attempts,
        "backoff": None if backoff is None else parsing.words(Backoff, [backoff])[0],
        "initial_delay": initial_delay,
        "max_delay": max_delay,
        "jitter": jitter,
        "timeout": timeout,
        "completed_for": completed_for,
        "failed_for": failed_for,
        "completed_max": completed_max,
        "failed_max": failed_max,
        "limits": [*(limit or []), *(no_limit or [])] or None,
        "fair_turns": fair_turns,
        "priority_ageing": priority_ageing,
    }
    if no_priority_ageing and priority_ageing is not None:
        raise typer.BadParameter("--priority-ageing is given a value and taken back", param_hint="--no-priority-ageing")
    wanted = {name: value for name, value in given.items() if value is not None}
    cleared = _cleared(clear or [], wanted, of_type=bool(type_))
    if no_priority_ageing:
        wanted["priority_ageing"] = None
    if not wanted and not cleared:
        raise typer.BadParameter("name what to change, as --concurrency 3, or what to --clear")
    if type_ and (counts := [name for name in (*_COUNTS, *_ORDER) if name in wanted]):
        raise typer.BadParameter(f"{_option(counts[0])} is of the whole queue: leave out --type")
    wanted |= dict.fromkeys(cleared)
    with connected(address) as client:
        standing = client.queue(queue)
        if "limits" in wanted:
            wanted["limits"] = changed(standing.limits, limit or [], no_limit or [])
        _show(client.update_queue(queue, **_changes(standing, type_, wanted)), json)


def _cleared(names: list[str], wanted: Mapping[str, object], *, of_type: bool) -> list[str]:
    known = _DEFAULTS if of_type else (*_DEFAULTS, *_COUNTS)
    cleared: list[str] = []
    for text in names:
        name = text.strip().removeprefix("--").replace("-", "_")
        if name == "all":
            cleared += [one for one in known if one not in wanted]
        elif name not in known:
            allowed = ", ".join(_option(one).removeprefix("--") for one in known)
            raise typer.BadParameter(f"{text!r} is none of all, {allowed}", param_hint="--clear")
        else:
            cleared.append(name)
    if both := [name for name in cleared if name in wanted]:
        raise typer.BadParameter(f"{_option(both[0])} is given a value and cleared", param_hint="--clear")
    return cleared


def _push(url: str | None, headers: list[str], secret: str, timeout: timedelta | None) -> PushTarget | None:
    if url is None:
        if headers or secret or timeout is not None:
            raise typer.BadParameter("a push target is given as a whole: name its URL, too", param_hint="--push")
        return None
    pairs = [header.partition(":") for header in headers]
    if wrong := [name for name, colon, _ in pairs if not colon]:
        raise typer.BadParameter(f"{wrong[0]!r} has no colon after its name", param_hint="--push-header")
    return PushTarget(url, {name.strip(): value.strip() for name, _, value in pairs}, secret, timeout)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _changes(queue: Queue, type_: str, wanted: Mapping[str, Any]) -> QueueChanges:
    """The server replaces a level as a whole, so the new one is the standing one with what is wanted."""
    changes = QueueChanges()
    if "completed_max" in wanted:
        changes["completed_max"] = wanted["completed_max"]
    if "failed_max" in wanted:
        changes["failed_max"] = wanted["failed_max"]
    if "limits" in wanted:
        changes["limits"] = wanted["limits"]
    if "fair_turns" in wanted:
        changes["fair_turns"] = wanted["fair_turns"]
    if "priority_ageing" in wanted:
        changes["priority_ageing"] = wanted["priority_ageing"]
    if any(name in wanted for name in _DEFAULTS):
        if type_:
            changes["types"] = {type_: _changed(queue.type_defaults.get(type_), wanted)}
        else:
            changes["defaults"] = _changed(queue.defaults, wanted)
    return changes


def _changed(standing: JobDefaults | None, wanted: Mapping[str, Any]) -> JobDefaults | None:
    old = standing or JobDefaults()

    def part(names: tuple[str, ...]) -> dict[str, Any]:
        return {name: wanted[name] for name in names if name in wanted}

    retry = replace(old.retry or RetryPolicy(), **part(_RETRY))
    retention = replace(old.retention or Retention(), **part(_RETENTION))
    new = replace(
        old,
        retry=None if retry == RetryPolicy() else retry,
        retention=None if retention == Retention() else retention,
        **part(_PLAIN),
    )
    return None if new == JobDefaults() else new


def _show(queue: Queue, json: bool) -> None:
    if json:
        json_lines.print_json(queue.message)
    else:
        printing.print_queue_settings(queue)
