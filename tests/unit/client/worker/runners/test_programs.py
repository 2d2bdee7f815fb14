"""Programs as handlers: what they are given, what their end means, and how they are stopped."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import uvloop
from support.eventually import until
from tocsin.payloads import python_from_value, struct_from_dict
from tocsin.v1 import job_pb2
from tocsin.worker.registry import Handlers
from tocsin.worker.runtime import Runtime
from tocsin.worker.source import AttemptOutcome, Ending, HeartbeatAnswer, LeasedJob
from unit.client.worker.memory_source import MemorySource, a_job, running

SHORT = timedelta(seconds=0.3)


def with_data(**data: object) -> LeasedJob:
    return a_job(payload_kind=10, payload_body=struct_from_dict(data).SerializeToString())


@asynccontextmanager
async def shell(script: str, **settings: timedelta) -> AsyncIterator[tuple[MemorySource, Runtime]]:
    """A runtime that runs the script for jobs of type "t"."""
    async with running(Handlers.for_program(["t"], ["/bin/sh", "-c", script]), **settings) as run:
        yield run


async def outcome_of(script: str, job: LeasedJob | None = None) -> tuple[AttemptOutcome, MemorySource]:
    async with shell(script) as (source, _):
        job = job or a_job()
        source.add(job)
        [outcome] = await source.finished(job)
        return outcome, source


def value(outcome: AttemptOutcome) -> object:
    assert outcome.ending is Ending.COMPLETED, outcome
    if outcome.result is None:
        return None
    result = job_pb2.Result.FromString(outcome.result)
    return result.raw.body if result.HasField("raw") else python_from_value(result.data)


async def begun(folder: Path) -> None:
    await asyncio.to_thread(until, (folder / "begun").exists, within=20)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_program_reads_the_payload_and_what_it_prints_is_the_result() -> None:
    outcome, _ = await outcome_of("cat", with_data(path="ä.png", n=3))
    assert value(outcome) == {"path": "ä.png", "n": 3}


@pytest.mark.parametrize(
    ("prints", "found"),
    [
        ("", None),
        ("\\n", None),
        ("done\\n", "done"),
        ("two\\nlines\\n", "two\nlines"),
        ("[1, 2]", [1, 2]),
        ("NaN", "NaN"),
        ("9007199254740993", "9007199254740993"),  # no double holds it
        ("\\377\\000", b"\xff\x00"),
    ],
)
async def test_results_are_json_else_text_else_bytes(prints: str, found: object) -> None:
    outcome, _ = await outcome_of(f"printf '{prints}'")
    assert value(outcome) == found


async def test_raw_payloads_come_as_they_are_and_the_environment_names_the_job() -> None:
    raw = job_pb2.JobSpec()
    raw.raw.body, raw.raw.content_type = b"\x00\xff", "image/png"
    job = a_job(job_id="job ü", attempt=3, failures=2, payload_kind=11, payload_body=raw.raw.SerializeToString())
    script = (
        "import json, os, sys; print(json.dumps([sys.stdin.buffer.read().hex(), "
        "{k: v for k, v in os.environ.items() if k.startswith('TOCSIN_')}]))"
    )
    async with running(Handlers.for_program(["t"], [sys.executable, "-c", script])) as (source, _):
        source.add(job)
        [outcome] = await source.finished(job)
    assert value(outcome) == [
        "00ff",
        {
            "TOCSIN_QUEUE": "q",
            "TOCSIN_JOB_ID": "job ü",
            "TOCSIN_TYPE": "t",
            "TOCSIN_ATTEMPT": "3",
            "TOCSIN_FAILURES": "2",
            "TOCSIN_CONTENT_TYPE": "image/png",
        },
    ]


@pytest.mark.parametrize(
    ("script", "error_type", "message", "retryable"),
    [
        ("echo no disk >&2; exit 75", "EXIT_CODE", "exited with code 75: no disk", True),
        ("exit 1", "EXIT_CODE", "exited with code 1", False),
        ("kill -SEGV $$", "SIGNAL", "killed by SIGSEGV", True),
    ],
)
async def test_how_it_ends_says_whether_it_is_tried_again(
    script: str, error_type: str, message: str, retryable: bool
) -> None:
    outcome, _ = await outcome_of(script)
    assert outcome.ending is Ending.FAILED
    assert (outcome.error_type, outcome.error_message, outcome.retryable) == (error_type, message, retryable)


async def test_standard_error_is_logged_line_by_line_and_ends_up_as_the_trace() -> None:
    outcome, source = await outcome_of("printf 'one\\r\\ntwo\\n\\377three' >&2; exit 4")
    lines = [line for beats in source.beats for beat in beats for line in beat.log]
    assert lines == [(2, "one"), (2, "two"), (2, "\ufffdthree")]
    assert outcome.error_trace.endswith("two\n\ufffdthree")


async def test_a_flood_on_both_streams_neither_blocks_the_program_nor_fills_the_memory() -> None:
    outcome, source = await outcome_of("yes error | head -c 20000000 >&2; yes output | head -c 20000000")
    assert (outcome.error_type, outcome.retryable) == ("UnfitResult", False)
    assert "more than 262,144 bytes" in outcome.error_message
    lines = [line for beats in source.beats for beat in beats for line in beat.log]
    assert lines[0] == (2, "error")
    assert any("dropped" in text for _, text in lines)


async def test_a_program_need_not_read_its_input() -> None:
    outcome, _ = await outcome_of("exec 0<&-; echo 1", with_data(long="x" * 500_000))
    assert value(outcome) == 1


async def test_a_timeout_ends_the_whole_group_first_in_kindness(tmp_path: Path) -> None:
    # A child that is deaf to SIGTERM, as is its parent, which notes that it heard it.
    script = (
        f"trap 'echo heard > {tmp_path}/heard' TERM; (trap '' TERM; echo $$ > {tmp_path}/pid; "
        f"while :; do sleep 1; done) & echo $! > {tmp_path}/child; while :; do wait; done"
    )
    async with shell(script, stop_grace=SHORT) as (source, _):
        job = a_job(timeout=timedelta(seconds=1))
        source.add(job)
        [outcome] = await source.finished(job)
    assert (outcome.ending, outcome.error_type) == (Ending.FAILED, "TIMEOUT")
    assert (tmp_path / "heard").exists()
    assert not alive(int((tmp_path / "child").read_text()))


async def test_a_cancel_ends_a_program_that_listens_at_once(tmp_path: Path) -> None:
    script = f"trap 'echo bye >&2; exit 0' TERM; touch {tmp_path}/begun; while :; do sleep 0.05; done"
    async with shell(script) as (source, _):
        job = a_job()
        source.add(job)
        await begun(tmp_path)
        source.answer(job, HeartbeatAnswer(cancel_reason="moved", cancel_grace=timedelta(minutes=1)))
        [outcome] = await source.finished(job)
    assert outcome.ending is Ending.COMPLETED  # it says so itself


async def test_a_cancelled_program_that_dies_of_it_is_cancelled(tmp_path: Path) -> None:
    async with shell(f"touch {tmp_path}/begun; exec sleep 1000") as (source, _):
        job = a_job()
        source.add(job)
        await begun(tmp_path)
        source.answer(job, HeartbeatAnswer(cancel_reason="moved", cancel_grace=timedelta(minutes=1)))
        [outcome] = await source.finished(job)
    assert (outcome.error_type, outcome.retryable) == ("CANCELLED", False)


async def test_what_a_program_leaves_running_ends_with_it(tmp_path: Path) -> None:
    outcome, _ = await outcome_of(f"sleep 1000 >/dev/null 2>&1 & echo $! > {tmp_path}/pid; echo 1")
    assert value(outcome) == 1
    left = int((tmp_path / "pid").read_text())
    await asyncio.to_thread(until, lambda: not alive(left), within=10)


async def test_an_open_stream_that_is_left_behind_holds_nothing_up(tmp_path: Path) -> None:
    outcome, _ = await outcome_of("(sleep 1000) & echo 1")
    assert value(outcome) == 1


async def test_a_drain_gives_a_program_back(tmp_path: Path) -> None:
    async with shell(f"touch {tmp_path}/begun; sleep 1000") as (source, runtime):
        job = a_job()
        source.add(job)
        await begun(tmp_path)
        await runtime.drain(timedelta(0))
    assert [outcome.ending for outcome in source.outcomes] == [Ending.RELEASED]


async def test_a_program_that_cannot_be_started_costs_its_job_nothing(tmp_path: Path) -> None:
    async with running(Handlers.for_program(["t"], [str(tmp_path / "gone")])) as (source, _):
        job = a_job()
        source.add(job)
        [outcome] = await source.finished(job)
    assert outcome.ending is Ending.RELEASED


def test_all_that_holds_on_uvloop_in_a_thread_as_in_a_worker(tmp_path: Path) -> None:
    async def on_uvloop() -> list[AttemptOutcome]:
        handlers = Handlers.merged(
            Handlers.for_program(["cat"], ["cat"]),
            Handlers.for_program(["flood"], ["/bin/sh", "-c", "yes | head -c 3000000 >&2; exit 3"]),
            Handlers.for_program(["deaf"], ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"]),
        )
        async with running(handlers, stop_grace=SHORT) as (source, _):
            jobs = [a_job("cat"), a_job("flood"), a_job("deaf", timeout=timedelta(seconds=0.5))]
            source.add(*jobs)
            return await source.finished(*jobs, within=20)

    def live() -> list[AttemptOutcome]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(on_uvloop())

    with concurrent.futures.ThreadPoolExecutor() as threads:
        outcomes = threads.submit(live).result(timeout=60)
    assert [outcome.error_type for outcome in outcomes] == ["", "EXIT_CODE", "TIMEOUT"]


def test_no_program_outlives_a_worker_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(
        "import asyncio, sys\n"
        "from tocsin.worker.registry import Handlers\n"
        "from unit.client.worker.memory_source import a_job, running\n"
        "async def main():\n"
        "    async with running(Handlers.for_program(['t'], ['/bin/sh', '-c', sys.argv[1]])) as (source, _):\n"
        "        source.add(a_job())\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    script = f"sleep 1000 & echo $$ $! > {tmp_path}/pids.new; mv {tmp_path}/pids.new {tmp_path}/pids; wait"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    worker = subprocess.Popen([sys.executable, str(tmp_path / "worker.py"), script], env=env)
    try:
        until((tmp_path / "pids").exists, within=20)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(alive(pid) for pid in pids)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    until(lambda: not any(alive(pid) for pid in pids), within=10)
