"""`tocsin queues` and `tocsin jobs`, typed at a real server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
from support.commands import typed
from support.servers import Server
from tocsin import Client
from tocsin.errors import FailedPrecondition

Tocsin = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tocsin(shared_server: Server) -> Tocsin:
    """`tocsin("queues", "list")` is that command line, run to its end."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return typed(*arguments, "--address", shared_server.address)

    return run


def test_what_is_named_is_set_and_the_rest_stays(tocsin: Tocsin, queue: str) -> None:
    waits = "--max-attempts 5 --backoff fixed --initial-delay 10s --max-delay 90s --jitter 0 --timeout 1500ms"
    assert tocsin("queues", "update", queue, *waits.split(), "--failed-for", "7d").returncode == 0
    tocsin("queues", "update", queue, "--type", "resize_image", "--concurrency", "3")
    done = tocsin("queues", "update", queue, "--concurrency", "8", "--completed-max", "50", "--failed-max", "25")
    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        f"queue {queue}",
        "completed max 50",
        "failed max 25",
        "all types timeout 1s500ms, concurrency 8, max attempts 5, backoff FIXED, initial delay 10s, max delay 1m30s, "
        "jitter 0.0, failed for 7d",
        "type resize_image concurrency 3",
    ]
    shown = json.loads(tocsin("queues", "get", queue, "--json").stdout)
    assert shown["typeDefaults"] == {"resize_image": {"concurrency": 3}}
    assert shown["defaults"]["retry"]["maxAttempts"] == 5
    assert (shown["completedMax"], shown["failedMax"]) == ("50", "25")


def test_the_ageing_of_priorities_is_set_shown_and_taken_back(tocsin: Tocsin, queue: str) -> None:
    done = tocsin("queues", "update", queue, "--priority-ageing", "10m")
    assert " ".join(done.stdout.split()) == f"queue {queue} ageing one priority gained in each 10m of waiting"
    assert json.loads(tocsin("queues", "get", queue, "--json").stdout)["priorityAgeing"] == "600s"
    refused = tocsin("queues", "update", queue, "--priority-ageing", "10ms")
    assert refused.returncode != 0
    assert "queue.priority_ageing: is 0.01 s, not 1 s to 30 days" in " ".join(refused.stderr.split())
    both = tocsin("queues", "update", queue, "--priority-ageing", "10m", "--no-priority-ageing")
    of_type = tocsin("queues", "update", queue, "--type", "t", "--priority-ageing", "10m")
    assert (both.returncode, of_type.returncode) == (2, 2)
    done = tocsin("queues", "update", queue, "--no-priority-ageing")
    assert " ".join(done.stdout.split()) == f"queue {queue}"


def test_a_queue_is_deleted_once_no_job_stands_in_it(tocsin: Tocsin, shared_server: Server, queue: str) -> None:
    with Client(shared_server.address) as client:
        job = client.schedule("noop", queue=queue, delay=3600)
        refused = tocsin("queues", "delete", queue)
        assert refused.returncode != 0
        assert "1 job stands" in refused.stderr
        assert "PurgeJobs" in refused.stderr
        with pytest.raises(FailedPrecondition) as raised:
            client.delete_queue(queue)
        assert (raised.value.reason, raised.value.metadata["jobs"]) == ("QUEUE_IN_USE", "1")
        client.cancel(job)
        client.purge(queue, states=["CANCELLED"])
        done = tocsin("queues", "delete", queue)
        assert (done.returncode, done.stdout) == (0, f"queue {queue} deleted\n")
        assert queue not in [one.name for one in client.queues()]
        client.delete_queue(queue)  # gone already
        client.wait(client.schedule("noop", queue=queue))
        assert queue in [one.name for one in client.queues()]


