"""Attempts go on and end, fenced by their tokens; leases that ran out are taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

from tocsin_server.domain import limits
from tocsin_server.domain.errors import TocsinError
from tocsin_server.domain.job import JobError
from tocsin_server.domain.job_errors import LeaseLost
from tocsin_server.domain.lease import AttemptOutcome, Ending, Extended, Extension, Finished, Lease, LostLease
from tocsin_server.domain.states import State
from tocsin_server.store.mongo import transitions
from tocsin_server.store.mongo.clock import ServerClock
from tocsin_server.store.mongo.commit import Commit
from tocsin_server.store.mongo.documents import Document, span, text, to_ms, token_of
from tocsin_server.store.mongo.job_logs import JobLogs, Written
from tocsin_server.store.mongo.jobs import Jobs, unknown_after
from tocsin_server.store.mongo.places import LimitPlaces, limit_key_of
from tocsin_server.store.mongo.queue_settings import StoredSettings
from tocsin_server.store.mongo.queues import minute_of
from tocsin_server.store.mongo.rooms import Rooms
from tocsin_server.store.mongo.transitions import Standing

_LEASE_EXPIRED = JobError(
    "LEASE_EXPIRED",
    "the process that ran it was not heard of until its lease ended: it died, froze, or lost the store.",
)


class _Rates:
    """Attempts that ended, by field of a queue's `rates`; each once, in however many rounds it is written."""

    def __init__(self) -> None:
        self._ended: Counter[str] = Counter()
        self._counted: set[str] = set()

    def count(self, job: Standing, kind: str) -> None:
        """kind: "c" completed, "f" failed."""
        if job.document["id"] not in self._counted:
            self._counted.add(job.document["id"])
            self._ended[f"{kind}{minute_of(job.now)}"] += 1

    def taken(self) -> Mapping[str, int]:
        """What was counted since the last time."""
        ended, self._ended = self._ended, Counter()
        return ended


class FinishJobs:
    """JobStore.extend, finish and reap."""

    def __init__(
        self,
        clock: ServerClock,
        jobs: Jobs,
        commit: Commit,
        logs: JobLogs,
        places: LimitPlaces,
        settings: StoredSettings,
    ) -> None:
        self._clock = clock
        self._places = places
        self._settings = settings
        self._jobs = jobs
        self._commit = commit
        self._logs = logs

    async def extend(
        self, queue: str, extensions: Sequence[Extension], length: timedelta
    ) -> list[Extended | TocsinError]:
        """As JobStore.extend, of one queue."""
        written_lines: dict[int, Written] = {}

        def decide(at: int, job: Standing | None) -> Extended | TocsinError:
            extension = extensions[at]
            written_lines.pop(at, None)
            if not _is_of(job, extension.lease) or job is None or job.state is not State.ACTIVE:
                return _lost(extension.lease)
            if extension.log:
                written_lines[at] = _logged(job, extension)
            return _extended(job, extension, span(to_ms(length)))

        def written(at: int, job: Standing) -> bool:
            return _is_of(job, extensions[at].lease)

        answers = await self._commit.change(queue, [one.lease.job_id for one in extensions], decide, written=written)
        if written_lines:
            # By now the leases stand: one that was lost writes nothing.
            with unknown_after(True):
                await self._logs.add([written_lines[at] for at in sorted(written_lines)])
        return answers

    async def finish(self, queue: str, outcomes: Sequence[AttemptOutcome]) -> list[Finished | TocsinError]:
        """As JobStore.finish, of one queue."""
        rates = _Rates()
        if any(outcome.pause is not None for outcome in outcomes):
            await self._pause_limits(queue, [outcome for outcome in outcomes if outcome.pause is not None])

        def decide(at: int, job: Standing | None) -> Finished | TocsinError:
            outcome = outcomes[at]
            if job is None or not _is_of(job, outcome.lease):
                return _lost(outcome.lease)
            if job.state is not State.ACTIVE:
                return Finished(job.state, repeated=True)
            _end(job, outcome, rates)
            return Finished(job.state, repeated=False)

        def written(at: int, job: Standing) -> bool:
            return _is_of(job, outcomes[at].lease)

        ids = [one.lease.job_id for one in outcomes]
        return await self._commit.change(queue, ids, decide, rates=rates.taken, written=written)

    async def _pause_limits(self, queue: str, outcomes: Sequence[AttemptOutcome]) -> None:
        """Before the places of these attempts are free."""
        [settings] = await self._settings.read([queue])
        jobs = await self._jobs.load(queue, [outcome.lease.job_id for outcome in outcomes])
        held = [(jobs.get(outcome.lease.job_id), outcome) for outcome in outcomes]
        still = [(job, outcome) for job, outcome in held if job is not None and _runs(job, outcome.lease)]

        def halt(document: Document) -> bool:
            rooms = Rooms(settings.limits, document, max(job.now for job, _ in still))
            for job, outcome in still:
                key = limit_key_of(job)
                for limit in settings.limits:
                    if outcome.pause and limit.name == outcome.pause.limit and limit.covers(job.document["type"], key):
                        rooms.halt(limit, key, outcome.pause.span)
            document["rates"] = rooms.rates()
            return True

        if still:
            await self._places.change(queue, halt)

    async def reap(self, queue: str, limit: int) -> list[LostLease]:
        """As JobStore.reap."""
        found = await self._jobs.find(
            {"queue": queue, "state": int(State.ACTIVE), "lease": {"$lte": await self._clock.bound()}},
            sort=[("lease", 1)],
            limit=limit,
        )
        late = [job for job in found if job.document["lease"] <= job.now]
        rates = _Rates()
        for job in late:
            job.document.pop("token", None)  # a late result of this attempt is refused
            rates.count(job, "f")
            transitions.crashed(job, _LEASE_EXPIRED, limits.MAX_LEASES_LOST)
        lost = await self._commit.write(queue, late, rates=rates.taken())
        return [_taken_back(job) for job in late if job.document["id"] not in lost]


