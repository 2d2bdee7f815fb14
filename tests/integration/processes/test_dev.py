"""`tocsin dev`: what a newcomer sees first."""

from __future__ import annotations

import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2
from support.eventually import until
from support.scraping import text_of
from support.servers import Server
from support.stubs import State, Stubs
from tocsin import Client, InvalidArgument, NotFound


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Server]:
    """`tocsin dev` in an empty folder, with nothing configured."""
    server = Server(tmp_path, command="dev")
    yield server.start()
    assert server.stop() == 0


def test_a_first_job_is_seen_completed_then_lines_to_try_are_printed_and_it_serves_on(dev: Server) -> None:
    until(lambda: "COMPLETED" in dev.said(), within=20, what="the first job COMPLETED")
    until(lambda: "from tocsin import Client" in dev.said(), within=5, what="the Python line")
    assert "grpcurl -plaintext" in dev.said()
    assert str(dev.port) in dev.said()
    with Stubs(dev.address) as stubs:
        [first] = stubs.list("default")
        assert first.state == State.COMPLETED
        assert first.schedule_time.ToMilliseconds() - first.create_time.ToMilliseconds() == 3000


def test_the_greeting_says_where_all_is_and_nothing_is_before_it(dev: Server) -> None:
    until(lambda: "Ctrl-C stops the server." in dev.said(), within=40)
    said = dev.said().splitlines()
    assert said[:4] == [
        f"Tocsin serves on {dev.address}.",
        "  jobs    are kept in .tocsin",
        "  mail    goes to .tocsin/outbox",
        "  yours   no handlers yet: --handlers MODULE",
    ]
    assert said[4].startswith("  metrics are at http://127.0.0.1:")
    assert said[5].startswith("  page    is at http://127.0.0.1:")
    with urllib.request.urlopen(said[5].rpartition(" ")[2], timeout=10) as page:
        assert b"Overview" in page.read()
    assert "tocsin_ready 1" in text_of(said[4].partition("http://")[2].removesuffix("/metrics"))


def test_two_that_begin_at_once_have_a_page_each(tmp_path: Path) -> None:
    servers = [Server(tmp_path / name, command="dev").launch() for name in ("one", "other")]
    try:
        for server in servers:
            server.wait_health(health_pb2.HealthCheckResponse.SERVING)
            until(lambda server=server: "page    is at" in server.said(), within=40)
        pages = {server.said().partition("page    is at ")[2].partition("\n")[0] for server in servers}
        assert len(pages) == 2
        for page in pages:
            with urllib.request.urlopen(page, timeout=10) as shown:
                assert b"Overview" in shown.read()
    finally:
        for server in servers:
            server.kill()


def test_handlers_of_ones_own_are_named_in_the_greeting_and_ctrl_c_says_what_it_waits_for(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DEAF)
    server = Server(tmp_path, ["--handlers", "mine", "--grace", "2m"], command="dev").start()
    try:
        until(lambda: "  yours   mine" in server.said().splitlines(), within=20)
        with Stubs(server.address) as stubs:
            stubs.schedule("default", "deaf", job_id="one")
            until(lambda: "it is deaf" in server.said(), within=20)
        assert server.process is not None
        server.process.send_signal(signal.SIGINT)
        until(
            lambda: "1 job runs and gets up to 120 s to end; a second signal stops at once" in server.said(), within=20
        )
        server.process.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
    finally:
        server.kill()


def test_a_cancel_that_is_repeated_is_shown_once(dev: Server) -> None:
    with Client(dev.address) as client:
        client.schedule("nobody_runs_this", {}, job_id="job-1", delay=3600)
        for _ in range(3):
            client.cancel("job-1", reason="no longer needed")
        client.cancel_many(types=["nobody_runs_this"])
        client.retry("job-1")
        client.cancel("job-1", reason="again")
        until(lambda: "CANCELLED: again" in dev.said(), within=20)
    told = [
        line.split("job-1")[1].strip() for line in dev.said().splitlines() if " job-1 " in line and "CANCELLED" in line
    ]
    assert told == ["CANCELLED: no longer needed", "CANCELLED: again"]


