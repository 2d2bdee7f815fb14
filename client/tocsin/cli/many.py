"""`tocsin jobs cancel`, `retry` and `delete`: one job, several, or all that match a filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from tocsin.cli import json_lines, options, parsing, printing
from tocsin.cli.connecting import Address, AsJson, complain, connected
from tocsin.cli.texts import counted
from tocsin.enums import State
from tocsin.errors import TocsinError
from tocsin.jobs import Job


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which jobs are meant where no ids are."""

    states: list[State]
    types: list[str]
    tags: dict[str, str]


def cancel(
    job_ids: options.JobIds = None,
    reason: options.Reason = "",
    grace: Annotated[
        timedelta | None, typer.Option(parser=parsing.span, metavar="SPAN", help="How long a running job may take.")
    ] = None,
    state: options.States = None,
    type_: options.Types = None,
    tag: options.Tags = None,
    dry_run: options.DryRun = False,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Cancel jobs, by their ids or all that match. Those that run are asked to stop."""
    ids, matching = _which(job_ids, state, type_, tag, dry_run)
    with connected(address) as client:
        if matching is not None and dry_run:
            states = matching.states or [State.SCHEDULED, State.BLOCKED, State.WAITING, State.ACTIVE]
            jobs = client.list(queue=queue, states=states, types=matching.types, tags=matching.tags)
            _tell("would cancel", {"cancelled": sum(1 for _ in jobs)}, json)
        elif matching is not None:
            done = client.cancel_many(
                queue=queue,
                states=matching.states,
                types=matching.types,
                tags=matching.tags,
                reason=reason,
                grace=grace,
            )
            _tell("cancelled", {"cancelled": done.cancelled, "asked": done.asked}, json)
        elif len(ids) == 1:
            job = client.cancel(ids[0], queue=queue, reason=reason, grace=grace)
            show(job, _cancelled(job), json)
        else:
            results = client.cancel_many(ids, queue=queue, reason=reason, grace=grace).results
            _show_each(results, json, _cancelled)


def retry(
    job_ids: options.JobIds = None,
    state: options.States = None,
    type_: options.Types = None,
    tag: options.Tags = None,
    dry_run: options.DryRun = False,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Make failed or cancelled jobs due again, by their ids or all that match: --state failed --type charge_card."""
    ids, matching = _which(job_ids, state, type_, tag, dry_run)
    with connected(address) as client:
        if matching is not None:
            done = client.retry_many(
                queue=queue, states=matching.states, types=matching.types, tags=matching.tags, dry_run=dry_run
            )
            _tell("would retry" if dry_run else "due again:", {"retried": done.retried}, json)
        elif len(ids) == 1:
            show(client.retry(ids[0], queue=queue), "due again", json)
        else:
            _show_each(client.retry_many(ids, queue=queue).results, json, lambda _: "due again")


def delete(
    job_ids: options.JobIds = None,
    state: options.States = None,
    type_: options.Types = None,
    tag: options.Tags = None,
    dry_run: options.DryRun = False,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Delete jobs that have ended, by their ids or all that match. Their ids are free at once."""
    ids, matching = _which(job_ids, state, type_, tag, dry_run)
    with connected(address) as client:
        if matching is not None:
            done = client.delete_many(
                queue=queue, states=matching.states, types=matching.types, tags=matching.tags, dry_run=dry_run
            )
            _tell("would delete" if dry_run else "deleted", {"deleted": done.deleted}, json)
        elif len(ids) == 1:
            client.delete(ids[0], queue=queue)
            _show_deleted(ids[0], json)
        else:
            refused = False
            for job_id, error in zip(ids, client.delete_many(ids, queue=queue).results, strict=True):
                if error is None:
                    _show_deleted(job_id, json)
                else:
                    refused = complain(error)
            if refused:
                raise typer.Exit(1)


def show(job: Job, did: str, json: bool) -> None:
    """What became of one job."""
    if json:
        json_lines.print_job_json(job)
    else:
        printing.print_outcome(job, did)


def _which(
    job_ids: list[str] | None,
    state: list[str] | None,
    type_: list[str] | None,
    tag: list[str] | None,
    dry_run: bool,
) -> tuple[list[str], _Filter | None]:
    filtered = bool(state or type_ or tag)
    if job_ids and (filtered or dry_run):
        raise typer.BadParameter("give ids of jobs, or a filter (--state, --type, --tag, --dry-run), not both")
    if job_ids:
        return job_ids, None
    if not filtered:
        raise typer.BadParameter("give ids of jobs, or a filter: --state, --type or --tag")
    return [], _Filter(parsing.words(State, state or ()), type_ or [], parsing.tags(tag or ()))


def _cancelled(job: Job) -> str:
    return "cancelled" if job.state is State.CANCELLED else "asked to stop"


def _show_each(results: Sequence[Job | TocsinError], json: bool, did: Callable[[Job], str]) -> None:
    """A line for each; those refused are told on standard error, and then the exit code is 1."""
    refused = False
    for result in results:
        if isinstance(result, Job):
            show(result, did(result), json)
        else:
            refused = complain(result)
    if refused:
        raise typer.Exit(1)


def _show_deleted(job_id: str, json: bool) -> None:
    if json:
        json_lines.print_json_line({"jobId": job_id, "deleted": True})
    else:
        printing.print_line(f"deleted {job_id}")


def _tell(did: str, counts: dict[str, int], json: bool) -> None:
    if json:
        json_lines.print_json_line(counts)
        return
    first, *others = counts.values()
    print(
        f"{did} {counted(first, 'job')}"
        + "".join(f", asked {counted(one, 'running job')} to stop" for one in others if one)
    )
