"""Attempts in processes of their own: what they tell, and how they die."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from support.eventually import until, until_async
from tocsin.payloads import python_from_value, struct_from_dict
from tocsin.v1 import job_pb2
from tocsin.worker.context import JobContext
from tocsin.worker.loading import load_handlers
from tocsin.worker.registry import Handlers
from tocsin.worker.runners import frames
from tocsin.worker.runtime import Drained, Runtime
from tocsin.worker.source import AttemptOutcome, Ending, HeartbeatAnswer, LeasedJob
from unit.client.worker.memory_source import MemorySource, a_job, endings, running, until_figures

JOBS = "unit.client.worker.runners.process_jobs"
SHORT = timedelta(seconds=0.3)
LONG = timedelta(seconds=30)

Run = tuple[MemorySource, Runtime]


def a_job_with(type: str, *, timeout: timedelta | None = None, crashes: int = 0, **data: object) -> LeasedJob:
    body = struct_from_dict(data).SerializeToString()
    return a_job(type, timeout=timeout, crashes=crashes, tags={"a": "b"}, payload_kind=10, payload_body=body)


def value(outcome: AttemptOutcome) -> object:
    assert outcome.result is not None, outcome
    return python_from_value(job_pb2.Result.FromString(outcome.result).data)


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def note(folder: Path, name: str) -> str:
    async def there() -> bool:
        return (folder / name).exists()

    await until_async(there, within=20, what=f"the note {name}")
    return (folder / name).read_text()


async def gone(pid: int) -> None:
    async def dead() -> bool:
        return not alive(pid)

    await until_async(dead, within=10, what=f"the end of process {pid}")


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    async with running(load_handlers(JOBS), stop_grace=SHORT) as both:
        yield both


async def finished(run: Run, *jobs: LeasedJob) -> list[AttemptOutcome]:
    run[0].add(*jobs)
    return await run[0].finished(*jobs, within=30)


async def test_sync_and_async_handlers_run_in_processes_of_their_own(run: Run) -> None:
    [sync, in_loop] = await finished(run, a_job_with("sync"), a_job_with("async"))
    told = value(sync)
    assert isinstance(told, dict)
    pids = {told.pop("pid"), int(job_pb2.Result.FromString(in_loop.result or b"").raw.body), os.getpid()}
    assert len(pids) == 3
    assert told == {"attempt": 1, "tags": {"a": "b"}, "stdin": ""}
    assert [alive(int(str(pid))) for pid in pids - {os.getpid()}] == [False, False]


@pytest.mark.parametrize(
    ("what", "retryable", "retry_in", "message"),
    [
        ("ValueError", True, None, "wrong colour"),
        ("DoNotRetry", False, None, "gone"),
        ("RetryLater", True, timedelta(seconds=90), "asked to be run again in 90 s"),
        ("SystemExit", True, None, "3"),
        ("UnfitResult", False, None, "object"),
    ],
)
async def test_what_a_handler_raises_there_is_told_here(
    run: Run, what: str, retryable: bool, retry_in: timedelta | None, message: str
) -> None:
    [outcome] = await finished(run, a_job_with("raises", what=what))
    assert (outcome.ending, outcome.error_type) == (Ending.FAILED, what)
    assert (outcome.retryable, outcome.retry_in) == (retryable, retry_in)
    assert message in outcome.error_message
    if what == "ValueError":
        assert "process_jobs.py" in outcome.error_trace


async def test_a_handler_there_gives_its_job_back(run: Run) -> None:
    [outcome] = await finished(run, a_job_with("raises", what="Release"))
    assert (outcome.ending, outcome.reason) == (Ending.RELEASED, "no room here")


async def test_progress_and_lines_cross_over_and_the_last_words_come_before_the_outcome(run: Run) -> None:
    await finished(run, a_job_with("says"))
    beats = [beat for beats in run[0].beats for beat in beats]
    assert [beat.progress for beat in beats if beat.progress is not None][-1] == (1.0, "there")
    assert len(beats) < 20
    lines = [line for beat in beats for line in beat.log]
    assert (lines[0], lines[-1]) == ((2, "line 0"), (4, "there"))


async def test_a_word_said_soon_after_another_is_told_although_nothing_follows(run: Run) -> None:
    source, _ = run
    source.add(a_job_with("says_and_waits"))
    await source.until(lambda: source.beats and source.beats[-1][0].progress == (0.2, "second"), within=30)


@pytest.mark.parametrize(
    ("type", "data", "says"), [("exits", {"code": 7}, "exited with code 7"), ("is_killed", {}, "SIGKILL")]
)
async def test_a_death_without_an_outcome_is_a_crash_that_says_how(
    run: Run, type: str, data: dict[str, Any], says: str
) -> None:
    [outcome] = await finished(run, a_job_with(type, **data))
    assert (outcome.ending, outcome.error_type) == (Ending.CRASHED, "CRASHED")
    assert says in outcome.error_message


async def test_after_two_crashes_a_job_runs_alone_and_buries_no_neighbour(run: Run) -> None:
    jobs = [a_job_with("poison"), a_job_with("poison", crashes=2), a_job_with("cured", crashes=2)]
    [near, dead, cured] = await finished(run, *jobs)
    assert value(near) == os.getpid()
    assert dead.ending is Ending.CRASHED
    assert "exited with code 9" in dead.error_message
    assert value(cured) != os.getpid()


@pytest.mark.parametrize("type", ["waits", "polls", "deaf", "holds_the_lock"])
async def test_a_timeout_ends_the_process(run: Run, type: str, tmp_path: Path) -> None:
    [outcome] = await finished(run, a_job_with(type, timeout=timedelta(seconds=1.5), folder=str(tmp_path)))
    assert (outcome.ending, outcome.error_type) == (Ending.FAILED, "TIMEOUT")
    await gone(int(await note(tmp_path, "entered")))
    await until_figures(run[1], abandoned=0, busy=0)


async def test_a_cancel_reaches_async_and_sync_handlers_with_its_reason(run: Run, tmp_path: Path) -> None:
    source, _ = run
    folders = [tmp_path / "waits", tmp_path / "polls"]
    jobs = [a_job_with(folder.name, folder=str(folder)) for folder in folders]
    for folder in folders:
        folder.mkdir()
    source.add(*jobs)
    for folder, job in zip(folders, jobs, strict=True):
        await note(folder, "entered")
        source.answer(job, HeartbeatAnswer(cancel_reason="moved", cancel_grace=LONG))
    [waits, polls] = await source.finished(*jobs, within=20)
    assert (waits.error_type, waits.error_message) == ("CANCELLED", "cancelled: moved")
    assert await note(folders[0], "left") == "moved"
    assert value(polls) == "moved"  # it completed all the same


async def test_what_does_not_obey_a_cancel_is_killed_with_what_it_started(run: Run, tmp_path: Path) -> None:
    source, _ = run
    source.add(job := a_job_with("has_child", folder=str(tmp_path)))
    child = int(await note(tmp_path, "entered"))
    source.answer(job, HeartbeatAnswer(cancel_reason="moved", cancel_grace=timedelta(seconds=0.1)))
    [outcome] = await source.finished(job)
    assert outcome.error_type == "CANCELLED"
    await gone(child)


async def test_what_a_handler_leaves_running_does_not_hold_up_its_outcome(run: Run) -> None:
    [outcome] = await finished(run, a_job_with("leaves_child"))
    os.kill(int(str(value(outcome))), signal.SIGKILL)


async def test_a_drain_kills_and_gives_back(tmp_path: Path) -> None:
    source = MemorySource()
    runtime = Runtime(source, load_handlers(JOBS), stop_grace=SHORT)
    task = asyncio.create_task(runtime.run())
    source.add(job := a_job_with("deaf", folder=str(tmp_path)))
    pid = int(await note(tmp_path, "entered"))
    assert await runtime.drain(timedelta(0)) == Drained(ended=0, released=1, abandoned=0, unflushed=0)
    assert endings(await source.finished(job)) == [Ending.RELEASED]
    await task
    assert not alive(pid)


async def test_a_handler_that_its_module_does_not_have_when_loaded_anew_fails_clearly() -> None:
    handlers = Handlers()
    handlers.on("made_in_code", process=True)(lambda job: None)
    handlers.spec = f"{JOBS}:handlers"
    async with running(handlers) as both:
        [outcome] = await finished(both, a_job("made_in_code"))
    assert (outcome.ending, outcome.error_type) == (Ending.FAILED, "HandlersNotFound")
    assert f"{JOBS}:handlers has no handler for type 'made_in_code'" in outcome.error_message


async def test_a_handler_that_no_process_can_find_runs_here_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    handlers = Handlers()

    @handlers.on("here", process=True)
    def here(job: JobContext) -> int:
        return os.getpid()

    async with running(handlers) as both:
        [outcome] = await finished(both, a_job("here"))
    assert value(outcome) == os.getpid()
    assert "it runs in this one" in caplog.text


def test_all_that_holds_on_uvloop_as_in_the_server(tmp_path: Path) -> None:
    async def on_uvloop() -> None:
        async with running(load_handlers(JOBS), stop_grace=SHORT) as run:
            source, _ = run
            jobs = [
                a_job_with("sync"),
                a_job_with("is_killed"),
                a_job_with("holds_the_lock", timeout=timedelta(seconds=1.5), folder=str(tmp_path / "a")),
                a_job_with("polls", folder=str(tmp_path / "b")),
            ]
            source.add(*jobs)
            pid = int(await note(tmp_path / "b", "entered"))
            source.answer(jobs[3], HeartbeatAnswer(cancel_reason="moved"))
            outcomes = await source.finished(*jobs, within=20)
            assert [outcome.error_type for outcome in outcomes] == ["", "CRASHED", "TIMEOUT", ""]
            assert value(outcomes[3]) == "moved"
            assert not alive(pid)

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(on_uvloop())


def test_the_process_ends_when_its_stdin_does(tmp_path: Path) -> None:
    """What binds it to its parent where there is no parent-death signal."""
    hearing, saying = os.pipe()
    command = [sys.executable, "-m", "tocsin.worker.runners.child", str(saying)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[saying])
    job = a_job_with("deaf", folder=str(tmp_path))
    first = {"handlers": JOBS, "path": sys.path, "parent": os.getpid(), "job": frames.job_to_json(job)}
    assert process.stdin is not None
    process.stdin.write(frames.pack(first, job.payload_body))
    process.stdin.flush()
    until((tmp_path / "entered").exists, within=20, what="the handler's note")
    process.stdin.close()
    assert process.wait(5) == 1
    os.close(hearing)
    os.close(saying)


PARENT = """
import asyncio, sys
from unit.client.worker.memory_source import running
from unit.client.worker.runners.test_processes import JOBS, a_job_with
from tocsin.worker.loading import load_handlers

async def main():
    async with running(load_handlers(JOBS)) as (source, _):
        source.add(a_job_with(sys.argv[1], folder=sys.argv[2]))
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("type", ["deaf", "waits", "holds_the_lock"])
def test_the_process_ends_when_its_parent_is_killed(type: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, type, str(tmp_path)], env=environment)
    try:
        until((tmp_path / "entered").exists, within=20, what="the handler's note")
    finally:
        parent.kill()
        parent.wait()
    pid = int((tmp_path / "entered").read_text())
    until(lambda: not alive(pid), within=5, what="the end of the process")


async def test_nothing_in_the_current_folder_stands_in_for_the_library(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ctypes.py").write_text("open('was_run', 'w').close()")
    [outcome] = await finished(run, a_job_with("sync"))
    assert outcome.ending is Ending.COMPLETED
    assert not (tmp_path / "was_run").exists()
