"""Servers with a key ring: what stands in the files of their stores, in exports and logs, and who can read it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from support.redis_backend import RedisBackend
from support.servers import Server, ServerDied
from support.stubs import Stubs, request
from tocsin import Client
from tocsin.v1 import following_pb2, job_pb2

from integration.encryption.conftest import Kept, Tocsin

MARKED = "4111-marked-and-secret"
ENCRYPTED = "TOCSIN_ENCRYPTION__KEYRING_FILE"
Serve = Callable[..., Server]


@pytest.fixture
def ring(tmp_path: Path, tocsin: Tocsin) -> Path:
    """A key ring, made as users make it."""
    assert tocsin("keys", "create", "keys.toml").returncode == 0
    return tmp_path / "keys.toml"


def lived_in(server: Server) -> None:
    """Say marked texts in every place."""
    with Stubs(server.address) as stubs:
        retry = job_pb2.RetryPolicy(max_attempts=2)
        retry.initial_delay.FromMilliseconds(1)
        stubs.schedule("q", "says", {"text": MARKED}, job_id="said", retry=retry)
        assert stubs.wait_for("q", "said").state == job_pb2.Job.COMPLETED
        stubs.schedule("q", "says", {"text": f"{MARKED} later"}, job_id="later", delay=3600)
    with Client(server.address) as client:
        payload = {"text": f"{MARKED} scheduled"}
        client.schedules.create("nightly", cron=["0 3 * * *"], type="says", payload=payload, queue="q", note=MARKED)


def whole(server: Server, job_id: str) -> job_pb2.Job:
    with Stubs(server.address) as stubs:
        job = stubs.get("q", job_id)
    job.ClearField("explanation")  # it names the time until something
    return job


def lines(server: Server) -> str:
    with Stubs(server.address) as stubs:
        return str(stubs.jobs.ListJobLogs(following_pb2.ListJobLogsRequest(queue="q", job_id="said")))


def test_a_marked_text_stands_in_no_file_no_log_and_no_export(
    kept: Kept, ring: Path, serve: Serve, tocsin: Tocsin, tmp_path: Path
) -> None:
    server = serve(kept.store.url, handlers="support.jobs.saying", **{ENCRYPTED: str(ring)})
    lived_in(server)
    job = whole(server, "said")
    assert (job.spec.data["text"], job.result.data.struct_value["said"]) == (MARKED, f"{MARKED} result")
    assert [error.message for error in job.errors] == [f"{MARKED} error"]
    assert MARKED in job.errors[0].trace
    assert job.progress.message == f"{MARKED} progress"
    assert lines(server).count(f"{MARKED} line") == 2

    assert MARKED.encode() not in kept.held()
    assert MARKED not in server.said(1_000_000)
    done = tocsin("export", "all.jsonl.gz", server=server)
    assert (done.returncode, "encrypted" in done.stdout) == (0, True)
    exported = gzip.decompress((tmp_path / "all.jsonl.gz").read_bytes())
    assert b'"sealed"' in exported
    assert MARKED.encode() not in exported
    assert tocsin("export", "--decrypt", "clear.jsonl", server=server).returncode == 0
    assert MARKED.encode() in (tmp_path / "clear.jsonl").read_bytes()


def test_without_a_key_ring_the_text_stands_there(kept: Kept, serve: Serve) -> None:
    """Else the test above could not fail."""
    server = serve(kept.store.url, handlers="support.jobs.saying")
    lived_in(server)
    assert kept.held().count(MARKED.encode()) > 4


def test_an_encrypted_export_is_imported_where_the_keys_are_and_nowhere_else(
    kept: Kept, ring: Path, serve: Serve, tocsin: Tocsin, redis: RedisBackend
) -> None:
    server = serve(kept.store.url, handlers="support.jobs.saying", **{ENCRYPTED: str(ring)})
    lived_in(server)
    before = whole(server, "said")
    assert tocsin("export", "all.jsonl", server=server).returncode == 0

    keyless = serve(redis.url, "--no-dispatch")
    done = tocsin("import", "all.jsonl", server=keyless)
    assert done.returncode == 1
    assert "0 created" in done.stdout
    assert "no key ring" in done.stderr
    assert "CANNOT_DECRYPT" in done.stderr
    keyless.stop()

    keyed = serve(redis.url, "--no-dispatch", **{ENCRYPTED: str(ring)})
    done = tocsin("import", "all.jsonl", server=keyed)
    assert (done.returncode, done.stderr) == (0, "")
    assert whole(keyed, "said") == before
    assert MARKED.encode() not in b"".join(value for value in _all_of(redis))


def _all_of(redis: RedisBackend) -> list[bytes]:
    redis.client.config_set("rdbcompression", "no")
    return [redis.client.dump(key) or b"" for key in redis.client.scan_iter(count=1000)]


def test_a_server_without_the_ring_does_not_start_on_an_encrypted_store(
    kept: Kept, ring: Path, serve: Serve, tocsin: Tocsin
) -> None:
    server = serve(kept.store.url, "--no-dispatch", **{ENCRYPTED: str(ring)})
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "says", {"text": MARKED}, delay=3600)
    server.stop()
    with pytest.raises(ServerDied, match=r"the store is encrypted .* name its file in encryption.keyring_file"):
        serve(kept.store.url, "--no-dispatch")
    ring.chmod(0o644)
    with pytest.raises(ServerDied, match=r"has mode 0644.*chmod 600"):
        serve(kept.store.url, "--no-dispatch", **{ENCRYPTED: str(ring)})


def test_keys_are_rotated_under_a_running_server_and_the_old_one_goes(
    kept: Kept, ring: Path, serve: Serve, tocsin: Tocsin
) -> None:
    server = serve(kept.store.url, handlers="support.jobs.saying", **{ENCRYPTED: str(ring)})
    lived_in(server)
    before, old = whole(server, "said"), tocsin("keys", "list", "keys.toml").stdout[:8]
    refused = tocsin("keys", "remove", "keys.toml", old)
    assert (refused.returncode, "is the primary" in refused.stderr) == (1, True)
    assert tocsin("keys", "rotate", "keys.toml").returncode == 0
    done = tocsin("reencrypt", store=kept.store, ring=ring)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 jobs looked at, 2 encrypted anew, with 2 lines of log, 0 notes and 1 schedule")
    assert tocsin("keys", "remove", "keys.toml", old).stdout == f"removed key {old}\n"

    # The server goes on, with the new key: it writes by it within a second, and reads what was encrypted anew at once.
    assert whole(server, "said") == before
    with Stubs(server.address) as stubs:
        asked = request("q", "says", {"text": "after"}, job_id="after", delay=3600)
        stubs.jobs.ScheduleJob(asked)
    server.stop()
    assert tocsin("reencrypt", store=kept.store, ring=ring).returncode == 0
    again = serve(kept.store.url, "--no-dispatch", **{ENCRYPTED: str(ring)})
    assert whole(again, "said") == before
    assert whole(again, "after").spec.data["text"] == "after"


def test_reencrypt_says_what_it_lacks(kept: Kept, tocsin: Tocsin) -> None:
    done = tocsin("reencrypt", store=kept.store)
    assert (done.returncode, "tocsin keys create" in done.stderr) == (2, True)
