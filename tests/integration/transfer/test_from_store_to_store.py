"""What `tocsin export` wrote of one store, `tocsin import` puts into another: the same by export again."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from support.servers import Server
from support.stores import StoreBackend
from support.stubs import State, Stubs
from tocsin.v1 import queue_service_pb2

from integration.transfer.conftest import Source, Tocsin
from integration.transfer.exports import HANDLERS, QUEUE, as_imported, lines, records

Serve = Callable[..., Server]


def test_all_moves_and_is_the_same_by_export_again(
    source: Source, target: Server, tocsin: Tocsin, tmp_path: Path
) -> None:
    before = source.store.dump()
    done = tocsin("export", "a.jsonl", server=source.server)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"exported 10 jobs, 3 queues and 0 reminder sets\n"
    assert source.store.dump() == before, "an export changes nothing"
    assert stat.S_IMODE((tmp_path / "a.jsonl").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if not path.is_dir() and "server" not in path.name] == ["a.jsonl"]
    head, *_, tail = lines(tmp_path / "a.jsonl")
    assert (head["tocsin_export"], head["provider"]) == (1, source.store.provider)
    assert tail == {"tocsin_export_end": 1, "records": 13}

    done = tocsin("import", "a.jsonl", server=target)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"13 created, 0 kept, 0 the same, 0 replaced, 0 refused (1 job had been running)\n"

    assert tocsin("export", "b.jsonl", server=target).returncode == 0
    was, is_now = records(tmp_path / "a.jsonl"), records(tmp_path / "b.jsonl")
    assert list(is_now) == list(was), "in another order"
    for key, record in was.items():
        assert as_imported(is_now[key]) == as_imported(record)
    assert {record["job"]["job"]["state"] for key, record in was.items() if key[0] == "job"} == {
        "SCHEDULED",
        "WAITING",
        "ACTIVE",
        "COMPLETED",
        "FAILED",
        "CANCELLED",
    }
    assert was["job", QUEUE, "failed"]["job"]["job"]["errors"][0]["trace"]
    assert was["job", QUEUE, "done"]["job"]["result"]


def test_what_stands_is_kept_or_replaced_as_asked(source: Source, target: Server, tocsin: Tocsin) -> None:
    tocsin("export", "a.jsonl.gz", server=source.server)
    tocsin("import", "a.jsonl.gz", server=target)
    again = tocsin("import", "a.jsonl.gz", server=target)
    assert again.stdout == b"0 created, 10 kept, 3 the same, 0 replaced, 0 refused\n"
    with Stubs(target.address) as stubs:
        stubs.schedule(QUEUE, "other", job_id="waiting", on_conflict=3)  # REPLACE
        over = tocsin("import", "--replace", "a.jsonl.gz", server=target)
        assert over.stdout == b"0 created, 0 kept, 12 the same, 1 replaced, 0 refused\n"
        assert stubs.get(QUEUE, "waiting").spec.type == "nobody_runs_it"


def test_one_queue_alone_moves(source: Source, target: Server, tocsin: Tocsin, tmp_path: Path) -> None:
    done = tocsin("export", "--queue", "stopped", "--queue", "nobody-used-it", "a.jsonl", server=source.server)
    assert done.stdout == b"exported 1 job, 1 queue and 0 reminder sets\n"
    assert set(records(tmp_path / "a.jsonl")) == {("queue", "stopped"), ("job", "stopped", "held")}
    tocsin("export", "all.jsonl", server=source.server)
    assert tocsin("import", "all.jsonl", "-q", "stopped", server=target).stdout.startswith(b"2 created, 0 kept")
    with Stubs(target.address) as stubs:
        listed = stubs.queues.ListQueues(queue_service_pb2.ListQueuesRequest()).queues
    assert [entry.queue.queue for entry in listed] == ["stopped"]


def test_a_paused_queue_is_paused_before_its_jobs_come(
    source: Source, target_store: StoreBackend, serve: Serve, tocsin: Tocsin
) -> None:
    """The target runs jobs, and runs none of that queue."""
    tocsin("export", "a.jsonl", server=source.server)
    busy = serve(target_store.url, handlers=HANDLERS)
    assert tocsin("import", "a.jsonl", server=busy).returncode == 0
    with Stubs(busy.address) as stubs:
        ran = stubs.wait_for(QUEUE, "runs", State.ACTIVE)
        assert ran.attempt == 2, "its attempt at the source counts"
        held = stubs.get("stopped", "held")
        assert (held.state, held.attempt) == (State.WAITING, 0)
        queue = stubs.queues.GetQueue(queue_service_pb2.GetQueueRequest(queue="stopped")).queue
        assert (queue.paused, queue.pause_reason) == (True, "a fire \U0001f525")
        stubs.queues.ResumeQueue(queue_service_pb2.ResumeQueueRequest(queue="stopped"))
        assert stubs.wait_for("stopped", "held").state == State.COMPLETED


def test_through_a_pipe(source: Source, target: Server, tocsin: Tocsin) -> None:
    out = tocsin("export", "-", server=source.server)
    assert out.stderr == b"exported 10 jobs, 3 queues and 0 reminder sets\n"
    done = tocsin("import", "-", "--json", server=target, stdin=out.stdout)
    assert done.stdout == (
        b'{"created": 13, "kept": 0, "same": 0, "replaced": 0, "refused": 0, "released": 1, "bad_lines": 0}\n'
    )
