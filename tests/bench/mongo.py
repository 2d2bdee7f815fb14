"""Tocsin's Mongo store beside Agenda and beside bare pymongo, on one server, in one run."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from support.mongo_servers import MongoServer

from bench import measures
from bench.agenda import DATABASE, EVERY, NAME, PACKAGES, Agenda
from bench.commands import Spending, of_agenda, of_tocsin
from bench.figures import Sample, percentile
from bench.measures import Round
from bench.mongo_bed import MongoSizes, address, listing, mongo_bed, named, running
from bench.mongo_limits import limits
from bench.peers import having

Say = Callable[[str], None]
TOCSIN = "Tocsin"
_STREAMS = {"processEvery 5 s, change streams": {"streams": True}}
_WAYS: dict[str, dict[str, Any]] = {name: {"every": every} if every else {} for name, every in EVERY.items()}


class Mongo:
    """The server, what was measured on it, and what could not be."""

    def __init__(self, folder: Path, sizes: MongoSizes, say: Say) -> None:
        self._folder, self._sizes, self._say = folder, sizes, say
        self.rounds: list[Round] = []
        self.spendings: list[Spending] = []
        self.not_run: list[str] = []
        self.shortfalls: list[str] = []
        self.about: dict[str, str] = {}

    async def measure(self, rounds: int) -> None:
        """Start the server, measure so many rounds and the commands that each program sends, and stop it."""
        mongo = MongoServer(self._folder / "mongo")
        try:
            with MongoClient[dict[str, Any]](mongo.url) as client:
                status = client.admin.command("serverStatus")
            self.about = {"SecantusDB (not a mongod)": status["secantus"]["version"]}
            agenda = self._agenda(mongo)
            for number in range(rounds):
                self._say(f"round {number + 1}")
                self.rounds.append(await self._round(self._folder / f"round{number}", mongo, agenda, number))
            self._say("commands")
            self.spendings += await of_tocsin(self._folder / "commands", mongo, self._sizes)
            if agenda is not None:
                self.spendings += await asyncio.to_thread(of_agenda, agenda, mongo, self._sizes)
                self.shortfalls += agenda.shortfalls
        finally:
            mongo.stop()

    def _agenda(self, mongo: MongoServer) -> Agenda | None:
        try:
            agenda = Agenda(
                self._folder / "agenda",
                address(mongo.port, DATABASE),
                mongo.process.pid,
                within=self._sizes.within,
            )
            said = subprocess.run([having.program("node"), "--version"], capture_output=True, text=True, check=True)
        except having.NotHad as trouble:
            self.not_run.append(f"{NAME}: {trouble}")
            return None
        self.about |= PACKAGES
        self.about["node"] = said.stdout.strip().removeprefix("v")
        return agenda

    async def _round(self, folder: Path, mongo: MongoServer, agenda: Agenda | None, number: int) -> Round:
        found: Round = {}

        async def tocsin() -> None:
            self._say("  Tocsin")
            found.update(named(TOCSIN, await self._tocsin(folder, mongo)))

        async def other() -> None:
            if agenda is not None:
                self._say(f"  {NAME}")
                found.update(named("Agenda", await asyncio.to_thread(self._of_agenda, agenda)))

        # In turns, for the server grows slower as it grows older.
        for part in (tocsin, other) if number % 2 == 0 else (other, tocsin):
            await part()
        self._say("  limits")
        return {**found, **await asyncio.to_thread(limits, mongo, self._sizes.here.run)}

    async def _tocsin(self, folder: Path, mongo: MongoServer) -> Round:
        sizes = self._sizes.here
        found: Round = {}
        with mongo_bed(folder / "small", mongo) as bed:
            found |= await measures.starting(bed, sizes)
            found |= await measures.lateness(bed, sizes)
            found |= await running(bed, sizes.run)
        with mongo_bed(folder / "main", mongo) as bed:
            # In this order, for the server is slow in what stands: Agenda's jobs have a collection to themselves.
            found |= await measures.cancelling(bed, sizes)
            found |= await listing(bed, self._sizes)
            found |= await measures.scheduling(bed, sizes)
            found |= await measures.cancelling_batches(bed, sizes)
        if self._sizes.larger:
            with mongo_bed(folder / "larger", mongo) as bed:
                found |= await running(bed, self._sizes.larger, f", {self._sizes.larger:,} jobs")
        return found

    def _of_agenda(self, agenda: Agenda) -> Round:
        sizes, here = self._sizes, self._sizes.here
        found: Round = {
            "schedules/s": agenda.rate("schedule", here.unary),
            "cancels/s": agenda.rate("cancel", here.cancels),
            "cancels/s, all by one call": agenda.rate("cancel_all", here.cancels),
            "list pages of 100/s": agenda.rate("list", sizes.pages, standing=sizes.standing, page=100),
        }
        for name, asked in {**_WAYS, **_STREAMS}.items():
            found[f"no-op jobs run/s, {name}"] = agenda.rate("run", here.run, **asked)
        for name, asked in {**_WAYS, **_STREAMS}.items():
            every = asked.get("every", 5_000)
            slow = every == 5_000 and not asked.get("streams")
            jobs = sizes.slow_starts if slow else here.single
            if jobs:
                waits = agenda.waits("start", jobs, spread=200 if asked.get("streams") else every, **asked)
                found |= _waited(f"schedule to start, idle, {name}", waits)
        waits = agenda.waits("due", here.due, ahead=2_000, every=200)
        found |= _waited(f"{here.due} jobs due at once, late, processEvery 200 ms", waits)
        return found


def _waited(name: str, waits: list[float]) -> dict[str, Sample]:
    return {f"{name}, p50 ms": Sample(percentile(waits, 0.5)), f"{name}, max ms": Sample(max(waits, default=0.0))}
