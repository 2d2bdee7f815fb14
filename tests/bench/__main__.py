"""Measure Tocsin: `python tests/bench`, or one of the runs that `--help` lists. Markdown and JSON come out, and a plot
where peers were measured, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.redis_backend import RedisBackend
from tocsin.v1 import job_pb2

from bench import dashboards, encrypting, limits, measures, prices, report, securing
from bench.bed import bed
from bench.empty_claims import empty_claims
from bench.figures import Figure, Sample, over_rounds
from bench.herd import Check, herd
from bench.peers import plot, table
from bench.peers.turns import chosen, compare
from bench.peers.works import PEERS_QUICK, PeerSizes
from bench.schedules import schedules
from bench.scrapes import scrapes

State = job_pb2.Job.State


def say(text: str) -> None:
    """Progress, apart from the report."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def one_round(folder: Path, sizes: measures.Sizes) -> measures.Round:
    """All figures once, each group on a fresh store."""
    found: measures.Round = {}
    say("  limits")
    found |= await limits.echo(sizes.unary)
    found |= await limits.scripts(folder / "scripts", min(sizes.batch, 20_000))
    claim, finish = (found[f"limit: bare script {name}, jobs/s"] for name in ("claim", "finish"))
    costs = (claim.store_us or 0) + (finish.store_us or 0)
    both = 1 / (1 / claim.value + 1 / finish.value)
    found["limit: bare scripts claim and finish, jobs/s"] = Sample(both, None, costs)
    say("  scheduling, cancelling, running")
    with bed(folder / "main") as here:
        found |= await measures.starting(here, sizes)
        found |= await measures.lateness(here, sizes)
        found |= await measures.scheduling(here, sizes)
        found |= await measures.cancelling(here, sizes)
        found |= await measures.cancelling_batches(here, sizes)
        await here.empty(State.SCHEDULED, State.CANCELLED, State.COMPLETED)
        found |= await measures.running(here, sizes)
    say("  memory")
    with bed(folder / "memory", dispatch=False) as here:
        found |= await measures.memory(here, sizes)
    say(f"  beside {sizes.standing:,} others")
    with bed(folder / "standing") as here:
        await here.stand(sizes.standing)
        found |= await measures.scheduling(here, sizes, ", others standing")
        found |= await measures.running(here, sizes, ", others standing")
    return found


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, Figure]:
    """Figures over all rounds."""
    sizes = measures.QUICK if options.quick else measures.Sizes()
    rounds = []
    for number in range(options.rounds or (1 if options.quick else 3)):
        say(f"round {number + 1}")
        rounds.append(await one_round(folder / f"round{number}", sizes))
    return over_rounds(rounds)


@dataclass(frozen=True, slots=True)
class Output:
    """What a run gives: for people, for programs, and as a picture."""

    markdown: str
    plain: Mapping[str, Any]
    holds: bool = True
    svg: str = ""

    def and_then(self, other: Output) -> Output:
        """Both; what programs read of the other stands under "peers"."""
        markdown = f"{self.markdown}\n{other.markdown}"
        return Output(markdown, {**self.plain, "peers": other.plain}, self.holds and other.holds, other.svg)


async def _on_mongo(options: argparse.Namespace, folder: Path) -> Output:
    from bench import mongo, mongo_report  # needs pymongo and a server's wheel, which the rest does not
    from bench.mongo_bed import FULL, QUICK

    here = mongo.Mongo(folder, QUICK if options.quick else FULL, say)
    await here.measure(options.rounds or (1 if options.quick else 3))
    for trouble in here.not_run:
        say(f"NOT RUN: {trouble}")
    about = report.machine(here.about, ("tocsin", "grpcio", "pymongo", "uvloop"))
    said = {"not_run": here.not_run, "shortfalls": here.shortfalls}
    figures = over_rounds(here.rounds)
    return Output(
        mongo_report.markdown(about, figures, here.spendings, **said),
        mongo_report.plain(about, figures, here.spendings, **said),
    )


def _beside_peers(options: argparse.Namespace, folder: Path) -> Output:
    """Tocsin and the peers, in turns."""
    found = compare(
        folder / "peers",
        options.peers,
        rounds=options.rounds or (1 if options.quick else 3),
        sizes=PEERS_QUICK if options.quick else PeerSizes(),
        standing=options.standing,
        say=say,
    )
    about = report.machine({"redis": _redis_version(folder / "peers")}, ())
    return Output(table.markdown(found, about), table.plain(found, about), svg=plot.svg(found))


def _said(figures: Mapping[str, Figure], checks: Sequence[Check], folder: Path) -> Output:
    about = report.machine({"redis": _redis_version(folder)}, ("tocsin", "grpcio", "redis", "hiredis", "uvloop"))
    holds = all(check.holds for check in checks)
    return Output(report.markdown(about, figures, checks), report.plain(about, figures, checks), holds)


async def _on_redis(options: argparse.Namespace, folder: Path) -> Output:
    """The run on Redis but for the peers."""
    return _said(await measure(options, folder), [], folder)


async def _herd(options: argparse.Namespace, folder: Path) -> Output:
    due, standing, sizes = (50_000, 200_000, measures.Sizes())
    if options.quick:
        due, standing, sizes = (5_000, 20_000, measures.QUICK)
    return _said({}, await herd(folder, due=due, standing=standing, sizes=sizes), folder)


async def _schedules(options: argparse.Namespace, folder: Path) -> Output:
    due, idle, seconds = (2_000, 10_000, 5) if options.quick else (10_000, 100_000, 20)
    return _said({}, await schedules(folder, due=due, idle=idle, seconds=seconds), folder)


