"""Every metric of the server by its name, and what counts them. docs/metrics.md lists the same.

What stands in the store is the same from each server: of several take the maximum, not the sum. All else is this
server's own since its start. No label holds what callers write into jobs; types, queues and methods are bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain

from tocsin_server.domain.lease import Claimed, Ending, LostLease
from tocsin_server.telemetry.instruments import Counter, Family, Label, Timings
from tocsin_server.telemetry.round_trips import BOUNDS as TRIP_BOUNDS

_SAME = "The same from each server: take the maximum, not the sum."

#: Types that are told apart; further ones are counted as `other`.
TYPES = 500

#: Queues that are told apart by histograms, which have a dozen lines each. Other metrics tell [metrics] queues apart.
HISTOGRAM_QUEUES = 500

# --- what stands in the store ---

JOBS = Family("tocsin_jobs", "gauge", f"Jobs that stand, by state. {_SAME}", ("queue", "type", "state"))
OLDEST_DUE = Family(
    "tocsin_queue_oldest_due_age_seconds",
    "gauge",
    f"For how long the job that has been due longest has waited; 0 where none waits. {_SAME}",
    ("queue",),
)
QUEUES = Family("tocsin_queues", "gauge", f"Queues that are there. {_SAME}")
LIMIT_ACTIVE = Family(
    "tocsin_limit_active",
    "gauge",
    f"Places of a limit, of a queue or a type, that are taken. {_SAME}",
    ("queue", "limit"),
)
LIMIT_MAX = Family("tocsin_limit_max", "gauge", f"Places that such a limit has. {_SAME}", ("queue", "limit"))
LIMIT_HELD_KEYS = Family(
    "tocsin_limit_held_keys",
    "gauge",
    f"Keys, of each type, whose jobs wait for a limit: a place or a rate. {_SAME}",
    ("queue",),
)
FIGURES_PENDING = Family(
    "tocsin_queues_to_read", "gauge", "Queues that have changed since their figures were read by this server."
)

# --- attempts ---

ATTEMPTS = Family(
    "tocsin_attempts_total",
    "counter",
    "Attempts of which this server recorded the end: COMPLETED, FAILED, RELEASED (given back), CRASHED (its process "
    "died), LOST (its lease ran out).",
    ("queue", "type", "outcome"),
)
WAITING = Family(
    "tocsin_job_waiting_seconds", "histogram", "From a job's being due to its attempt's being leased.", ("queue",)
)
LATENESS = Family(
    "tocsin_job_lateness_seconds",
    "histogram",
    "The same of jobs alone whose time was set ahead, and of retries: how much later than asked they begin.",
    ("queue",),
)
RUN = Family("tocsin_attempt_seconds", "histogram", "From an attempt's being leased to its end.", ("type",))
UNRECORDED = Family(
    "tocsin_outcomes_unrecorded", "gauge", "Attempts that have ended here and whose ends the store has not taken yet."
)

# --- who runs them ---

SLOTS = Family(
    "tocsin_slots", "gauge", "Attempts that this server's own handlers, or its requests, run at once.", ("part",)
)
SLOTS_BUSY = Family("tocsin_slots_busy", "gauge", "Attempts that they run.", ("part",))
SLOTS_ABANDONED = Family(
    "tocsin_slots_abandoned", "gauge", "Handlers that were told to stop and did not; each holds a slot.", ("part",)
)
WORKERS = Family("tocsin_workers", "gauge", "Worker processes that stream from this server, or called it lately.")
CREDITS = Family("tocsin_worker_credits", "gauge", "Further jobs that those workers' streams would take now.")
WORKER_ATTEMPTS = Family("tocsin_worker_attempts", "gauge", "Attempts that those workers hold.")

# --- calls ---

CALLS = Family("tocsin_calls_total", "counter", "Calls that have ended.", ("method", "code"))
CALL_SECONDS = Family(
    "tocsin_call_seconds", "histogram", "How long calls took that are answered once, without waiting.", ("method",)
)
OPEN_CALLS = Family(
    "tocsin_open_calls",
    "gauge",
    "Calls that are open: unary ones, watches, workers' streams and polls, exports and imports (transfer).",
    ("kind",),
)

# --- the store ---

TRIPS = Family("tocsin_store_round_trip_seconds", "histogram", "How long the store took to answer a command.")
STORE_ERRORS = Family(
    "tocsin_store_errors_total",
    "counter",
    "Commands that the store did not answer (StoreAway, OutcomeUnknown) or had no room for (StoreFull).",
    ("error",),
)
STORE_SILENCE = Family("tocsin_store_silence_seconds", "gauge", "Since when the store has answered no tick.")
MENDED = Family(
    "tocsin_store_mended_total", "counter", "What the store's cross-check found wrong and mended.", ("what",)
)

# --- schedules and chores ---

FIRED = Family("tocsin_schedule_fires_total", "counter", "Jobs that schedules made.", ("queue",))
MISSED = Family(
    "tocsin_schedule_misses_total", "counter", "Times of schedules that passed without a job of their own.", ("queue",)
)
CHORE_STEPS = Family("tocsin_chore_steps_total", "counter", "Steps of the store's chores.", ("chore",))
CHORE_FAILURES = Family("tocsin_chore_failures_total", "counter", "Steps that failed.", ("chore",))
CHORE_BUSY = Family("tocsin_chore_busy_seconds_total", "counter", "Time spent in steps.", ("chore",))

# --- this process ---

LOOP_LAG = Family(
    "tocsin_loop_lag_seconds",
    "histogram",
    "How much later than asked loops come round, looked at twice a second: server (calls, claims, leases), handlers "
    "(the worst of the loops that run async handlers).",
    ("loop",),
)
READY = Family("tocsin_ready", "gauge", "1 where health says SERVING, else 0.")
INFO = Family("tocsin_build_info", "gauge", "1, with the server's version.", ("version",))

_WAITING_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
_LATENESS_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0)
_RUN_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
_CALL_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
_LAG_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_LOST = "LOST"
_OUTCOMES = ("", *(ending.name for ending in sorted(Ending)))  # by number: an enum's hash takes as long as all else


class Metrics:
    """What this server counts by itself. queues: how many are told apart.

    `started` and `ended` are called for each job, and take about a microsecond of it together.
    """

    def __init__(self, queues: int = 1_000) -> None:
        self._queues, self._types = Label(queues), Label(TYPES)
        self._histogram_queues, self._histogram_types = Label(HISTOGRAM_QUEUES), Label(TYPES)
        self.attempts = Counter(ATTEMPTS)
        self.waiting, self.lateness = Timings(WAITING, _WAITING_BOUNDS), Timings(LATENESS, _LATENESS_BOUNDS)
        self.run = Timings(RUN, _RUN_BOUNDS)
        self._run_rows: dict[str, list[float]] = {}  # by type, of those that are told apart
        self.calls, self.call_seconds = Counter(CALLS), Timings(CALL_SECONDS, _CALL_BOUNDS)
        self.open_calls: dict[str, int] = {}
        self.fired, self.missed = Counter(FIRED), Counter(MISSED)
        self.loop_lag = Timings(LOOP_LAG, _LAG_BOUNDS)

    def started(self, claimed: Iterable[Claimed]) -> None:
        """Attempts were leased here."""
        queue: str | None = None
        for one in claimed:
            job = one.job
            due = job.schedule_time
            if job.start_time is None:
                continue
            if job.spec.queue != queue:  # all are of one queue, nearly always
                queue = job.spec.queue
                label = self._histogram_queues.of(queue)
                waiting, lateness = self.waiting.row(label), self.lateness.row(label)
            waited = (job.start_time - due).total_seconds()
            waiting[bisect_left(_WAITING_BOUNDS, waited)] += 1
            waiting[-1] += waited
            if due != job.create_time:
                lateness[bisect_left(_LATENESS_BOUNDS, waited)] += 1
                lateness[-1] += waited

    def ended(self, queue: str, type_: str, ending: Ending, took: float) -> None:
        """An attempt's end was recorded, which was leased `took` seconds before."""
        values, labels = self.attempts.values, (queue, type_, _OUTCOMES[ending])
        if labels in values:
            values[labels] += 1
        else:
            self._count(*labels)
        row = self._run_rows.get(type_)
        if row is None:
            row = self._run_row(type_)
        row[bisect_left(_RUN_BOUNDS, took)] += 1
        row[-1] += took

    def lost(self, queue: str, leases: Iterable[LostLease]) -> None:
        """Leases that ran out were taken back."""
        for one in leases:
            self._count(queue, one.type, _LOST)

    def schedules_acted(self, queue: str, *, fired: int, missed: int) -> None:
        """Schedules of the queue made so many jobs, and left out so many times."""
        if fired:
            self.fired.add(self._queues.of(queue), by=fired)
        if missed:
            self.missed.add(self._queues.of(queue), by=missed)

    def lines(self) -> Iterator[str]:
        """All of it."""
        yield from chain.from_iterable(
            one.lines()
            for one in (
                *(self.attempts, self.waiting, self.lateness, self.run),
                *(self.calls, self.call_seconds, self.fired, self.missed, self.loop_lag),
            )
        )
        yield from OPEN_CALLS.lines(((kind,), count) for kind, count in self.open_calls.items())

    def _run_row(self, type_: str) -> list[float]:
        label = self._histogram_types.of(type_)
        row = self.run.row(label)
        if label == type_:
            self._run_rows[type_] = row
        return row

    def _count(self, queue: str, type_: str, outcome: str) -> None:
        self.attempts.add(self._queues.of(queue), self._types.of(type_), outcome)


def trips(row: list[float]) -> Iterator[str]:
    """The histogram of a store's round trips, as RoundTrips counts them."""
    histogram = Timings(TRIPS, TRIP_BOUNDS)
    histogram.rows[()] = row
    return histogram.lines()
