"""Jobs of type data_cleanup: ended jobs that are old enough are deleted."""

from __future__ import annotations

from collections import defaultdict

from tocsin.v1.payloads_pb2 import DataCleanup
from tocsin.worker.context import JobContext
from tocsin.worker.errors import DoNotRetry
from tocsin.worker.registry import Handlers

from tocsin_server.domain.states import ENDED, State
from tocsin_server.handlers.reports.words import stamp
from tocsin_server.handlers.server_loop import ServerLoop
from tocsin_server.operations.cleanup import Cleaned, Cleanup, Wanted

TYPE = "data_cleanup"

_MOST_TYPES = 1_000  # named one by one in a result, which has 256 KiB


class DataCleanupHandler:
    """Runs data_cleanup jobs, one at a time in a process."""

    def __init__(self, cleanup: Cleanup, server: ServerLoop) -> None:
        self._cleanup = cleanup
        self._server = server

    def register(self, handlers: Handlers) -> None:
        """Make these handlers serve data_cleanup."""
        handlers.on(TYPE, concurrency=1)(self.clean)

    async def clean(self, job: JobContext) -> dict[str, object]:
        """Delete what the job names, or count it in a dry run.

        Returns {"queue", "dry_run", "deleted", "counts": [{"state", "type", "jobs"}], "ended_before", "oldest_end",
        "newest_end", "changed_meanwhile"}: of this attempt; what an earlier one deleted before it broke off is gone and
        is not counted again. Cancelled, it stops after the step under way. DoNotRetry where the payload is unfit.
        """
        payload = job.payload
        if not isinstance(payload, DataCleanup):
            raise DoNotRetry(f"a job of type {TYPE} needs the payload {TYPE}")
        wanted = _wanted(payload, job)
        verb = "found" if payload.dry_run else "deleted"

        def tell(done: int, most: int) -> None:
            job.progress(done / most if most else 1.0, f"{verb} {done:,} of {most:,} jobs at most")

        cleaned = await self._server.run(lambda: self._cleanup.clean(wanted, dry_run=payload.dry_run, tell=tell))
        return _result(wanted.queue, cleaned, dry_run=payload.dry_run)


def _wanted(payload: DataCleanup, job: JobContext) -> Wanted:
    older_than = payload.older_than.ToTimedelta()
    if older_than.total_seconds() < 1:
        raise DoNotRetry("older_than is needed, 1 s at least")
    states = {state.name: state for state in ENDED}
    try:
        wanted = frozenset(states[name] for name in payload.states)
    except KeyError as unknown:
        raise DoNotRetry(f"states: {unknown} is none of {', '.join(sorted(states))}") from None
    return Wanted(
        queue=payload.queue or job.queue,
        older_than=older_than,
        types=frozenset(payload.types),
        states=wanted or ENDED,
        spared=job.job_id if (payload.queue or job.queue) == job.queue else "",
    )


def _result(queue: str, cleaned: Cleaned, *, dry_run: bool) -> dict[str, object]:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for (state, type_), number in sorted(cleaned.counts.items(), key=lambda item: (-item[1], item[0])):
        place = (State(state).name, type_)
        counts[place if place in counts or len(counts) < _MOST_TYPES else ("", "")] += number
    return {
        "queue": queue,
        "dry_run": dry_run,
        "deleted": 0 if dry_run else cleaned.total,
        "found": cleaned.total,
        "counts": [{"state": state, "type": type_, "jobs": number} for (state, type_), number in counts.items()],
        "ended_before": stamp(cleaned.before),
        "oldest_end": stamp(cleaned.oldest) if cleaned.oldest is not None else None,
        "newest_end": stamp(cleaned.newest) if cleaned.newest is not None else None,
        "changed_meanwhile": cleaned.changed,
    }
