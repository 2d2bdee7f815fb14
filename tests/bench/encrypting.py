"""What encryption at rest costs: the same rounds on a server with a key ring and on one without, in turns.

The machine may be busy with other things, so that processor time is compared: of the server and its store together, for
each job.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from support.stubs import request
from tocsin.v1 import job_pb2
from tocsin_server.store.encrypting.keyring import create_keyring

from bench.bed import DATA, QUEUE, RedisBed, bed, flying
from bench.figures import Figure, Sample, over_rounds
from bench.measures import Round

PLAIN, ENCRYPTED = "clear", "encrypted"
_WARM = 5_000


@contextmanager
def _beds(folder: Path) -> Iterator[Mapping[str, RedisBed]]:
    with ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        create_keyring(folder / "keys.toml")
        ring = {"TOCSIN_ENCRYPTION__KEYRING_FILE": str(folder / "keys.toml")}
        yield {
            PLAIN: stack.enter_context(bed(folder / PLAIN)),
            ENCRYPTED: stack.enter_context(bed(folder / ENCRYPTED, env=ring)),
        }


async def compare(folder: Path, *, rounds: int, jobs: int, say: Callable[[str], None]) -> dict[str, Figure]:
    """Batch schedules, and no-op jobs run, of both."""
    with _beds(folder) as beds:
        return await in_turns(beds, rounds=rounds, jobs=jobs, say=say)


async def in_turns(
    beds: Mapping[str, RedisBed], *, rounds: int, jobs: int, calls: int = 0, say: Callable[[str], None]
) -> dict[str, Figure]:
    """Batch schedules, no-op jobs run and, where `calls` says how many, schedules by a call each, of all beds."""
    later, now = request(QUEUE, "noop", DATA, delay=3600), request(QUEUE, "noop", DATA)
    found: list[Round] = []
    for here in beds.values():
        await here.batches([later] * _WARM)
    for number in range(rounds):
        say(f"round {number + 1}")
        one: Round = {}
        # Who comes first has a colder machine; so each is it in turn.
        for name in list(beds) if number % 2 else reversed(list(beds)):
            here = beds[name]
            if calls:
                with here.span(calls) as span:
                    await flying(64, [lambda here=here: here.jobs.ScheduleJob(later)] * calls)
                one[f"unary schedules/s, {name}"] = span.rate
            with here.span(jobs) as span:
                await here.batches([later] * jobs)
            one[f"batch schedules/s, {name}"] = span.rate
            await here.pause(True)
            await here.batches([now] * jobs)
            before = await here.completed()
            with here.span(jobs) as span:
                await here.pause(False)
                await here.until_completed(before + jobs)
            one[f"no-op jobs run/s, {name}"] = span.rate
            await here.empty(job_pb2.Job.State.SCHEDULED, job_pb2.Job.State.COMPLETED)
        found.append(one)
    return over_rounds(found)


def cost(sample: Sample) -> float:
    """Microseconds of processor time for each job, of server and store."""
    return (sample.server_us or 0.0) + (sample.store_us or 0.0)


def ratio(figures: Mapping[str, Figure], what: str, names: Sequence[str] = (PLAIN, ENCRYPTED)) -> float:
    """How many jobs of the second are done in the processor time of one of the first."""
    first, second = (statistics.median(cost(sample) for sample in figures[f"{what}, {name}"].samples) for name in names)
    return first / second


def costs_of(figure: Figure) -> str:
    server, store = figure.median_of(lambda one: one.server_us) or 0, figure.median_of(lambda one: one.store_us) or 0
    return f"{statistics.median(map(cost, figure.samples)):.1f} ({server:.1f} + {store:.1f})"


def markdown(about: Mapping[str, Any], figures: Mapping[str, Figure], names: Sequence[str] = (PLAIN, ENCRYPTED)) -> str:
    """A table: costs in medians, and their ratio."""
    machine = ", ".join(f"{name} {value}" for name, value in about.items())
    head = "".join(f"| {name}, µs a job (server + store) " for name in names)
    lines = [machine, "", f"| {head}| ratio |", "|---|---|---|---|"]
    for what in ("unary schedules/s", "batch schedules/s", "no-op jobs run/s"):
        of_both = [figures[each] for name in names if (each := f"{what}, {name}") in figures]
        if of_both:
            lines.append(f"| {what} | {' | '.join(map(costs_of, of_both))} | {ratio(figures, what, names):.2f} |")
    return "\n".join(lines) + "\n"
