"""What open dashboards cost: no-op jobs run with and without many open streams of the overview, in turns, on one
server.

They are read in this process, as bytes alone: what a browser does with them is not the server's.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.ports import free_port
from support.stubs import request
from tocsin.v1 import job_pb2

from bench.bed import DATA, QUEUE, Bed, bed
from bench.encrypting import costs_of, ratio
from bench.figures import Figure, Sample, over_rounds
from bench.measures import Round

_WHAT, NONE, OPEN = "no-op jobs run/s", "none open", "open"
_PICTURES = "pictures of each in a run"
_ASK = b"GET /live/overview HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: Seconds in which all are open, and queues beside that of the jobs, for something to be drawn.
_WITHIN, _QUEUES = 60.0, 50


class OpenDashboards:
    """Streams of the overview, and how many pictures came on each."""

    def __init__(self, port: int, number: int) -> None:
        self._port = port
        self.pictures = [0] * number
        self.drawn = asyncio.Event()  # each has had its first
        if not number:
            self.drawn.set()
        self._ended = 0

    async def read(self, place: int) -> None:
        """Read one, until it is cancelled."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(_ASK)
            while line := await reader.readline():
                if line == b"event: picture\n":
                    self.pictures[place] += 1
                    if all(self.pictures):
                        self.drawn.set()
        finally:
            writer.close()
        self._ended += 1

    def check(self) -> None:
        """RuntimeError where one has ended, or never had a picture: it was refused."""
        if self._ended or not all(self.pictures):
            raise RuntimeError(f"{self._ended} streams ended, {self.pictures.count(0)} had no picture")


async def compare(
    folder: Path, *, rounds: int, jobs: int, number: int, say: Callable[[str], None]
) -> dict[str, Figure]:
    """Run it: `jobs` no-op jobs in each turn, beside none and beside `number` open dashboards. RuntimeError where not
    all of them stay open."""
    port = free_port()
    env = {"TOCSIN_WEB__LISTEN": f"127.0.0.1:{port}", "TOCSIN_WEB__STREAMS": str(number)}
    found: list[Round] = []
    with bed(folder / "dashboards", env=env) as here:
        for queue in range(_QUEUES):
            await here.batches([request(f"beside-{queue:02}", "noop", DATA, delay=3600)])
        await _run(here, max(jobs // 10, 1_000))  # so that nothing is done for the first time
        for turn in range(rounds):
            say(f"round {turn + 1}")
            one: Round = {}
            # Who comes first has a colder machine; so each is it in turn.
            for many in (0, number) if turn % 2 else (number, 0):
                async with _opened(port, many) as streams:
                    before = sum(streams.pictures)
                    one[f"{_WHAT}, {OPEN if many else NONE}"] = await _run(here, jobs)
                    if many:
                        streams.check()
                        one[_PICTURES] = Sample((sum(streams.pictures) - before) / many)
            found.append(one)
    return over_rounds(found)


@asynccontextmanager
async def _opened(port: int, number: int) -> AsyncIterator[OpenDashboards]:
    """So many, each with its first picture."""
    streams = OpenDashboards(port, number)
    tasks = [asyncio.create_task(streams.read(place)) for place in range(number)]
    try:
        async with asyncio.timeout(_WITHIN):
            await streams.drawn.wait()
        yield streams
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(here: Bed, jobs: int) -> Sample:
    await here.pause(True)
    await here.batches([request(QUEUE, "noop", DATA)] * jobs)
    before = await here.completed()
    with here.span(jobs) as span:
        await here.pause(False)
        await here.until_completed(before + jobs)
    await here.empty(job_pb2.Job.State.COMPLETED)
    return span.rate


def markdown(about: Mapping[str, Any], figures: Mapping[str, Figure], number: int) -> str:
    """Rates and costs in medians, and their ratios."""
    none, many = (figures[f"{_WHAT}, {name}"] for name in (NONE, OPEN))
    by_turn = [one.value / other.value for one, other in zip(many.samples, none.samples, strict=True)]
    lines = [
        ", ".join(f"{name} {value}" for name, value in about.items()),
        "",
        "| no-op jobs, beside | jobs/s | µs a job (server + store) |",
        "|---|---:|---:|",
        f"| no dashboard | {none.median:,.0f} | {costs_of(none)} |",
        f"| {number} open dashboards | {many.median:,.0f} | {costs_of(many)} |",
        "",
        f"Throughput beside {number} open dashboards, as a share of that beside none: {statistics.median(by_turn):.3f} "
        f"(median of {len(by_turn)} rounds, {min(by_turn):.3f}..{max(by_turn):.3f}); by processor time "
        f"{ratio(figures, _WHAT, (NONE, OPEN)):.3f}. Pictures that each had in a run: {figures[_PICTURES].median:.1f}.",
    ]
    return "\n".join(lines) + "\n"
