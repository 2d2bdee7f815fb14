"""`tocsin jobs` typed at a real server, in pipes and on a terminal of 80 columns."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from fcntl import ioctl

import pytest
from support.commands import typed
from support.servers import Server
from tocsin import Client, RetryPolicy

Tocsin = Callable[..., subprocess.CompletedProcess[str]]

PROGRAM = (sys.executable, "-m", "tocsin.cli.main")
FIRST_ONLY = RetryPolicy(max_attempts=1)
FAR = "2099-01-01T00:00:00Z"
STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def tocsin(shared_server: Server) -> Tocsin:
    """`tocsin("jobs", "list")` is that command line, run to its end."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return typed(*arguments, "--address", shared_server.address)

    return run


@pytest.fixture
def client(shared_server: Server) -> Iterator[Client]:
    with Client(shared_server.address) as client:
        yield client


class Screen:
    """A command on a terminal of 80 columns and 24 lines."""

    def __init__(self, *arguments: str) -> None:
        self.terminal, child = pty.openpty()
        ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environ = {**os.environ, "TERM": "xterm-256color"} | {"COLUMNS": "80"}
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments], stdin=child, stdout=child, stderr=child, env=environ, start_new_session=True
        )
        os.close(child)
        self.said = ""

    def read(self, until: str, within: float = 20) -> str:
        """What it has said, once that holds `until`."""
        end = time.monotonic() + within
        while until not in self.said:
            assert select.select([self.terminal], [], [], max(end - time.monotonic(), 0))[0], self.said
            self.said += os.read(self.terminal, 65_536).decode()
        return self.said

    def end(self) -> str:
        """What it has said by its end."""
        try:
            while data := os.read(self.terminal, 65_536):
                self.said += data.decode()
        except OSError:  # the other end is closed
            pass
        self.process.wait(20)
        os.close(self.terminal)
        return self.said


def test_dead_letters_are_retried_in_bulk_and_counted_before(tocsin: Tocsin, client: Client, queue: str) -> None:
    for number in range(3):
        job = client.schedule("fails", queue=queue, job_id=str(number), retry=FIRST_ONLY, tags={"n": str(number)})
        client.wait(job, timeout=20)
    matching = ("--state", "failed", "--type", "fails", "--queue", queue)
    shown = tocsin("jobs", "retry", *matching, "--dry-run").stdout
    first, *counts, these, _, _, _, _ = shown.splitlines()
    assert (first, these) == ("would retry 3 jobs", "these:")
    assert [line.split() for line in counts] == [["STATE", "TYPE", "JOBS"], ["FAILED", "fails", "3"]]
    assert client.count(queue=queue, states=["FAILED"]) == 3
    client.pause(queue)
    unasked = tocsin("jobs", "retry", *matching, "--tag", "n=0")
    assert (unasked.returncode, "give --yes" in unasked.stderr) == (2, True)
    assert tocsin("jobs", "retry", *matching, "--tag", "n=0", "--yes").stdout.endswith("\ndue again: 1 job\n")
    assert tocsin("jobs", "retry", *matching, "--json").returncode == 2
    done = json.loads(tocsin("jobs", "retry", *matching, "--json", "--yes").stdout)
    assert done["counts"] == [{"state": "FAILED", "type": "fails", "jobs": 2}]
    assert (done["done"], done["changedMeanwhile"], done["refused"], done["state"]) == (2, 0, 0, "COMPLETED")
    assert tocsin("jobs", "count", "--queue", queue, "--state", "waiting").stdout == "3\n"
    dry = json.loads(tocsin("jobs", "cancel", "--type", "fails", "--dry-run", "--json", "--queue", queue).stdout)
    assert (dry["matched"], len(dry["sample"]), bool(dry["token"])) == (3, 3, True)
    assert (
        tocsin("jobs", "cancel", "0", "1", "--queue", queue).stdout == "cancelled 0 CANCELLED\ncancelled 1 CANCELLED\n"
    )
    assert tocsin("jobs", "retry", "0", "1", "--queue", queue).stdout == "due again 0 WAITING\ndue again 1 WAITING\n"
    assert client.cancel_many(["0", "1"], queue=queue).cancelled == 2
    assert tocsin("jobs", "cancel", "--type", "fails", "-y", "--queue", queue).stdout.endswith("\ncancelled 1 job\n")
    some = tocsin("jobs", "delete", "0", "unknown", "1", "--queue", queue)
    assert (some.returncode, some.stdout) == (1, "deleted 0\ndeleted 1\n")
    assert "[JOB_NOT_FOUND]" in some.stderr
    assert some.stderr.count("\n") == 1
    purge = ("queues", "purge", queue, "--state", "cancelled")
    assert tocsin(*purge, "--dry-run").stdout == "would delete 1 job\n"
    assert tocsin(*purge, "--ended-before", "1h").stdout == "deleted 0 jobs\n"
    assert tocsin(*purge).stdout == "deleted 1 job\n"
    for misused in (["cancel"], ["retry", "a", "--state", "failed"], ["delete", "a", "--dry-run"]):
        assert tocsin("jobs", *misused).returncode == 2


