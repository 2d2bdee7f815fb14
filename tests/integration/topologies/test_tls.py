"""Redis over TLS, with client certificates, by a user who may do what the store needs and nothing else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.redis_topologies import Authority, TlsRedis
from support.servers import Server
from tocsin import Client, Job, JobRequest, RetryPolicy

from integration.topologies.acl import documented

PASSWORD = "s3cret-pw"
StartServer = Callable[..., Server]


@pytest.fixture(scope="module")
def redis_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    """Locked for all but the documented user (and the test's own, by its socket)."""
    redis = TlsRedis(tmp_path_factory.mktemp("tls"))
    try:
        redis.admin.execute_command(*documented(PASSWORD))
        redis.lock()
        yield redis
    finally:
        redis.stop()


def test_the_documented_user_may_do_all_that_jobs_need(redis_tls: TlsRedis, serve: StartServer) -> None:
    redis_tls.admin.execute_command("ACL", "LOG", "RESET")
    url = redis_tls.url("tocsin", PASSWORD)
    server = serve(url, handlers="support.jobs.everyday", TOCSIN_RETENTION__COMPLETED_MAX="1")
    with Client(server.address) as client:
        first = client.schedule("echo", {"a": 1}, queue="q", tags={"k": "v"}, delay=0.1)
        assert client.wait(first, timeout=20).result == {"a": 1}
        failing = client.schedule("fails_at_first", {"failures": 1}, queue="q", retry=RetryPolicy(initial_delay=0.1))
        assert client.wait(failing, timeout=20).attempt == 2
        asked = client.schedule("until_cancelled", queue="q")
        client.cancel(asked, reason="enough")
        assert client.wait(asked, timeout=20).state == "CANCELLED"
        client.retry(asked)
        client.cancel(asked)
        client.wait(asked, timeout=20)
        client.delete(asked)
        later = client.schedule("echo", {"a": 2}, queue="q", job_id="later", delay=3600)
        client.update(later, priority=5, delay=7200)
        assert client.schedule("noop", queue="q", job_id="later", on_conflict="KEEP").outcome == "KEPT"
        assert client.schedule("noop", queue="q", job_id="later", on_conflict="REPLACE", delay=60).outcome == "REPLACED"
        client.run(later)
        client.wait(later, timeout=20)
        many = client.schedule_many(JobRequest("noop", queue=f"q{n % 3}", delay=3600) for n in range(30))
        assert all(isinstance(one, Job) for one in many)
        client.pause("q", reason="test")
        client.update_queue("q", completed_max=1)
        client.resume("q")
        assert client.queue_health("q").healthy
        assert {queue.name for queue in client.queues()} >= {"q", "q0", "q1", "q2"}
        assert [job.job_id for job in client.list(queue="q", tags={"k": "v"})] == [first.job_id]
        assert client.purge("q0", states=["SCHEDULED"]) == 10
        assert client.server_info().durability == "EVERY_SECOND"
    assert server.stop() == 0
    assert redis_tls.admin.execute_command("ACL", "LOG") == [], "something was denied"
    assert PASSWORD not in server.said(100_000)


@pytest.fixture
def refused_line(tmp_path: Path) -> Callable[[str], str]:
    """`refused_line(redis_url)`: the one line of a server that does not start, exit code 2."""

    def line(url: str) -> str:
        server = Server(tmp_path, env={"REDIS_URL": url}).launch()
        try:
            assert server.wait(20) == 2, server.said()
        finally:
            server.kill()
        lines = server.said().strip().splitlines()
        assert len(lines) == 1, lines
        assert PASSWORD not in lines[0]
        return lines[0]

    return line


def test_a_wrong_password_ends_the_start_with_one_line(redis_tls: TlsRedis, refused_line: Callable[[str], str]) -> None:
    line = refused_line(redis_tls.url("tocsin", "wrong-pw"))
    assert "refuses the user or the password" in line
    assert "wrong-pw" not in line


def test_no_password_ends_the_start_with_one_line(redis_tls: TlsRedis, refused_line: Callable[[str], str]) -> None:
    line = refused_line(redis_tls.url("tocsin", PASSWORD).replace(f"tocsin:{PASSWORD}@", ""))
    assert "refuses the user or the password" in line


def test_a_certificate_of_another_authority_ends_the_start_with_one_line(
    redis_tls: TlsRedis, refused_line: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Authority(tmp_path_factory.mktemp("other"), "other")
    line = refused_line(redis_tls.url("tocsin", PASSWORD, authority=other.certificate))
    assert "certificate is not trusted" in line
    assert "ssl_ca_certs" in line


def test_a_client_without_certificate_is_told_of_tls(redis_tls: TlsRedis, refused_line: Callable[[str], str]) -> None:
    assert "TLS" in refused_line(redis_tls.url("tocsin", PASSWORD, certificate=False))


def test_a_file_that_cannot_be_read_is_named(redis_tls: TlsRedis, refused_line: Callable[[str], str]) -> None:
    missing = redis_tls.authority.certificate.with_name("missing.pem")
    assert "ssl_ca_certs=" in refused_line(redis_tls.url("tocsin", PASSWORD, authority=missing))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("resetkeys", "~other:*"), "GET, MGET"),
        (("-zadd",), "ZADD"),
        (("resetchannels", "&other:*"), "PUBLISH"),
        (("-evalsha", "-eval"), "eval"),
        (("-@all",), "client|setname"),
    ],
    ids=["other keys", "one command less", "another channel", "no scripts", "nothing"],
)
def test_a_missing_permission_ends_the_start_with_one_line(
    redis_tls: TlsRedis, refused_line: Callable[[str], str], change: tuple[str, ...], named: str
) -> None:
    user = documented(PASSWORD)
    user[2] = "meek"
    redis_tls.admin.execute_command("ACL", "DELUSER", "meek")
    redis_tls.admin.execute_command(*user, *change)
    line = refused_line(redis_tls.url("meek", PASSWORD))
    assert named in line
    assert "docs/redis.md" in line


def test_a_password_that_is_changed_under_a_running_server_is_store_away_and_healed_by_its_return(
    redis_tls: TlsRedis, serve: StartServer
) -> None:
    user = documented(PASSWORD)
    user[2] = "rotated"
    redis_tls.admin.execute_command(*user)
    server = serve(redis_tls.url("rotated", PASSWORD), handlers="support.jobs.everyday", TOCSIN_TICK="200ms")
    redis_tls.admin.execute_command("ACL", "SETUSER", "rotated", "resetpass", ">another-pw")
    redis_tls.admin.execute_command("CLIENT", "KILL", "USER", "rotated")
    server.wait_health(2)
    redis_tls.admin.execute_command("ACL", "SETUSER", "rotated", "resetpass", f">{PASSWORD}")
    server.wait_health(1)
    with Client(server.address) as client:
        assert client.wait(client.schedule("echo", {"a": 1}, queue="after"), timeout=20).state == "COMPLETED"
    assert not re.search(f"{PASSWORD}|another-pw", server.said(100_000))


def test_doctor_names_the_trouble_without_secrets(redis_tls: TlsRedis, serve: StartServer) -> None:
    server = serve(redis_tls.url("tocsin", PASSWORD), "--no-dispatch")
    wrong = {**server.env, "REDIS_URL": redis_tls.url("tocsin", "wrong-pw")}
    doctor = subprocess.run(
        [*server.program, "doctor"], env={"PATH": "/usr/bin:/bin", **wrong}, capture_output=True, text=True, check=False
    )
    assert doctor.returncode == 1
    assert "password" in doctor.stdout
    assert "wrong-pw" not in doctor.stdout + doctor.stderr
