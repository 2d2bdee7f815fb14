"""`tocsin conformance`: workers in four languages pass it, and wrong ones fail the one check that names their fault."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from support import example_workers

TESTS = Path(__file__).parents[2]
TOCSIN = (sys.executable, "-m", "tocsin.cli.main")

#: Three kits go on at once, each of half a minute and with four workers; most of the time they wait.
AT_ONCE = 3
KIT_SECONDS = 200
pytestmark = pytest.mark.timeout(3 * KIT_SECONDS + example_workers.BUILD_SECONDS)

PYTHON = (
    f"exec {shlex.join(TOCSIN)} worker run support.jobs.conformance --server $TOCSIN_SERVER --queue $TOCSIN_QUEUE"
    " --concurrency $TOCSIN_CONCURRENCY --lease $TOCSIN_LEASE"
)
PROGRAMS = [(language, program) for language in example_workers.LANGUAGES for program in ("worker", "poll")]
FAULTS = {"none": (), "ignores_cancel": ("cancel",), "stale_token": ("late_result",), "too_many": ("credits",)}

Judged = subprocess.CompletedProcess[str]
Judge = Callable[[str], Judged]


def judged(command: Sequence[str], *options: str) -> Judged:
    """Run the kit on a worker, the whole of it if no option says otherwise."""
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.run(
        [*TOCSIN, "conformance", *options, "--", *command],
        env=env,
        capture_output=True,
        text=True,
        timeout=KIT_SECONDS,
        check=False,
    )


def _example(language: str, program: str) -> Judged | example_workers.NotBuilt:
    try:
        return judged(example_workers.command(language, program))
    except example_workers.NotBuilt as trouble:
        return trouble


@pytest.fixture(scope="module")
def kits(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Judged | example_workers.NotBuilt]]]:
    """All kits that the chosen tests ask for, begun at once."""
    own = (item for item in request.session.items if item.path == Path(__file__) and isinstance(item, pytest.Function))
    chosen = {item.callspec.id for item in own if hasattr(item, "callspec")}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun: dict[str, Future[Judged | example_workers.NotBuilt]] = {}
        for language, program in PROGRAMS:
            if f"{language}-{program}" in chosen:
                begun[f"{language}-{program}"] = pool.submit(_example, language, program)
        if "python" in chosen:
            begun["python"] = pool.submit(judged, ["sh", "-c", PYTHON])
        for fault in FAULTS:
            if fault in chosen:
                begun[fault] = pool.submit(judged, [sys.executable, "-m", "support.wrong_worker", fault])
        yield begun


def failed_checks(done: Judged) -> tuple[str, ...]:
    """Names of the checks that failed; asserts that the exit code and the last line say the same."""
    names = tuple(re.findall(r"^FAILED  (\w+) ", done.stdout, re.M))
    assert done.returncode == (1 if names else 0), done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.endswith(": " + ", ".join(names)) if names else " checks passed in " in last
    return names


@pytest.mark.parametrize("worker", [f"{language}-{program}" for language, program in PROGRAMS])
def test_the_examples_pass(
    worker: str, kits: dict[str, Future[Judged | example_workers.NotBuilt]], not_run: Callable[[str, str], None]
) -> None:
    done = kits[worker].result()
    if isinstance(done, example_workers.NotBuilt):
        not_run("languages", str(done))
    else:
        assert failed_checks(done) == (), done.stdout


@pytest.mark.parametrize("worker", ["python"])
def test_handlers_in_python_pass(worker: str, kits: dict[str, Future[Judged]]) -> None:
    done = kits[worker].result()
    assert failed_checks(done) == (), done.stdout


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_worker_fails_the_check_that_names_its_fault(fault: str, kits: dict[str, Future[Judged]]) -> None:
    done = kits[fault].result()
    assert failed_checks(done) == FAULTS[fault], done.stdout


def test_a_program_of_which_one_can_run_is_started_again_after_it_was_stopped() -> None:
    chosen = ("--only", "echo", "--only", "drain_idle", "--only", "drain_cut", "--at-once", "1")
    done = judged([sys.executable, "-m", "support.wrong_worker", "none"], *chosen)
    assert failed_checks(done) == (), done.stdout
    assert done.stdout.splitlines()[-1].startswith("3 checks passed in ")
