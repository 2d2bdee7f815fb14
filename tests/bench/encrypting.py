"""What encryption at rest costs: the same rounds on a server with a key ring and on one without, in turns.

The machine may be busy with other things, so that processor time is compared: of the server and its store together, for
each job.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from support.stubs import request
from tocsin.v1 import job_pb2
from tocsin_server.store.encrypting.keyring import create_keyring

from bench.bed import DATA, QUEUE, RedisBed, bed
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
    later, now = request(QUEUE, "noop", DATA, delay=3600), request(QUEUE, "noop", DATA)
    found: list[Round] = []
    with _beds(folder) as beds:
        for here in beds.values():
            await here.batches([later] * _WARM)
        for number in range(rounds):
            say(f"round {number + 1}")
            one: Round = {}
            # Who comes first has a colder machine; so each is it in turn.
            for name in (PLAIN, ENCRYPTED) if number % 2 else (ENCRYPTED, PLAIN):
                here = beds[name]
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


def ratio(figures: Mapping[str, Figure], what: str) -> float:
    """How many encrypted jobs are done in the processor time of one that is clear."""
    clear, encrypted = (
        statistics.median(cost(sample) for sample in figures[f"{what}, {name}"].samples) for name in (PLAIN, ENCRYPTED)
    )
    return clear / encrypted


def _costs(figure: Figure) -> str:
    server, store = figure.median_of(lambda one: one.server_us) or 0, figure.median_of(lambda one: one.store_us) or 0
    return f"{statistics.median(map(cost, figure.samples)):.1f} ({server:.1f} + {store:.1f})"


def markdown(about: Mapping[str, Any], figures: Mapping[str, Figure]) -> str:
    """A table: costs in medians, and their ratio."""
    machine = ", ".join(f"{name} {value}" for name, value in about.items())
    head = "| | clear, µs a job (server + store) | encrypted, µs a job (server + store) | ratio |"
    lines = [machine, "", head, "|---|---|---|---|"]
    for what in ("batch schedules/s", "no-op jobs run/s"):
        of_both = [figures[f"{what}, {name}"] for name in (PLAIN, ENCRYPTED)]
        lines.append(f"| {what} | {' | '.join(map(_costs, of_both))} | {ratio(figures, what):.2f} |")
    return "\n".join(lines) + "\n"