def test_what_matches_is_shown_and_asked_about(
    shared_server: Server, tocsin: Tocsin, client: Client, queue: str
) -> None:
    for number in range(12):
        client.schedule("noop", queue=queue, job_id=f"n{number:02}", delay=3600)
    due = client.get("n00", queue=queue).schedule_time
    where = ("--queue", queue, "--address", shared_server.address)
    for answer, code in (("n", 1), ("y", 0)):
        screen = Screen("jobs", "retime", "--by=-30m", "--type", "noop", *where)
        screen.read("Retime them? [y/N]: ")
        os.write(screen.terminal, f"{answer}\n".encode())
        said = STYLES.sub("", screen.end())
        assert (screen.process.returncode, "retimed 12 jobs" in said) == (code, code == 0), said
        assert ["SCHEDULED", "noop", "12"] in [line.split() for line in said.splitlines()]
        assert ("such as:" in said, "n11 " in said, "n01 " in said) == (True, True, False)
    assert client.get("n00", queue=queue).schedule_time == due - timedelta(minutes=30)
    assert tocsin("jobs", "prioritize", "high", "--all", "--max-jobs", "2", "-y", *where).returncode == 0
    assert tocsin("jobs", "run", "--priority-min", "high", "--due-to", FAR, "-y", *where).stdout.endswith("2 jobs\n")
    client.wait("n11", queue=queue, timeout=20)
    client.schedule("noop", queue=f"{queue}-b", job_id="n00", delay=3600)
    moved = tocsin("jobs", "move", f"{queue}-b", "--state", "scheduled", "--yes", *where)
    assert (moved.returncode, moved.stdout.splitlines()[-1]) == (1, "moved 9 jobs, refused 1")
    assert "[JOB_EXISTS]" in moved.stderr
    assert client.count(queue=f"{queue}-b") == 10
    assert tocsin("jobs", "run", "n00", *where).stdout == "due now n00 WAITING\n"
    none = tocsin("jobs", "delete", "--type", "unknown", *where)
    assert (none.returncode, none.stdout) == (0, "would delete 0 jobs\n")
    for misused in (["retime", "--all"], ["move", f"{queue}-b"], ["prioritize", "high"], ["run", "a", "--all"]):
        assert tocsin("jobs", *misused).returncode == 2, misused


def test_a_wait_prints_the_result_and_exits_by_the_outcome(tocsin: Tocsin, client: Client, queue: str) -> None:
    done = tocsin("jobs", "schedule", "echo", "--data", '{"n": 20, "b": 1, "a": 2}', "--queue", queue, "--wait")
    assert (done.returncode, done.stdout) == (0, '{"a": 2, "b": 1, "n": 20}\n')
    assert "COMPLETED" in done.stderr
    client.schedule("fails", queue=queue, job_id="bad", retry=FIRST_ONLY)
    failed = tocsin("jobs", "wait", "bad", "--queue", queue, "--json")
    assert (failed.returncode, json.loads(failed.stdout)["state"]) == (3, "FAILED")
    client.schedule("noop", queue=queue, job_id="later", delay=3600)
    late = tocsin("jobs", "wait", "later", "--timeout", "200ms", "--queue", queue)
    assert (late.returncode, late.stdout) == (5, "")
    assert "later has not ended within 200ms" in late.stderr
    client.cancel("later", queue=queue)
    assert tocsin("jobs", "wait", "later", "--queue", queue).returncode == 4
    nobody = tocsin("jobs", "wait", "nobody", "--queue", queue)
    assert (nobody.returncode, "[JOB_NOT_FOUND]" in nobody.stderr) == (1, True)


