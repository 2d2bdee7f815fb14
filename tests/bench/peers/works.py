"""What is measured of each system: a function fills in the figures of one work, once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.figures import Sample, percentile
from bench.peers.protocol import Trouble
from bench.peers.session import Session

Found = dict[str, Sample]
_YEAR = 365 * 86_400_000


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


PEERS_QUICK = PeerSizes(5_000, 2_000, 2_000, 20, 100, 500, 2_000, 200)


def bulk(session: Session, sizes: PeerSizes, suffix: str = "") -> Found:
    """Jobs added by the call that takes many, 1,000 a call, four calls at a time; all is made before that can be."""
    before = session.count() if suffix else 0
    session.client.prepare("bulk", jobs=sizes.bulk, batch=1_000, in_flight=4, warm=sizes.warm)
    with session.span(sizes.bulk) as span:
        session.client.go()
        session.client.done()
    _expect(session, before + sizes.warm + sizes.bulk)
    return {f"bulk schedules/s{suffix}": span.rate}


def single(session: Session, sizes: PeerSizes, suffix: str = "") -> Found:
    """Jobs added one a call, by 100 callers of one client."""
    before = session.count() if suffix else 0
    session.client.prepare("single", jobs=sizes.single, callers=sizes.callers, warm=sizes.warm)
    with session.span(sizes.single) as span:
        session.client.go()
        session.client.done()
    _expect(session, before + sizes.warm + sizes.single)
    return {f"single schedules/s{suffix}": span.rate}


def run(session: Session, sizes: PeerSizes, suffix: str = "") -> Found:
    """No-op jobs run by one process from a queue that was filled before, from the first tenth's end to the last start.

    The first tenth is a warm-up: some languages compile as they go. Processor time is that of the whole run.
    """
    session.client.ask("fill", jobs=sizes.run, due=None)
    skip = sizes.run // 10
    with session.span(sizes.run) as span:
        session.begin()
        times = session.worker.ask("collect", jobs=sizes.run, skip=skip)
    rate = (sizes.run - 1 - skip) * 1000 / (times["last"] - times["from"])
    return {f"no-op jobs run/s{suffix}": Sample(rate, span.rate.server_us, span.rate.store_us)}


def starts(session: Session, sizes: PeerSizes) -> Found:
    """Schedule to start on an idle system, one job at a time: from before the call to the handler's first line."""
    session.begin()
    waits = []
    for number in range(sizes.starts + 10):
        session.worker.prepare("collect", jobs=1)
        session.worker.go()
        asked = session.client.ask("one")["asked"]
        [started] = session.worker.done()["times"]
        if number >= 10:
            waits.append(started - asked)
        time.sleep(random.uniform(0.005, 0.025))  # idle again, and not in step with those that look at intervals
    return {
        "schedule to start, idle, p50 ms": Sample(percentile(waits, 0.5)),
        "schedule to start, idle, p99 ms": Sample(percentile(waits, 0.99)),
    }


def due_at_once(session: Session, sizes: PeerSizes) -> Found:
    """How late jobs start that are all due at one time, 2 s after they were added."""
    session.begin()
    due = float(int((time.time() + sizes.ahead) * 1000))
    session.client.ask("fill", jobs=sizes.due, due=due)
    if time.time() * 1000 > due:
        raise Trouble(f"adding {sizes.due} jobs took longer than the time ahead")
    late = [at - due for at in session.worker.ask("collect", jobs=sizes.due)["times"]]
    return {
        f"{sizes.due} due at once, late p50 ms": Sample(percentile(late, 0.5)),
        f"{sizes.due} due at once, late p99 ms": Sample(percentile(late, 0.99)),
        f"{sizes.due} due at once, started early": Sample(sum(wait < 0 for wait in late)),
        f"{sizes.due} due at once, earliest ms": Sample(min(late)),
    }


def cancel(session: Session, sizes: PeerSizes) -> Found:
    """Jobs cancelled or removed that were due later, one a call, by 100 callers."""
    session.client.prepare("cancel", jobs=sizes.cancels, callers=sizes.callers)
    with session.span(sizes.cancels) as span:
        session.client.go()
        session.client.done()
    _expect(session, 0)
    return {"cancels/s": span.rate}


def memory(session: Session, sizes: PeerSizes) -> Found:
    """Bytes in Redis for each waiting job: what `used_memory` grew by."""
    session.client.ask("fill", jobs=1_000, due=None)
    before = session.memory()
    session.client.ask("fill", jobs=sizes.memory, due=None)
    return {"bytes in Redis a waiting job": Sample((session.memory() - before) / sizes.memory)}


def standing(session: Session, sizes: PeerSizes, others: int) -> Found:
    """The hot work again beside so many jobs that are due in a year."""
    suffix = f", {others:,} standing"
    year = time.time() * 1000 + _YEAR
    for start in range(0, others, 50_000):  # each a question of its own, which has its time
        session.client.ask("fill", jobs=min(50_000, others - start), due=year)
    found = single(session, sizes, suffix) | run(session, sizes, suffix)
    return found


@dataclass(frozen=True, slots=True)
class Work:
    """A work, and the question by which a system may say that it cannot."""

    name: str
    measure: Callable[[Session, PeerSizes], Found]
    question: str
    working: bool = False


WORKS = [
    Work("bulk schedules", bulk, "bulk"),
    Work("single schedules", single, "single"),
    Work("no-op jobs", run, "work", working=True),
    Work("schedule to start", starts, "one", working=True),
    Work("due at once", due_at_once, "due", working=True),
    Work("cancels", cancel, "cancel"),
    Work("memory", memory, "fill"),
]


def _expect(session: Session, jobs: int) -> None:
    if (found := session.count()) != jobs:
        raise Trouble(f"{found:,} jobs wait where {jobs:,} should")
