"""Agenda, the job queue for Node that Tocsin replaces, measured on the same server.

What is asked of it stands in agenda_driver.mjs.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from bench.bed import DATA
from bench.figures import Sample
from bench.peers import having

#: Its packages, at fixed versions.
PACKAGES: Mapping[str, str] = having.npm_versions("agenda", "@agendajs/mongo-backend")
NAME = f"Agenda {PACKAGES['agenda']}"
COLLECTION = "agenda_jobs"
DATABASE = "agenda"
CONCURRENCY = 20
#: processEvery: Agenda's own default (5 s), and one that makes it quick where nothing waits.
EVERY = {"processEvery 5 s": None, "processEvery 200 ms": 200}
_DRIVER = Path(__file__).with_name("agenda_driver.mjs")
_STARTING = 15  # seconds that Node, a connection and the index may take


class Agenda:
    """Runs Agenda in a process of its own for each measure, each on an empty collection. NotHad: it cannot be had."""

    def __init__(self, folder: Path, url: str, store_pid: int, *, within: float) -> None:
        folder.mkdir(parents=True)
        (folder / "node_modules").symlink_to(having.npm_packages())
        self._driver = folder / _DRIVER.name
        self._driver.write_text(_DRIVER.read_text())
        self._url, self._pid, self._within = url, store_pid, within
        self.shortfalls: list[str] = []  # what did not end in the time it had, or met errors

    def ask(self, measure: str, *, through: str | None = None, **asked: Any) -> dict[str, Any]:
        """What the driver finds. `through`: another address of the same server. RuntimeError, with what it said."""
        with MongoClient[dict[str, Any]](self._url) as client:
            client.drop_database(DATABASE)
        whole: Mapping[str, Any] = {
            "measure": measure,
            "url": through or self._url,
            "database": DATABASE,
            "collection": COLLECTION,
            "data": DATA,
            "in_flight": 64,
            "warm": 20,
            "concurrency": CONCURRENCY,
            "within": self._within,
            "store": self._pid,
            "ticks": os.sysconf("SC_CLK_TCK"),
            **asked,
        }
        command = [having.program("node"), str(self._driver), json.dumps(whole)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * self._within + _STARTING)
        if done.returncode:
            raise RuntimeError(f"{NAME}, {measure}: {done.stderr.strip()[-1000:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        if errors := found["errors"]:
            self.shortfalls.append(f"{NAME}, {measure} {asked}: {len(errors)} errors, the first: {errors[0][:200]}")
        return found

    def rate(self, measure: str, jobs: int, **asked: Any) -> Sample:
        """Jobs a second, with the processor time of Node and of the store for each."""
        found = self.ask(measure, jobs=jobs, **asked)
        done = found.get("seen", jobs)
        if done < jobs:
            self.shortfalls.append(f"{NAME}, {measure} {asked}: {done} of {jobs} jobs in {self._within:g} s")
        if not done:
            return Sample(0.0)
        costs = found["own_seconds"] * 1e6 / done, found["store_seconds"] * 1e6 / done
        return Sample(done / found["seconds"], *costs)

    def waits(self, measure: str, jobs: int, **asked: Any) -> list[float]:
        """How long each job waited, in milliseconds."""
        waits: list[float] = self.ask(measure, jobs=jobs, **asked)["waits"]
        return waits