def _taken_back(job: Standing) -> LostLease:
    document = job.document
    return LostLease(document["id"], document["type"], document["attempt"], job.state)


def _is_of(job: Standing | None, lease: Lease) -> bool:
    """Whether the token is of the job's last attempt, whatever its state."""
    return job is not None and "token" in job.document and token_of(job.document) == lease.token


def _runs(job: Standing, lease: Lease) -> bool:
    """Whether it is the job's attempt that runs: what ended before did its part then."""
    return job.state is State.ACTIVE and _is_of(job, lease)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(lease.queue, lease.job_id, lease.attempt)


def _logged(job: Standing, extension: Extension) -> Written:
    document = job.document
    begins = "logged" not in document
    document["logged"] = True
    arrival, attempt = int(document["arrival"]), document["attempt"]
    return Written(document["queue"], document["id"], arrival, attempt, job.now, extension.log, begins)


def _extended(job: Standing, extension: Extension, length: timedelta) -> Extended:
    document = job.document
    document["lease"] = job.now + length
    reason, grace = None, None
    loud = False
    if job.cancel_asked:
        cancel = document["cancel"]
        until = cancel["asked"] + span(cancel["grace"])
        document["lease"] = min(document["lease"], until)
        if "delivered" not in cancel:
            document["cancel"] = {**cancel, "delivered": job.now}
            loud = True
        reason, grace = cancel["reason"], max(timedelta(0), until - job.now)
    if extension.progress is not None:
        fraction, message = extension.progress
        document["progress"] = {"fraction": float(fraction), "message": text(message), "time": job.now}
        loud = True
    if loud:
        transitions.changed(job)
    else:
        transitions.touch(job)
    return Extended(document["lease"], reason, grace)


def _end(job: Standing, outcome: AttemptOutcome, rates: _Rates) -> None:
    document = job.document
    if outcome.ending is Ending.CRASHED:
        rates.count(job, "f")
        transitions.crashed(job, outcome.error or JobError("", ""), limits.MAX_CRASHES)
        return
    document["crashes"] = 0
    if outcome.ending is Ending.COMPLETED:
        rates.count(job, "c")
        if outcome.result is not None:
            document["result"] = outcome.result
        transitions.end_as(job, State.COMPLETED)
        return
    asked = job.cancel_asked
    if outcome.ending is Ending.FAILED:
        rates.count(job, "f")
        document["failures"] += 1
        transitions.add_error(job, outcome.error or JobError("", ""))
    if asked:
        transitions.cancelled(job)
    elif outcome.ending is Ending.RELEASED:
        transitions.give_back(job)
    elif outcome.retry_in is not None:
        transitions.make_due(job, job.now + span(to_ms(outcome.retry_in)))
    else:
        transitions.end_as(job, State.FAILED)
