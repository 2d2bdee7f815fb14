"""What is measured of each system: a function fills in the figures of one work, once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.figures import Sample, percentile
from bench.peers.protocol import Trouble
from bench.peers.session import Session

Found = dict[str, Sample]
_DAYS = 6 * 86_400_000  # Dramatiq takes no more than seven
_A_QUESTION = 50_000  # jobs, for each question has its time


@dataclass(frozen=True, slots=True)
class PeerSizes:
    """How many of each; the same for every system."""

    bulk: int = 50_000
    single: int = 20_000
    run: int = 20_000
    starts: int = 200
    due: int = 500
    cancels: int = 5_000
    memory: int = 20_000
    warm: int = 1_000
    callers: int = 100
    ahead: float = 2.0  # seconds until the jobs are due that are due at once
    starts_before: int = 10  # starts that are not counted


PEERS_QUICK = PeerSizes(5_000, 2_000, 2_000, 20, 100, 500, 2_000, 200)


def bulk(session: Session, sizes: PeerSizes) -> Found:
    """Jobs added by the call that takes many, 1,000 a call, four calls at a time; all is made before that can be."""
    session.client.prepare("bulk", jobs=sizes.bulk, batch=1_000, in_flight=4, warm=sizes.warm)
    with session.span(sizes.bulk) as span:
        session.client.go()
        session.client.done()
    _expect(session, sizes.warm + sizes.bulk)
    return {"bulk schedules/s": span.rate}


def plain(session: Session, sizes: PeerSizes) -> Found:
    """The same from plain values, which is what the peers' calls take anyway."""
    session.client.prepare("plain", jobs=sizes.bulk, batch=1_000, in_flight=4, warm=sizes.warm)
    with session.span(sizes.bulk) as span:
        session.client.go()
        session.client.done()
    _expect(session, sizes.warm + sizes.bulk)
    return {"bulk schedules/s, schedule_many": span.rate}


def single(session: Session, sizes: PeerSizes, suffix: str = "") -> Found:
    """Jobs added one a call, by 100 callers of one client."""
    before = session.count() if suffix else 0
    session.client.prepare("single", jobs=sizes.single, callers=sizes.callers, warm=sizes.warm)
    with session.span(sizes.single) as span:
        session.client.go()
        session.client.done()
    _expect(session, before + sizes.warm + sizes.single)
    return {f"single schedules/s{suffix}": span.rate}


def run(session: Session, sizes: PeerSizes) -> Found:
    """No-op jobs run by one process from a queue that was filled before, from the first tenth's end to the last start.

    The first tenth is a warm-up: some languages compile as they go. Processor time is that of the whole run.
    """
    session.client.ask("fill", jobs=sizes.run, due=None)
    return _drained(session, sizes, "")


def _drained(session: Session, sizes: PeerSizes, suffix: str) -> Found:
    skip = sizes.run // 10
    with session.span(sizes.run) as span:
        session.begin(rate=True)
        times = session.worker.ask("collect", jobs=sizes.run, skip=skip)
    rate = (sizes.run - 1 - skip) * 1000 / (times["last"] - times["from"])
    return {f"no-op jobs run/s{suffix}": Sample(rate, span.rate.server_us, span.rate.store_us)}


def starts(session: Session, sizes: PeerSizes) -> Found:
    """Schedule to start on an idle system, one job at a time: from before the call to the handler's first line."""
    session.begin()
    waits = []
    for number in range(sizes.starts_before + sizes.starts):
        wait = _started_one(session)
        if number >= sizes.starts_before:
            waits.append(wait)
        time.sleep(random.uniform(0.005, 0.025))  # idle again, and not in step with those that look at intervals
    return {
        "schedule to start, idle, p50 ms": Sample(percentile(waits, 0.5)),
        "schedule to start, idle, p99 ms": Sample(percentile(waits, 0.99)),
    }


def _started_one(session: Session) -> float:
    session.worker.prepare("collect", jobs=1)
    session.worker.go()
    asked: float = session.client.ask("one")["asked"]
    [started] = session.worker.done()["times"]
    return float(started) - asked


def due_at_once(session: Session, sizes: PeerSizes) -> Found:
    """How late jobs start that are all due at one time, 2 s after they were added."""
    session.begin()
    _started_one(session)  # the worker is up
    due = float(int((time.time() + sizes.ahead) * 1000))
    session.client.ask("fill", jobs=sizes.due, due=due)
    if time.time() * 1000 > due:
        raise Trouble(f"adding {sizes.due} jobs took longer than the time ahead")
    late = [at - due for at in session.worker.ask("collect", jobs=sizes.due)["times"]]
    return {
        "due at once, late p50 ms": Sample(percentile(late, 0.5)),
        "due at once, late p99 ms": Sample(percentile(late, 0.99)),
        "due at once, started early": Sample(sum(wait < 0 for wait in late)),
        "due at once, earliest ms": Sample(min(late)),
    }


def cancel(session: Session, sizes: PeerSizes) -> Found:
    """Jobs cancelled or removed that were due later, one a call, by 100 callers."""
    session.client.prepare("cancel", jobs=sizes.cancels, callers=sizes.callers)
    with session.span(sizes.cancels) as span:
        session.client.go()
        session.client.done()
    _expect(session, 0)
    return {"cancels/s": span.rate}


def cancel_many(session: Session, sizes: PeerSizes) -> Found:
    """The same by the call that takes many, 1,000 a call."""
    session.client.prepare("cancel_many", jobs=sizes.cancels, batch=1_000, in_flight=4)
    with session.span(sizes.cancels) as span:
        session.client.go()
        session.client.done()
    _expect(session, 0)
    return {"cancels/s, batches": span.rate}


def memory(session: Session, sizes: PeerSizes) -> Found:
    """Bytes in Redis for each waiting job: what its memory grew by since it was empty."""
    session.client.ask("fill", jobs=sizes.memory, due=None)
    return {"bytes in Redis a waiting job": Sample((session.memory() - session.empty) / sizes.memory)}


def standing(session: Session, sizes: PeerSizes, others: int) -> Found:
    """Single schedules, and running what they left, beside so many jobs that are due in some days."""
    suffix = f", {others:,} standing"
    for start in range(0, others, _A_QUESTION):
        session.client.ask("fill", jobs=min(_A_QUESTION, others - start), due=time.time() * 1000 + _DAYS)
    return single(session, sizes, suffix) | _drained(session, sizes, suffix)


@dataclass(frozen=True, slots=True)
class Work:
    """A work, and the question by which a system may say that it cannot."""

    name: str
    measure: Callable[[Session, PeerSizes], Found]
    question: str
    working: bool = False  # jobs are run in it
    tocsin_alone: bool = False


WORKS = [
    Work("bulk schedules", bulk, "bulk"),
    Work("bulk schedules from plain values", plain, "plain", tocsin_alone=True),
    Work("single schedules", single, "single"),
    Work("no-op jobs", run, "work", working=True),
    Work("schedule to start", starts, "one", working=True),
    Work("due at once", due_at_once, "due", working=True),
    Work("cancels", cancel, "cancel"),
    Work("cancels in batches", cancel_many, "cancel_many", tocsin_alone=True),
    Work("memory", memory, "fill"),
]


def beside(others: int) -> Work:
    """Single schedules and no-op jobs beside so many others."""
    return Work(f"{others:,} standing", partial(standing, others=others), "standing", working=True)


def _expect(session: Session, jobs: int) -> None:
    if (found := session.count()) != jobs:
        raise Trouble(f"{found:,} jobs wait where {jobs:,} should")