def test_a_job_is_updated(tocsin: Tocsin, client: Client, queue: str) -> None:
    client.schedule("echo", {"n": 1}, queue=queue, job_id="a", delay=3600)
    done = tocsin("jobs", "update", "a", "--priority", "high", "--data", '{"n": 2}', "--at", FAR, "--queue", queue)
    assert (done.returncode, done.stdout) == (0, f"updated a SCHEDULED due {FAR[:-1]}.000Z\n")
    job = client.get("a", queue=queue)
    assert (job.priority, job.data) == (10, {"n": 2})
    stale = tocsin("jobs", "update", "a", "--priority", "1", "--revision", "1", "--queue", queue)
    assert (stale.returncode, "[REVISION_MISMATCH]" in stale.stderr or "ABORTED" in stale.stderr) == (1, True)
    assert tocsin("jobs", "update", "a").returncode == 2
    terms = ("--timeout", "9s", "--max-attempts", "2", "--failed-for", "1h", "--tag", "k=v")
    assert tocsin("jobs", "update", "a", *terms, "--queue", queue).returncode == 0
    job = client.get("a", queue=queue)
    assert (job.timeout, job.retry.max_attempts, job.tags) == (timedelta(seconds=9), 2, {"k": "v"})
    assert (job.retention.failed_for, job.data) == (timedelta(hours=1), {"n": 2})
    assert tocsin("jobs", "update", "a", "--clear", "timeout", "--clear", "tags", "--queue", queue).returncode == 0
    job = client.get("a", queue=queue)
    assert (job.timeout, job.retry.max_attempts, job.tags) == (None, 2, {})
    for misused in (["--clear", "retry"], ["--clear", "timeout", "--timeout", "1s"]):
        assert tocsin("jobs", "update", "a", *misused, "--queue", queue).returncode == 2


def test_nothing_in_a_value_can_look_like_a_line_of_ours(tocsin: Tocsin, client: Client, queue: str) -> None:
    hostile = "x\nstate      COMPLETED\x9b31m\u202e"
    client.schedule("noop", queue=queue, job_id="a", delay=3600, tags={"t": hostile})
    client.cancel("a", queue=queue, reason=hostile)
    client.pause(queue, reason=hostile)
    for command in (
        *(["jobs", "get", "a"], ["jobs", "list"], ["jobs", "list", "--json", "--full"], ["jobs", "get", "a", "--json"]),
        *(["queues", "get", queue], ["queues", "get", queue, "--json"], ["queues", "health", queue]),
    ):
        said = tocsin(*command, *(["--queue", queue] if command[0] == "jobs" else [])).stdout
        assert said
        assert not any(line.startswith("state      COMPLETED") for line in said.splitlines())
        assert all(character.isprintable() or character == "\n" for character in said), command
        if "--json" in command:
            assert repr(hostile)[1:-1] in str(json.loads(said))


def test_json_has_what_is_false_and_zero_and_whole_numbers(tocsin: Tocsin, client: Client, queue: str) -> None:
    client.schedule("no_handler_for_this", {"z": 20, "a": 1.5}, queue=queue, job_id="a")
    said = tocsin("jobs", "get", "a", "--queue", queue, "--json").stdout
    assert '"data": {"a": 1.5, "z": 20}' in said
    assert json.loads(said)["failures"] == 0
    client.cancel("a", queue=queue)
    health = json.loads(tocsin("queues", "health", queue, "--json").stdout)
    assert (health["healthy"], health["paused"], health["counts"]["waiting"]) == (True, False, "0")


def test_all_that_is_known_has_timeout_retry_and_retention(tocsin: Tocsin, queue: str) -> None:
    typed = "--delay 1h --timeout 5m --max-attempts 7 --job-id a --queue"
    tocsin("jobs", "schedule", "noop", *typed.split(), queue)
    said = [" ".join(line.split()) for line in tocsin("jobs", "get", "a", "--queue", queue).stdout.splitlines()]
    assert "timeout 5m" in said
    assert any(line.startswith("retry max attempts 7, backoff EXPONENTIAL, initial delay 2s") for line in said)
    assert any(line.startswith("retention completed for 1d") for line in said)