def test_what_was_set_is_taken_back(tocsin: Tocsin, queue: str) -> None:
    tocsin("queues", "update", queue, "--concurrency", "3", "--max-attempts", "5", "--completed-max", "50")
    tocsin("queues", "update", queue, "--type", "a.b", "--timeout", "5s", "--jitter", "0")
    done = tocsin("queues", "update", queue, "--json", "--clear", "max-attempts", "--clear", "completed-max")
    left = json.loads(done.stdout)
    nothing = {
        "paused": False,
        "pauseReason": "",
        "draining": False,
        "limits": [],
        "fairTurns": False,
        "sharedLimits": [],
    }
    assert left.keys() == {*nothing, "queue", "defaults", "typeDefaults"}
    assert (left["defaults"], left["typeDefaults"]["a.b"]["timeout"]) == ({"concurrency": 3}, "5s")
    done = tocsin("queues", "update", queue, "--json", "--type", "a.b", "--clear", "all", "--timeout", "9s")
    assert json.loads(done.stdout)["typeDefaults"]["a.b"]["timeout"] == "9s"
    tocsin("queues", "update", queue, "--type", "a.b", "--clear", "all")
    left = json.loads(tocsin("queues", "update", queue, "--clear", "all", "--json").stdout)
    assert left == {"queue": queue, "typeDefaults": {}, **nothing}


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        ("", 2, "name what to change"),
        ("--type x --completed-max 5", 2, "--completed-max is of the whole queue"),
        ("--type x --clear failed-max", 2, "is none of all, concurrency, min-worker-version"),
        ("--clear colour", 2, "'colour' is none of all, concurrency"),
        ("--clear jitter --jitter 0.5", 2, "given a value and cleared"),
        ("--backoff sometimes", 2, "is not one of fixed, exponential"),
        ("--type x --concurrency 0", 1, "queue.type_defaults[x].concurrency: is 0, not 1 to 10,000"),
        ("--initial-delay 2h", 0, "initial delay 2h"),
    ],
)
def test_what_cannot_be_set_is_refused_in_one_line(
    tocsin: Tocsin, queue: str, typed: str, code: int, said: str
) -> None:
    done = tocsin("queues", "update", queue, *typed.split())
    assert done.returncode == code
    assert said in " ".join((done.stdout + done.stderr).replace("│", " ").split())


def test_priorities_have_words(tocsin: Tocsin, queue: str) -> None:
    for word in ("low", "normal", "HIGH", "3"):
        done = tocsin("jobs", "schedule", "x", "--delay", "1h", "--queue", queue, "--job-id", word, "--priority", word)
        assert done.returncode == 0
    done = tocsin("jobs", "list", "--queue", queue, "--priority-min", "normal", "--priority-max", "high", "--json")
    found = {(job := json.loads(line))["jobId"]: job["spec"].get("priority", 0) for line in done.stdout.splitlines()}
    assert found == {"HIGH": 10, "3": 3, "normal": 0}
    wrong = tocsin("jobs", "schedule", "x", "--queue", queue, "--priority", "urgent")
    assert wrong.returncode == 2
    assert "'urgent' is none of low, normal, high" in " ".join(wrong.stderr.replace("│", " ").split())


def test_an_ended_job_is_deleted_and_a_standing_one_is_not(tocsin: Tocsin, queue: str, shared_server: Server) -> None:
    with Client(shared_server.address) as client:
        client.wait(client.schedule("noop", queue=queue, job_id="done"), timeout=10)
        client.schedule("noop", queue=queue, job_id="later", delay=3600)
        gone = tocsin("jobs", "delete", "done", "--queue", queue)
        assert (gone.returncode, gone.stdout) == (0, "deleted done\n")
        again = tocsin("jobs", "delete", "done", "--queue", queue)
        assert (again.returncode, "[JOB_NOT_FOUND]" in again.stderr) == (1, True)
        refused = tocsin("jobs", "delete", "later", "--queue", queue)
        assert (refused.returncode, "[WRONG_STATE]" in refused.stderr) == (1, True)
        client.cancel("later", queue=queue)
        assert json.loads(tocsin("jobs", "delete", "later", "--queue", queue, "--json").stdout) == {
            "jobId": "later",
            "deleted": True,
        }
