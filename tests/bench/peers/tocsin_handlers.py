"""What the bench's server runs: a job that notes when it began, as the peers' workers do."""

from __future__ import annotations

from tocsin import Handlers, JobContext

from bench.peers.python.driver import Clock

CLOCK = Clock()
handlers = Handlers()


@handlers.on("noop", concurrency=1000)
async def noop(job: JobContext) -> None:
    """Does nothing else."""
    CLOCK.started()