def test_a_list_on_80_columns_has_whole_ids_and_no_line_is_broken(
    shared_server: Server, client: Client, queue: str
) -> None:
    ids = [client.schedule("resize_image_for_the_shop", queue=queue, delay=90).job_id for _ in range(3)]
    said = Screen("jobs", "list", "--queue", queue, "--address", shared_server.address).end()
    lines = [STYLES.sub("", line).rstrip() for line in said.splitlines()]
    assert [line.split()[0] for line in lines] == ["JOB_ID", *reversed(ids)]
    assert all(len(line) <= 80 for line in lines), lines
    assert all("in 1 m" in line and "SCHEDULED" in line for line in lines[1:])


def test_values_are_not_dim_and_labels_are(shared_server: Server, client: Client, queue: str) -> None:
    client.schedule("noop", queue=queue, job_id="a", delay=3600)
    said = Screen("jobs", "get", "a", "--queue", queue, "--address", shared_server.address).end()
    [line] = [line for line in said.splitlines() if "queue" in line]
    assert re.search(r"\x1b\[2mqueue\s*\x1b\[0m" + re.escape(queue), line), repr(line)


def test_watched_changes_bear_the_time_of_the_change(tocsin: Tocsin, client: Client, queue: str) -> None:
    job = client.wait(client.schedule("noop", queue=queue, job_id="a"), timeout=20)
    assert job.end_time is not None
    said = tocsin("jobs", "watch", "a", "--queue", queue).stdout
    assert said.startswith(
        job.end_time.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z a noop COMPLETED"
    )


@pytest.mark.parametrize("command", [["top", "--every", "200ms"], ["jobs", "list", "--watch"]])
def test_a_screen_is_drawn_anew_until_q(shared_server: Server, client: Client, queue: str, command: list[str]) -> None:
    client.schedule("noop", queue=queue, job_id="seen", delay=3600)
    more = ["--queue", queue] if command[0] == "jobs" else ["--limit", "100"]
    screen = Screen(*command, *more, "--address", shared_server.address)
    screen.read("seen" if more[0] == "--queue" else "HEALTH")
    os.write(screen.terminal, b"xq")
    screen.end()
    assert screen.process.returncode == 0


def test_top_in_a_pipe_is_printed_once(tocsin: Tocsin, client: Client, queue: str) -> None:
    client.schedule("noop", queue=queue, delay=3600)
    done = tocsin("top", "--limit", "1000")
    assert done.returncode == 0
    [line] = [line for line in done.stdout.splitlines() if line.startswith(f"{queue} ")]
    assert line.split()[:5] == [queue, "ok", "0", "0", "1"]
    lines = done.stdout.splitlines()
    heads = [at for at, line in enumerate(lines) if line.startswith("WORKER ")]
    assert [lines[at].split()[:3] for at in heads] == [["WORKER", "HOLDS", "FREE"]]
    assert len(lines) > heads[0] + 1  # the server itself runs handlers


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("jobs get fir", {"first-of-all"}),
        ("jobs list --type email_no", {"email_notification"}),
        ("jobs list --state sched", {"scheduled"}),
        ("jobs schedule only_se", {"only_seen_here"}),
        ("jobs wa", {"watch", "wait"}),
        ("doct", {"doctor"}),
        ("doctor --mongodb-u", {"--mongodb-url"}),
    ],
)
def test_a_shell_completes_ids_queues_types_and_commands(
    shared_server: Server, client: Client, queue: str, typed: str, wanted: set[str]
) -> None:
    client.schedule("only_seen_here", job_id="first-of-all", delay=3600, on_conflict="KEEP")
    environ = {
        "_TOCSIN_COMPLETE": "complete_bash",
        "COMP_WORDS": f"tocsin {typed}",
        "COMP_CWORD": str(len(typed.split())),
        "TOCSIN_ADDRESS": shared_server.address,
    }
    done = subprocess.run(
        [*PROGRAM], env={**os.environ, **environ}, capture_output=True, text=True, timeout=30, check=False
    )
    assert set(done.stdout.split()) == wanted, done
