"""The calls of a queue module."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.eventually import until
from support.servers import Server
from tocsin import Client, Job, JobRequest, NotFound, RetryPolicy

from integration.from_a_queue_module.lines import Lines
from integration.from_a_queue_module.page import ADDRESS, code

CHRISTMAS = datetime(2099, 12, 24, 18, tzinfo=UTC)
ONCE = RetryPolicy(max_attempts=1)
IMAGE = {"path": "a.png"}

#: What the page has one install, at fixed versions.
NODE_PACKAGES = ["@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.1"]

on_redis = pytest.mark.parametrize("server", ["redis"], indirect=True)


def failed(client: Client, count: int) -> list[str]:
    """Ids of so many jobs that were not paid, the newest first, beside another type that failed."""
    wanted = [JobRequest("charge_card", {"amount": 4200}, job_id=f"unpaid-{n}", retry=ONCE) for n in range(count)]
    client.schedule_many([*wanted, JobRequest("fails", retry=ONCE, job_id="other")])
    until(lambda: client.count(states=["FAILED"]) == count + 1, within=20)
    return [f"unpaid-{n}" for n in reversed(range(count))]


@pytest.fixture
def order(client: Client) -> Job:
    """A job for later."""
    return client.schedule("resize_image", IMAGE, at=CHRISTMAS, job_id="order-7")


@pytest.fixture
def failed_order(client: Client) -> Job:
    """A job that has failed."""
    return client.wait(client.schedule("charge_card", {"amount": 4200}, retry=ONCE, job_id="order-7"), timeout=20)


@pytest.fixture
def paid_order(client: Client) -> Job:
    """A job that ended well."""
    return client.wait(client.schedule("charge_card", {"amount": 42}, job_id="order-7"), timeout=20)


@pytest.fixture
def running_order(client: Client) -> Job:
    """A job that runs for an hour, and says how far it is."""
    client.schedule("export_orders", {"pages": 3600}, job_id="order-7")
    return until(lambda: job if (job := client.get("order-7")).progress else None, within=20)  # type: ignore[return-value]


def test_client(lines: Lines, server: Server, client: Client) -> None:
    assert lines.python() == ("mongo" if "QUEUE_PROVIDER" in server.env else "redis")


def test_job_for_now(lines: Lines, client: Client) -> None:
    done = client.wait(lines.python(), timeout=20)
    assert (done.state, done.result) == ("COMPLETED", {"bytes": 5})


def test_job_after_a_delay(lines: Lines, client: Client) -> None:
    made = lines.python()
    assert made.state == "SCHEDULED"
    done = client.wait(made, timeout=20)
    assert done.start_time is not None
    assert done.create_time is not None
    assert timedelta(seconds=3) <= done.start_time - done.create_time < timedelta(seconds=8)


def test_job_at_a_date(lines: Lines, client: Client) -> None:
    made = client.get(lines.python())
    assert (made.state, made.schedule_time) == ("SCHEDULED", CHRISTMAS)


def test_many_jobs(lines: Lines, client: Client) -> None:
    made = lines.python()
    assert [client.wait(job, timeout=20).data for job in made] == [{"path": "a.png"}, {"path": "b.png"}]


def test_status(lines: Lines, client: Client, order: Job) -> None:
    assert lines.python() == "SCHEDULED"
    with pytest.raises(NotFound):
        client.get("order-8")


def test_result(lines: Lines, paid_order: Job) -> None:
    assert lines.python() == paid_order.result == "paid"


def test_progress(lines: Lines, running_order: Job) -> None:
    assert re.fullmatch(r"page \d+", lines.python())


def test_reason(lines: Lines, failed_order: Job) -> None:
    assert lines.python() == "no cover"


def test_list(lines: Lines, client: Client) -> None:
    ids = failed(client, 17)
    assert lines.python() == ids[5:15]


@on_redis
def test_list_in_a_shell(lines: Lines, client: Client) -> None:
    ids = failed(client, 17)
    table = lines.shell()
    assert [word for word in table.split() if word.startswith("unpaid-")] == ids[5:15]


@on_redis
@pytest.mark.timeout(420)  # a first build of the Go tools may be awaited
def test_list_over_grpc(lines: Lines, client: Client, go_tool: Callable[[str], str]) -> None:
    ids = failed(client, 17)
    answer = json.loads(lines.shell(tools=Path(go_tool("grpcurl")).parent))
    # grpcurl writes names as the descriptors that it was served tell it.
    assert [job.get("jobId") or job["job_id"] for job in answer["jobs"]] == ids[5:15]


def test_cancel(lines: Lines, client: Client, order: Job) -> None:
    assert lines.python() == "CANCELLED"
    again = client.cancel("order-7", reason="again")
    assert again.cancel is not None
    assert (again.state, again.cancel.reason) == ("CANCELLED", "moved")


def test_cancel_of_a_running_job(lines: Lines, client: Client, running_order: Job) -> None:
    asked = lines.python()
    assert asked.cancel.grace == timedelta(seconds=5)
    assert client.wait("order-7", timeout=20).state == "CANCELLED"


def test_health(lines: Lines, client: Client) -> None:
    failed(client, 2)
    assert lines.python().queue == "default"
    assert lines.python() == (True, "", 3)
    client.schedule("send_fax")
    assert not client.queue_health().healthy


def test_count(lines: Lines, client: Client) -> None:
    failed(client, 2)
    assert lines.python() == 2


def test_retry(lines: Lines, client: Client, failed_order: Job) -> None:
    assert lines.python() == "WAITING"
    again = client.wait("order-7", timeout=20)
    assert (again.state, again.attempt, again.failures) == ("FAILED", 2, 1)


def test_run_at_once(lines: Lines, client: Client, order: Job) -> None:
    assert lines.python() == "WAITING"
    assert client.wait("order-7", timeout=20).state == "COMPLETED"


def test_update(lines: Lines, client: Client, order: Job) -> None:
    lines.python()
    changed = client.get("order-7")
    assert (changed.schedule_time, changed.data) == (datetime(2099, 12, 31, 9, tzinfo=UTC), {"path": "b.png"})


def test_delete(lines: Lines, client: Client, paid_order: Job) -> None:
    assert lines.python() is None
    with pytest.raises(NotFound):
        client.get("order-7")


def test_clean(lines: Lines, client: Client, paid_order: Job) -> None:
    failed(client, 2)
    assert lines.python() == 0  # it ended less than an hour ago
    assert lines.python() == 3
    assert [job.job_id for job in client.list()] == ["other"]


def test_bulk(lines: Lines, client: Client) -> None:
    failed(client, 2)
    client.pause()
    assert lines.python().matched == 2
    assert lines.python() == 2
    assert client.count(states=["WAITING"], types=["charge_card"]) == 2
    assert lines.python() == 2
    assert client.count(queue="slow") == 2


def test_pause(lines: Lines, client: Client) -> None:
    assert lines.python().paused
    client.schedule("resize_image", IMAGE, job_id="held")
    health = client.queue_health()
    assert (health.paused, health.counts.waiting) == (True, 1)
    assert "new prices" in health.error
    assert not lines.python().paused
    assert client.wait("held", timeout=20).state == "COMPLETED"


def test_events(lines: Lines, client: Client, order: Job, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    watching = threading.Thread(target=lines.python)
    watching.start()

    def hear() -> list[str]:
        said.extend(capsys.readouterr().out.split())
        return said

    until(hear, within=20, what="the job as it stands")
    client.run("order-7")
    watching.join(20)
    # Its progress is a change, too.
    assert list(dict.fromkeys(hear())) == ["SCHEDULED", "WAITING", "ACTIVE", "COMPLETED"]


@on_redis
def test_node(lines: Lines, client: Client, server: Server, npm_packages: Path, user_folder: Path) -> None:
    [program] = code("js")
    (user_folder / "schedule.mjs").write_text(program.replace(ADDRESS, server.address))
    (user_folder / "node_modules").symlink_to(npm_packages)
    job_id, state = lines.shell().split()
    assert state == "SCHEDULED"
    done = client.wait(job_id, timeout=20)
    assert (done.state, done.data) == ("COMPLETED", {"path": "a.png", "sizes": [64, 128]})
