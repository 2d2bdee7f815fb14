"""The recipes of docs/monitoring.md do what they say, against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from support.source_tree import ROOT
from support.stubs import State, Stubs

RECIPES = ROOT / "docs/examples/monitoring"


class Recipe:
    """A recipe that runs, and what it has said."""

    def __init__(self, name: str, folder: Path, address: str, queue: str, **env: str) -> None:
        self._log = folder / f"{name}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, RECIPES / f"{name}.py", queue],
                env={**os.environ, "TOCSIN_ADDRESS": address, **env},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def said(self, words: str) -> int:
        """How often it has said this."""
        assert self._process.poll() is None, self._log.read_text()
        return self._log.read_text().count(words)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def cook(tmp_path: Path) -> Iterator[Callable[..., Recipe]]:
    """`cook(name, address, queue, **env)` starts a recipe; all are killed at the test's end."""
    started: list[Recipe] = []

    def start(name: str, address: str, queue: str, **env: str) -> Recipe:
        started.append(Recipe(name, tmp_path, address, queue, **env))
        return started[-1]

    yield start
    for recipe in started:
        recipe.kill()


def test_a_failed_job_is_told_of_at_once_and_one_that_failed_meanwhile_after_a_restart(
    shared_server: Server, cook: Callable[..., Recipe], queue: str
) -> None:
    name, address = "watch_failed_jobs", shared_server.address
    with Stubs(address) as stubs:
        recipe = cook(name, address, queue)
        # It has no word for "I am watching now", so that jobs fail until it tells of one.
        failed = 0

        def one_more() -> int:
            nonlocal failed
            failed += 1
            stubs.schedule(queue, "fails_for_good", job_id=f"before-{failed}")
            stubs.wait_for(queue, f"before-{failed}", State.FAILED)
            return recipe.said("before-")

        until(one_more, within=20, what="a failure is told of")
        until(lambda: recipe.said(f"before-{failed} failed in attempt 1: DoNotRetry: no such address"), within=5)
        stubs.schedule(queue, "noop", job_id="went-well")
        stubs.wait_for(queue, "went-well")
        recipe.kill()
        stubs.schedule(queue, "fails_for_good", job_id="meanwhile")
        stubs.wait_for(queue, "meanwhile", State.FAILED)
        recipe = cook(name, address, queue)
        until(lambda: recipe.said("meanwhile failed"), within=20, what="what failed meanwhile is told of")
    assert recipe.said(f"before-{failed} ") == 1
    assert recipe.said("went-well") == recipe.said("missed") == 0


def test_after_a_gap_the_last_failures_are_told_of(
    shared_server: Server, cook: Callable[..., Recipe], queue: str, tmp_path: Path
) -> None:
    name, address, other = "watch_failed_jobs", shared_server.address, f"{queue}.other"
    with Stubs(address) as stubs:
        stubs.schedule(queue, "fails_for_good", job_id="lost")
        stubs.wait_for(queue, "lost", State.FAILED)
        elsewhere = cook(name, address, other)

        def cursor_is_kept() -> bool:
            stubs.wait_for(other, stubs.schedule(other, "fails_for_good").job_id, State.FAILED)
            return (tmp_path / "failed_jobs.cursor").exists()

        until(cursor_is_kept, within=20, what="it has come somewhere")
        elsewhere.kill()
    # A place in another queue is as unknown in this one as a place that was forgotten.
    recipe = cook(name, address, queue)
    until(lambda: recipe.said("lost failed"), within=20, what="the last failures are told of")
    assert recipe.said("some changes were missed") == 1


@pytest.mark.timeout(120)
def test_a_queue_is_told_of_when_it_stops_being_healthy_and_when_it_is_again(
    redis: RedisBackend, serve: Callable[..., Server], cook: Callable[..., Recipe], queue: str
) -> None:
    calls = serve(redis.url, "--no-dispatch")
    recipe = cook("watch_queue_health", calls.address, queue, HEALTH_SILENCE="1")
    until(lambda: recipe.said("INFO healthy"), within=20, what="all is well at the start")
    with Stubs(calls.address) as stubs:
        stubs.schedule(queue, "noop")
    until(lambda: recipe.said("not healthy: no process runs jobs of type noop"), within=20, what="nobody runs it")
    serve(redis.url, handlers="support.jobs.everyday")
    until(lambda: recipe.said("INFO healthy") == 2, within=30, what="it is well again")
    calls.kill()
    until(lambda: recipe.said("not healthy: ") == 2, within=40, what="the server is gone")
    calls.restart()
    until(lambda: recipe.said("INFO healthy") == 3, within=40, what="the server is there again")
