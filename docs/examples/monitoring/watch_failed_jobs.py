"""Tells of each job that fails, in the moment it does; in place of a look at the list every five minutes.

    TOCSIN_ADDRESS=localhost:50051 python watch_failed_jobs.py [QUEUE]

How far it has come stands in the file FAILED_JOBS_CURSOR (failed_jobs.cursor), from the first failure on: started again
it tells of what failed meanwhile. Where the server no longer remembers that far back (100,000 changes or an hour, see
`events` in configuration.md), it says so and tells of the newest failures anew.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from tocsin import Client, Job

log = logging.getLogger("failed_jobs")

_TOLD_AFTER_A_GAP = 100


def tell(job: Job) -> None:
    """Put your own here: a mail, a message into a chat, a page of whoever is on call."""
    error = job.errors[-1]
    log.error("%s %s failed in attempt %d: %s: %s", job.type, job.job_id, job.attempt, error.type, error.message)


def watch_failed_jobs(tocsin: Client, queue: str, cursor_file: Path) -> None:
    """Goes on for ever: a cut connection is mended by the client."""
    cursor = cursor_file.read_text() if cursor_file.exists() else ""
    for change in tocsin.watch(queue=queue, states=["FAILED"], cursor=cursor):
        if change.gap:
            log.warning("some changes were missed; these jobs failed last:")
            for job in tocsin.list(queue=queue, states=["FAILED"], limit=_TOLD_AFTER_A_GAP):
                tell(job)
        elif change.job is not None and not change.deleted:
            tell(change.job)
        # Kept once it is told: told twice, after a crash in between, is better than never.
        cursor_file.write_text(change.cursor)


def main() -> None:
    queue = sys.argv[1] if len(sys.argv) > 1 else "default"
    with Client() as tocsin:
        watch_failed_jobs(tocsin, queue, Path(os.environ.get("FAILED_JOBS_CURSOR", "failed_jobs.cursor")))


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.INFO)
    main()
