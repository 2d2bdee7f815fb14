"""`tocsin jobs explain` and `tocsin jobs logs`: why a job does not run, and what its attempts wrote."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin.cli import json_lines, options, printing
from tocsin.cli.connecting import Address, AsJson, connected


def explain(
    job_id: options.JobId, queue: options.QueueName = "default", address: Address = None, json: AsJson = False
) -> None:
    """Say why a job is not running, or who runs it."""
    with connected(address) as client:
        found = client.explain(job_id, queue=queue)
        if json:
            json_lines.print_explanation_json(found)
        else:
            printing.print_explanation(found)


def logs(
    job_id: options.JobId,
    attempt: Annotated[int, typer.Option(min=0, help="Lines of this attempt alone; 0 is all.")] = 0,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", metavar="", help="Go on with what comes, until the job has ended.")
    ] = False,
    queue: options.QueueName = "default",
    address: Address = None,
    json: AsJson = False,
) -> None:
    """Print the lines that a job's attempts wrote, oldest first, with the time of each in UTC.

    Of too many the middle is dropped; a line says how many.
    """
    with connected(address, retries=follow) as client:
        for line in client.logs(job_id, queue=queue, attempt=attempt, follow=follow):
            if json:
                json_lines.print_log_line_json(line)
            else:
                printing.print_log_line(line)
