"""What limits, turns and other conditions of jobs cost: the same rounds on servers whose queue has nothing, or one of
them, in turns. None is ever full, so that what is paid is the asking. Processor time is compared, as in encrypting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from support.stubs import Request, request
from tocsin.v1 import conditions_pb2, job_pb2, queue_pb2, queue_service_pb2

from bench.bed import DATA, QUEUE, RedisBed, bed
from bench.encrypting import cost, costs_of
from bench.figures import Figure, over_rounds
from bench.measures import Round

_KEYS = 1000
_WARM = 5_000
_ROOM = 100_000
Limit = queue_pb2.Limit


def _limit(scope: int, *, type: str = "", rate: bool = False) -> Limit:
    said = Limit(name="price", scope=scope, type=type)  # type: ignore[arg-type]
    if rate:
        said.rate.jobs, said.rate.burst = 1_000_000, 1_000_000
        said.rate.per.FromTimedelta(timedelta(seconds=1))
    else:
        said.max_active = _ROOM
    return said


@dataclass(frozen=True, slots=True)
class Priced:
    """What a queue has, and its jobs. `beside`: the name of what it is compared with."""

    name: str
    beside: str = ""
    limits: tuple[Limit, ...] = ()
    fair_turns: bool = False
    keys: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)  # of each job's spec

    def jobs(self, count: int) -> list[Request]:
        """Jobs that are due now."""
        if not self.keys:
            return [request(QUEUE, "noop", DATA, **self.more)] * count
        of_keys = [request(QUEUE, "noop", DATA, limit_key=f"customer-{n}", **self.more) for n in range(_KEYS)]
        return [of_keys[n % _KEYS] for n in range(count)]


NOTHING, KEYED = "nothing", f"{_KEYS:,} keys, nothing asked of them"
PRICED = (
    Priced(NOTHING),
    Priced("max_active of the queue", NOTHING, (_limit(Limit.QUEUE),)),
    Priced("max_active of a type", NOTHING, (_limit(Limit.TYPE, type="noop"),)),
    Priced("rate of the queue", NOTHING, (_limit(Limit.QUEUE, rate=True),)),
    Priced("expire", NOTHING, more={"expire": conditions_pb2.Expire(after_due={"seconds": 3600})}),
    Priced(KEYED, NOTHING, keys=True),
    Priced(f"max_active of {_KEYS:,} keys", KEYED, (_limit(Limit.KEY),), keys=True),
    Priced(f"rate of {_KEYS:,} keys", KEYED, (_limit(Limit.KEY, rate=True),), keys=True),
    Priced(f"fair turns of {_KEYS:,} keys", KEYED, fair_turns=True, keys=True),
)


@contextmanager
def _beds(folder: Path) -> Iterator[Mapping[str, RedisBed]]:
    with ExitStack() as stack:
        yield {one.name: stack.enter_context(bed(folder / f"bed{n}")) for n, one in enumerate(PRICED)}


async def compare(folder: Path, *, rounds: int, jobs: int, say: Callable[[str], None]) -> dict[str, Figure]:
    """Batch schedules, and no-op jobs run, of each."""
    found: list[Round] = []
    with _beds(folder) as beds:
        for one in PRICED:
            queue = queue_pb2.Queue(queue=QUEUE, limits=one.limits, fair_turns=one.fair_turns)
            await beds[one.name].queues.UpdateQueue(
                queue_service_pb2.UpdateQueueRequest(queue=queue, update_mask={"paths": ["limits", "fair_turns"]})
            )
            await _round(beds[one.name], one, _WARM)
        for number in range(rounds):
            say(f"round {number + 1}")
            this: Round = {}
            # Who comes first has a colder machine; so each is it in turn.
            start = number % len(PRICED)
            for one in (*PRICED[start:], *PRICED[:start]):
                this |= await _round(beds[one.name], one, jobs)
            found.append(this)
    return over_rounds(found)


async def _round(here: RedisBed, one: Priced, jobs: int) -> Round:
    asked = one.jobs(jobs)
    await here.pause(True)
    with here.span(jobs) as scheduled:
        await here.batches(asked)
    before = await here.completed()
    with here.span(jobs) as run:
        await here.pause(False)
        await here.until_completed(before + jobs)
    await here.empty(job_pb2.Job.State.COMPLETED)
    return {f"batch schedules/s, {one.name}": scheduled.rate, f"no-op jobs run/s, {one.name}": run.rate}


def ratio(figures: Mapping[str, Figure], what: str, one: Priced) -> float:
    """How many of its jobs are done in the processor time of one of those that it is compared with: the median over
    rounds, so that a slow minute of the machine is in both."""
    pairs = zip(figures[f"{what}, {one.beside}"].samples, figures[f"{what}, {one.name}"].samples, strict=True)
    ratios = sorted(cost(base) / cost(priced) for base, priced in pairs)
    return ratios[len(ratios) // 2]


def markdown(about: Mapping[str, Any], figures: Mapping[str, Figure]) -> str:
    """A table: costs in medians, and how they compare."""
    machine = ", ".join(f"{name} {value}" for name, value in about.items())
    lines = [
        machine,
        "",
        "| the queue has | batch schedules, µs a job (server + store) | no-op jobs run, µs a job (server + store) "
        "| beside | schedules, ratio | runs, ratio |",
        "|---|---|---|---|---:|---:|",
    ]
    for one in PRICED:
        scheduled, run = (
            costs_of(figures[f"{what}, {one.name}"]) for what in ("batch schedules/s", "no-op jobs run/s")
        )
        ratios = ["", ""]
        if one.beside:
            ratios = [f"{ratio(figures, what, one):.2f}" for what in ("batch schedules/s", "no-op jobs run/s")]
        lines.append(f"| {one.name} | {scheduled} | {run} | {one.beside} | {' | '.join(ratios)} |")
    return "\n".join(lines) + "\n"
