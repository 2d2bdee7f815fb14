"""Acting on all jobs that match: what would be touched is shown, then asked about, then done before one's eyes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, TypedDict, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tocsin.bulk_actions import BulkCount, BulkOptions, BulkPreview, BulkProgress, BulkVerb
from tocsin.cli import json_lines, options, parsing, printing
from tocsin.cli.connecting import connected, fail
from tocsin.cli.tables import Column, print_table
from tocsin.cli.texts import counted, one_line, state_text, styled
from tocsin.enums import State

#: What is said before and after each act.
_WORDS: Mapping[BulkVerb, tuple[str, str]] = {
    "cancel": ("cancel", "cancelled"),
    "retry": ("retry", "due again:"),
    "run": ("run", "due now:"),
    "delete": ("delete", "deleted"),
    "retime": ("retime", "retimed"),
    "move": ("move", "moved"),
    "priority": ("prioritize", "prioritized"),
}
_MOST_COUNTS = 20  # lines by state and type
Tell = Callable[[BulkProgress], None]


class FilterFlags(TypedDict, total=False):
    """Which jobs are meant where no ids are given."""

    state: options.States
    type_: options.Types
    tag: options.Tags
    priority_min: options.PriorityMin
    priority_max: options.PriorityMax
    due_from: Annotated[
        datetime | None, typer.Option(parser=parsing.moment, metavar="TIME", help="Due then or later; 7d: 7 days ago.")
    ]
    due_to: Annotated[datetime | None, typer.Option(parser=parsing.moment, metavar="TIME", help="Due before then.")]
    created_from: Annotated[
        datetime | None, typer.Option(parser=parsing.moment, metavar="TIME", help="Created then or later.")
    ]
    created_to: Annotated[
        datetime | None, typer.Option(parser=parsing.moment, metavar="TIME", help="Created before then.")
    ]
    ended_from: Annotated[
        datetime | None, typer.Option(parser=parsing.moment, metavar="TIME", help="Ended then or later.")
    ]
    ended_to: Annotated[datetime | None, typer.Option(parser=parsing.moment, metavar="TIME", help="Ended before then.")]
    all_: Annotated[
        bool | None, typer.Option("--all", metavar="", help="No filter: every job that the command is for.")
    ]
    max_jobs: Annotated[
        int | None, typer.Option("--max-jobs", min=1, help="So many at most, those that came last. Default: all.")
    ]
    dry_run: Annotated[bool | None, typer.Option("--dry-run", metavar="", help="Only show what matches.")]
    yes: Annotated[bool | None, typer.Option("--yes", "-y", metavar="", help="Do not ask.")]


#: Flags and the words of BulkOptions that they are.
_OPTIONS = {
    "priority_min": "priority_min",
    "priority_max": "priority_max",
    "due_from": "schedule_time_from",
    "due_to": "schedule_time_to",
    "created_from": "create_time_from",
    "created_to": "create_time_to",
    "ended_from": "end_time_from",
    "ended_to": "end_time_to",
    "all_": "all",
    "max_jobs": "max_jobs",
}
_NO_FILTERS = {"max_jobs", "dry_run", "yes"}


def is_filter(given: Mapping[str, Any]) -> bool:
    """Whether flags say which jobs are meant."""
    return any(value for name, value in given.items() if name not in _NO_FILTERS)


def act(verb: BulkVerb, given: Mapping[str, Any], queue: str, address: str | None, json: bool, **words: Any) -> None:
    """Act on all jobs of the queue that the flags mean. `words`: what the act takes beside; those that are None are not
    given."""
    if not is_filter(given):
        raise typer.BadParameter("say which jobs: --state, --type, --tag, --due-to, ... or --all")
    if json and not given.get("dry_run") and not given.get("yes"):
        raise typer.BadParameter("--json does not ask: give --yes, too, or --dry-run")
    asked: dict[str, Any] = {name: value for name, value in words.items() if value is not None}
    asked |= {_OPTIONS[name]: value for name, value in given.items() if name in _OPTIONS}
    if "state" in given:
        asked["states"] = parsing.words(State, given["state"])
    if "type_" in given:
        asked["types"] = given["type_"]
    if "tag" in given:
        asked["tags"] = parsing.tags(given["tag"])
    wanted = cast("BulkOptions", {"queue": queue, **asked})
    with connected(address) as client:
        preview = client.bulk.preview(verb, **wanted)
    if given.get("dry_run") and json:
        sample = [json_lines.as_object(job.message) for job in preview.sample]
        json_lines.print_json_line(
            {**_plain(preview.matched, preview.counts), "sample": sample, "token": preview.token}
        )
        return
    if not json:
        _show(verb, preview, given.get("max_jobs"))
    if given.get("dry_run") or not (preview.matched or json):
        return
    if not given.get("yes"):
        _ask(verb)
    with connected(address, retries=True) as client, _bar(verb, preview.matched) as tell:
        for step in client.bulk.act(preview):
            tell(step)
    _report(verb, step, json)


def _show(verb: BulkVerb, preview: BulkPreview, max_jobs: int | None) -> None:
    most = f", and {max_jobs:,} of them at most" if max_jobs is not None and max_jobs < preview.matched else ""
    print(f"would {_WORDS[verb][0]} {counted(preview.matched, 'job')}{most}")
    if not preview.matched:
        return
    columns = [Column("STATE"), Column("TYPE", shortened=True), Column("JOBS")]
    for one in preview.counts[:_MOST_COUNTS]:
        for column, cell in zip(
            columns, (state_text(one.state), styled(one.type), styled(f"{one.jobs:,}")), strict=True
        ):
            column.cells.append(cell)
    print_table(columns)
    if left := preview.matched - sum(one.jobs for one in preview.counts[:_MOST_COUNTS]):
        print(f"and {counted(left, 'job')} more, of other states and types")
    print("such as:" if len(preview.sample) < preview.matched else "these:")
    printing.print_jobs(preview.sample)


def _ask(verb: BulkVerb) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked: give --yes to do it, or --dry-run to look")
    if not typer.confirm(f"{_WORDS[verb][0].capitalize()} them?"):
        raise typer.Exit(1)


def _report(verb: BulkVerb, last: BulkProgress, json: bool) -> None:
    if json:
        json_lines.print_json_line(
            {
                **_plain(last.matched or 0, last.counts),
                "done": last.done,
                "changedMeanwhile": last.changed_meanwhile,
                "refused": last.refused,
                "queue": last.queue,
                "jobId": last.job_id,
                "state": str(last.state),
                "error": last.error,
            }
        )
    else:
        left = f", left {last.changed_meanwhile:,} that had changed meanwhile" if last.changed_meanwhile else ""
        refused = f", refused {last.refused:,}" if last.refused else ""
        print(f"{_WORDS[verb][1]} {counted(last.done, 'job')}{left}{refused}")
    for one in last.refusals:
        print(f"tocsin: {one_line(' '.join(one.message.split()))} [{one.reason}]", file=sys.stderr)
    if last.error:
        fail(last.error, str(last.state))
    if last.refused:
        raise typer.Exit(1)


def _plain(matched: int, counts: tuple[BulkCount, ...]) -> dict[str, object]:
    listed = [{"state": str(one.state), "type": one.type, "jobs": one.jobs} for one in counts]
    return {"matched": matched, "counts": listed}


@contextmanager
def _bar(verb: BulkVerb, matched: int) -> Iterator[Tell]:
    """How far it is, on a terminal alone. An interrupt leaves the action to the server, and says so."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    last: BulkProgress | None = None
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(_WORDS[verb][0], total=matched)

        def tell(step: BulkProgress) -> None:
            nonlocal last
            last = step
            words = "waits for a server that runs it" if step.state == "WAITING" else _WORDS[verb][0]
            progress.update(task, completed=step.done + step.changed_meanwhile + step.refused, description=words)

        try:
            yield tell
        except KeyboardInterrupt:
            if last is not None and not last.finished:
                stop = f"tocsin jobs cancel {last.job_id} --queue {last.queue}"
                print(f"tocsin: the server goes on with it; to stop it: {stop}", file=sys.stderr)
            raise
