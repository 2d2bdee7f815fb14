"""Files that are broken, servers that go away, and more than memory holds."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import StoreBackend
from support.stubs import Stubs, request
from tocsin import Client, Imported, JobRequest, State, TransferRecord, Unavailable
from tocsin.v1 import job_service_pb2

from integration.transfer.conftest import Source, Tocsin
from integration.transfer.exports import lines

Serve = Callable[..., Server]


def some_jobs(server: Server, number: int, *, bytes_each: int = 100) -> None:
    """Jobs that wait for an hour."""
    with Client(server.address) as client:
        done = client.schedule_many(
            JobRequest("t", b"x" * bytes_each, queue="q", job_id=f"j{n}", delay=3_600) for n in range(number)
        )
    assert all(not isinstance(one, Exception) for one in done)


def ids(server: Server, queue: str = "q") -> set[str]:
    with Stubs(server.address) as stubs:
        return {job.job_id for job in stubs.list(queue)}


def test_what_is_broken_or_wrong_is_named_and_all_else_comes_in(
    source: Source, target: Server, tocsin: Tocsin, tmp_path: Path
) -> None:
    tocsin("export", "a.jsonl", server=source.server)
    whole = lines(tmp_path / "a.jsonl")
    at = {line["job"]["job"]["job_id"]: i for i, line in enumerate(whole) if "job" in line}
    del whole[at["done"]]["job"]["job"]["end_time"]
    whole[at["failed"]]["job"]["job"]["errors"][0]["message"] = "m" * 2_000
    whole[at["waiting"]]["job"]["payload_field"] = 10
    whole[at["waiting"]]["job"]["payload"] = "/////w=="
    whole[at["cancelled"]]["job"]["job"]["spec"]["queue"] = "elsewhere"
    whole[-1]["records"] += 1  # one line more will stand there, so none is missing
    broken = [json.dumps(line) for line in whole]
    broken[at["held"]] = broken[at["held"]][:100]
    broken.insert(1, "not a line of an export \x1b[2J")
    (tmp_path / "b.jsonl").write_text("\n".join(broken))
    wrong = {
        2: "no JSON",
        at["done"] + 2: "job.job.end_time: is needed",
        at["failed"] + 2: "job.job.errors[0].message: has 2,000 bytes",
        at["waiting"] + 2: "job.payload.data: cannot be read",
        at["cancelled"] + 2: "job.job.spec.queue: is not job.queue",
        at["held"] + 2: "no JSON",
    }

    done = tocsin("import", "b.jsonl", server=target)

    assert done.returncode == 1
    assert done.stdout.endswith(b"4 refused (1 job had been running); 2 lines could not be read\n")
    said = dict(line.split(": ", 1) for line in done.stderr.decode().splitlines())
    assert said.keys() == {f"line {number}" for number in wrong}
    for number, why in wrong.items():
        assert why in said[f"line {number}"]
    assert b"\x1b" not in done.stderr
    assert ids(target, "orders") == ids(source.server, "orders") - {"done", "failed", "waiting", "cancelled"}
    assert ids(target, "stopped") == set()
    assert tocsin("import", "a.jsonl", server=target).returncode == 0
    assert ids(target, "orders") == ids(source.server, "orders")


def test_a_server_that_dies_in_the_midst_of_an_import_is_waited_for(
    store: StoreBackend, quiet: Server, serve: Serve
) -> None:
    there = serve(store.url, "--no-dispatch")
    some_jobs(quiet, 4_000)
    parts: list[Imported] = []
    starter = threading.Thread(target=there.start)

    def after(part: Imported) -> None:
        parts.append(part)
        if len(parts) == 2:
            there.kill()
            starter.start()

    with Client(quiet.address) as here, Client(there.address) as client:
        done = client.import_jobs(here.export_jobs(), report=after)
    starter.join()  # where the last part was acknowledged before the kill, it is on its way still
    assert (done.records, done.refused) == (4_001, 0)
    assert ids(there) == {f"j{n}" for n in range(4_000)}


def test_a_server_that_is_stopped_ends_an_export_and_leaves_no_file(
    quiet: Server, tocsin: Tocsin, tmp_path: Path
) -> None:
    some_jobs(quiet, 30, bytes_each=1_000_000)
    names = set(tmp_path.iterdir())
    with Client(quiet.address) as client:
        found = client.export_jobs()
        next(found)
        stopper = threading.Thread(target=quiet.stop)
        stopper.start()
        with pytest.raises(Unavailable) as caught:
            list(found)
        assert caught.value.reason == "DRAINING"
        stopper.join()
    assert tocsin("export", "a.jsonl", server=quiet).returncode == 1
    assert set(tmp_path.iterdir()) == names


def test_an_import_made_beside_calls_that_change_the_same_jobs_loses_none(
    store: StoreBackend, quiet: Server, serve: Serve
) -> None:
    """Whoever comes first: a job that was scheduled here meanwhile is kept, and the arrivals stay in order."""
    there = serve(store.url, "--no-dispatch")
    some_jobs(quiet, 1_500)
    with Client(quiet.address) as here:
        records = list(here.export_jobs())
    with Client(there.address) as client, Stubs(there.address) as stubs:
        batch = job_service_pb2.BatchScheduleJobsRequest(
            requests=[request("q", "mine", job_id=f"j{n}", delay=60) for n in range(0, 1_500, 3)]
        )
        mine = threading.Thread(target=stubs.jobs.BatchScheduleJobs, args=(batch,))
        mine.start()
        done = client.import_jobs(records)
        mine.join()
        assert done.refused == 0
        listed = [job.job_id for job in stubs.list("q")]
        assert len(listed) == len(set(listed)) == 1_500
        later = client.schedule("t", queue="q", delay=60).job_id
        assert stubs.list("q")[0].job_id == later


def test_more_than_memory_should_hold_goes_through_a_server(redis: RedisBackend, quiet: Server, tmp_path: Path) -> None:
    """120 MB of jobs of 1 MB, out and in again, with less than 120 MB more than the server had."""
    some_jobs(quiet, 120, bytes_each=1_000_000)
    quiet.kill()
    quiet.start()
    before = memory(quiet.pid)

    def spoilt(record: TransferRecord) -> TransferRecord:
        record.job.job.job_id += "-again"
        return record

    with Client(quiet.address) as client:
        for record in client.export_jobs():
            if record.HasField("job"):
                assert client.import_jobs([spoilt(record)]).created == 1
        assert client.count(queue="q", states=[State.SCHEDULED]) == 240
    assert memory(quiet.pid, peak=True) - before < 120 << 20


def memory(pid: int, *, peak: bool = False) -> int:
    """Bytes that a process has, or has had at most."""
    name = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    raise AssertionError(f"{pid} has no {name}")