def test_refused_calls_and_the_servers_own_words_are_lines_like_the_others(dev: Server) -> None:
    until(lambda: "Ctrl-C stops the server." in dev.said(), within=40)
    with Client(dev.address) as client:
        with pytest.raises(NotFound):
            client.get("nobody")
        with pytest.raises(InvalidArgument):
            client.pause("no such name")
    until(lambda: "PauseQueue" in dev.said(), within=20)
    assert dev.stop() == 0
    said = dev.said().splitlines()
    refused = [line for line in said if "NOT_FOUND" in line or "INVALID_ARGUMENT" in line]
    line = r"\d\d:\d\d:\d\d ! {} in \d+\.\d ms, called from 127\.0\.0\.1:\d+"
    assert len(refused) == 2
    assert re.fullmatch(line.format("JobService/GetJob NOT_FOUND"), refused[0])
    assert re.fullmatch(line.format("QueueService/PauseQueue INVALID_ARGUMENT"), refused[1])
    assert any(re.fullmatch(r"\d\d:\d\d:\d\d · stopping \(tocsin\.server\) signal=SIGTERM", line) for line in said)
    assert [line for line in said if line.startswith("{")] == []
    dev.start()  # for the fixture, which stops it


def test_a_log_format_that_is_asked_for_is_kept(tmp_path: Path) -> None:
    server = Server(tmp_path, env={"TOCSIN_LOG__FORMAT": "json"}, command="dev").start()
    try:
        with Client(server.address) as client, pytest.raises(NotFound):
            client.get("nobody")
        until(lambda: '"code": "NOT_FOUND"' in server.said(), within=20)
    finally:
        server.kill()


DEAF = """
import sys, time
from tocsin import Handlers

handlers = Handlers()


@handlers.on("deaf")
def deaf(job):
    print("it is deaf", file=sys.stderr, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """`tocsin dev --reload` with a module of one's own in the current folder."""
    (tmp_path / "mine.py").write_text(MINE)
    server = Server(tmp_path, ["--handlers", "mine", "--reload"], command="dev")
    yield server.start()
    assert server.stop() == 0


MINE = """
from tocsin import DoNotRetry, Handlers

handlers = Handlers()


@handlers.on("steps")
async def steps(job):
    await job.progress(0.5, "half way")
    return {"n": 1}


@handlers.on("buggy")
def buggy(job):
    raise DoNotRetry(f"bug with {job.data['name']}")
"""


def test_what_happens_to_jobs_is_shown_with_the_trace_of_what_fails(own: Server) -> None:
    with Stubs(own.address) as stubs:
        good = stubs.schedule("default", "steps").job_id
        bad = stubs.schedule("mail", "buggy", {"name": "Ada"}).job_id
        until(lambda: "COMPLETED in " in own.said() and "jobs retry" in own.said(), within=20)
    said = own.said().splitlines()

    def of(job_id: str) -> list[str]:
        return [line.split(job_id, 1)[1].strip() for line in said if f" {job_id} " in line]

    # A job that is due may be claimed before the call that scheduled it has come back and said so.
    assert sorted(of(good)[:2]) == ["scheduled", "started"]
    assert of(good)[2] == "50% half way"
    assert of(good)[3].startswith("COMPLETED in ")
    scheduled, started, failed, dead = of(bad)
    assert {scheduled, started} == {"scheduled", "started"}
    assert "DoNotRetry: bug with Ada; it ends FAILED: it is not to be repeated" in failed
    assert dead.endswith(f"tocsin jobs retry {bad} --queue mail")
    assert any('File "' in line and "mine.py" in line and "in buggy" in line for line in said)


def test_with_reload_it_starts_again_when_the_code_of_the_handlers_changes(own: Server) -> None:
    module = own.folder / "mine.py"
    with Stubs(own.address) as stubs:
        stubs.schedule("default", "steps", job_id="before")
        stubs.wait_for("default", "before")
        module.write_text(MINE.replace('{"n": 1}', "this is no Python"))
        until(lambda: "mine.py changed, starting again" in own.said(), within=20)
        until(lambda: "cannot be imported: SyntaxError" in own.said(), within=20)
    module.write_text(MINE.replace('{"n": 1}', '{"n": 2}'))
    until(lambda: own.said().count("starting again") == 2, within=20)
    own.wait_health(health_pb2.HealthCheckResponse.SERVING)
    with Stubs(own.address) as stubs:
        stubs.schedule("default", "steps", job_id="after")
        done = stubs.wait_for("default", "after")
        assert done.result.data.struct_value["n"] == 2
        assert stubs.get("default", "before").state == State.COMPLETED