async def _metrics(options: argparse.Namespace, folder: Path) -> Output:
    queues, jobs = (500, 50_000) if options.quick else (10_000, 1_000_000)
    return _said({}, await scrapes(folder / "metrics", queues=queues, jobs=jobs), folder)


async def _empty_claims(options: argparse.Namespace, folder: Path) -> Output:
    calls = 1_000 if options.quick else 5_000
    return _said({}, await asyncio.to_thread(empty_claims, folder / "claims", calls), folder)


async def _encrypted(options: argparse.Namespace, folder: Path) -> Output:
    rounds = options.rounds or (2 if options.quick else 7)
    figures = await encrypting.compare(folder, rounds=rounds, jobs=4_000 if options.quick else 20_000, say=say)
    about = report.machine({"redis": _redis_version(folder)}, ("tocsin", "cryptography", "redis", "uvloop"))
    return Output(encrypting.markdown(about, figures), report.plain(about, figures, []))


async def _secured(options: argparse.Namespace, folder: Path) -> Output:
    rounds = options.rounds or (2 if options.quick else 7)
    figures = await securing.compare(folder, rounds=rounds, jobs=4_000 if options.quick else 20_000, say=say)
    about = report.machine({"redis": _redis_version(folder)}, ("tocsin", "grpcio", "redis", "uvloop"))
    return Output(securing.markdown(about, figures), report.plain(about, figures, []))


async def _priced(options: argparse.Namespace, folder: Path) -> Output:
    rounds = options.rounds or (1 if options.quick else 7)
    figures = await prices.compare(folder, rounds=rounds, jobs=4_000 if options.quick else 20_000, say=say)
    about = report.machine({"redis": _redis_version(folder)}, ("tocsin", "redis", "uvloop"))
    return Output(prices.markdown(about, figures), report.plain(about, figures, []))


async def _beside_dashboards(options: argparse.Namespace, folder: Path) -> Output:
    rounds, jobs, number = (2, 30_000, 20) if options.quick else (7, 100_000, 200)
    figures = await dashboards.compare(folder, rounds=options.rounds or rounds, jobs=jobs, number=number, say=say)
    about = report.machine({"redis": _redis_version(folder)}, ("tocsin", "grpcio", "redis", "starlette", "uvloop"))
    return Output(dashboards.markdown(about, figures, number), report.plain(about, figures, []))


def _redis_version(folder: Path) -> str:
    with RedisBackend(folder / "version") as redis:
        return str(redis.client.info("server")["redis_version"])


def _peers(names: str) -> Sequence[str]:
    try:
        return chosen(names)
    except ValueError as unknown:
        raise argparse.ArgumentTypeError(str(unknown)) from None


_Run = Callable[[argparse.Namespace, Path], Coroutine[Any, Any, Output]]

#: What can be run instead of the whole: its name, what it measures, and how.
_RUNS: Mapping[str, tuple[str, _Run]] = {
    "herd": ("the checks of 50,000 jobs due in one second", _herd),
    "schedules": ("the checks of 10,000 schedules due at once", _schedules),
    "metrics": ("what a scrape costs, of 1,000,000 jobs", _metrics),
    "empty-claims": ("what the short and the whole script for claims cost Redis", _empty_claims),
    "dashboards": ("what 200 open dashboards cost no-op jobs", _beside_dashboards),
    "mongo": ("the Mongo store beside Agenda, on SecantusDB", _on_mongo),
    "encryption": ("what encryption at rest costs", _encrypted),
    "security": ("what mutual TLS and tokens cost", _secured),
    "prices": ("what limits, turns and other conditions cost", _priced),
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, no peers: a minute")
    kind = parser.add_mutually_exclusive_group()
    for name, (what, _) in _RUNS.items():
        kind.add_argument(f"--{name}", action="store_const", const=name, dest="only", help=f"only {what}")
    kind.add_argument("--only-peers", action="store_true", help="only Tocsin beside the peers")
    parser.add_argument("--peers", type=_peers, help='other queues: "bull,saq", "none"; default all, with --quick none')
    parser.add_argument(
        "--standing", type=int, default=0, metavar="N", help="with peers: measure beside N jobs due later, too"
    )
    parser.add_argument("--rounds", type=int, help="default 3 to 7, with --quick 1 or 2")
    parser.add_argument(
        "--out", type=Path, help="folder for bench.md, .json and .svg (bench-mongo.*); default: stdout alone"
    )
    options = parser.parse_args()
    if options.peers is None:
        options.peers = chosen("none" if options.quick and not options.only_peers else "all")
    return options


def main() -> int:
    """Run it; 1 if a check does not hold."""
    options = _arguments()
    with suppress(ImportError):
        import uvloop

        uvloop.install()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        folder = Path(name)
        if options.only:
            output = asyncio.run(_RUNS[options.only][1](options, folder))
        elif options.only_peers:
            output = _beside_peers(options, folder)
        else:
            output = asyncio.run(_on_redis(options, folder))
            if options.peers:
                output = output.and_then(_beside_peers(options, folder))
    sys.stdout.write(output.markdown + "\n")
    if options.out:
        stem = f"bench-{options.only}" if options.only else "bench"
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{stem}.md").write_text(output.markdown)
        (options.out / f"{stem}.json").write_text(json.dumps(output.plain, indent=2))
        if output.svg:
            (options.out / f"{stem}.svg").write_text(output.svg)
    return 0 if output.holds else 1


if __name__ == "__main__":
    sys.exit(main())
