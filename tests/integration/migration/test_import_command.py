"""`tocsin migrate` from another system as its user runs it: exit codes, dry runs, what a screen shows, what it
says when a side goes away."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.ports import free_port
from support.redis_backend import RedisBackend
from tocsin_server.cli.migrate_report import ImportReport
from tocsin_server.migrate.systems.bring_in import BroughtIn, Line
from tocsin_server.migrate.systems.foreign import Foreign, Verdict

from integration.migration.conftest import Migrate, command

JOB = {"name": "resize", "data": "{}", "opts": "{}", "timestamp": "1700000000000"}


def bull(redis: RedisBackend, jobs: int = 1, *, held: int = 0) -> tuple[str, ...]:
    """A Bull queue of so many jobs that wait and so many that a worker holds; the arguments that bring it over."""
    for number in range(jobs + held):
        redis.client.hset(f"bull:images:{number}", mapping=JOB)
        redis.client.rpush("bull:images:active" if number < held else "bull:images:wait", str(number))
    return ("--from", "bull", "--source", redis.url)


def test_what_is_left_there_has_an_exit_code_of_its_own(redis: RedisBackend, migrate: Migrate) -> None:
    to = ("--to", f"{redis.url}/1")
    arguments = bull(redis, jobs=2, held=1)
    dry = migrate(*arguments, *to, "--dry-run")
    assert (dry.code, "1 was left there" in dry.said) == (3, False), dry.said
    ran = migrate(*arguments, *to)
    assert ran.code == 3, ran.said
    assert "1 was left there, for the reasons above" in ran.said
    assert migrate(*arguments, *to, "--take-active").code == 0


def test_a_dry_run_asks_the_target_and_leaves_it_as_it_is(redis: RedisBackend, migrate: Migrate) -> None:
    arguments = bull(redis)
    away = migrate(*arguments, "--to", f"redis://127.0.0.1:{free_port()}", "--dry-run")
    assert away.code == 2
    assert away.errors.startswith("tocsin migrate: --to: the store cannot be reached")
    before = redis.dump()
    dry = migrate(*arguments, "--to", f"{redis.url}/1", "--dry-run")
    assert (dry.code, dry.said.splitlines()[-1]) == (0, "dry run: nothing was done"), dry.errors
    assert redis.dump() == before
    with Redis(port=redis.port, db=1) as target:
        assert target.dbsize() == 0


def test_a_source_without_rights_is_sent_to_the_page_of_its_system(redis: RedisBackend, migrate: Migrate) -> None:
    bull(redis)
    client: Any = redis.client
    client.execute_command("ACL", "SETUSER", "poor", "on", ">pw", "~*", "-@all", "+ping", "+client")
    source = redis.url.replace("://", "://poor:pw@")
    ran = migrate("--from", "bull", "--source", source, "--to", f"{redis.url}/1", "--dry-run")
    assert ran.code == 2
    assert "docs/from-bull.md" in ran.errors
    assert "docs/redis.md" not in ran.errors


def test_cut_short_it_says_which_side_and_how_far_it_came(
    redis: RedisBackend, tmp_path: Path, migrate: Migrate
) -> None:
    arguments = bull(redis, jobs=900)
    with RedisBackend(tmp_path / "target") as target:
        # Room for the first batches.
        target.client.config_set("maxmemory-policy", "noeviction")
        used = int(target.client.info("memory")["used_memory"])
        target.client.config_set("maxmemory", used + 1_200_000)
        for number in range(900):
            redis.client.hset(f"bull:images:{number}", "data", '{"text": "' + "x" * 4_000 + '"}')
        ran = migrate(*arguments, "--to", target.url)
    assert ran.code == 2, ran.said
    [line] = ran.errors.splitlines()
    assert line.startswith("tocsin migrate: --to: the store has no room for this"), line
    assert "job_id" not in line
    assert "cut short" in ran.said
    assert " jobs were brought in, 0 had been before" in ran.said


def test_reasons_without_end_are_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    report, imported = ImportReport(None), BroughtIn()
    with report.lines() as tell:
        for number in range(5_000):
            tell(Line(Foreign("q", str(number), "wait", Verdict.REFUSED, (f"{number} is no reason",))))
    report.end(imported, dry_run=False)
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "is no reason" in line]) == 200
    assert "... and 4,800 for other reasons; --report FILE has them all" in lines
    assert len(lines) < 210


def test_a_screen_shows_that_it_goes_on(redis: RedisBackend) -> None:
    arguments = bull(redis, jobs=400)
    ours, theirs = pty.openpty()
    with subprocess.Popen([*command(), *arguments, "--to", f"{redis.url}/1"], stdout=theirs, stderr=theirs) as ran:
        os.close(theirs)
        shown = bytearray()
        try:
            while some := os.read(ours, 65_536):
                shown += some
        except OSError:  # the other end is closed
            pass
        assert ran.wait(30) == 0, shown.decode()
    os.close(ours)
    assert b"images" in shown.partition(b"QUEUE")[0]
    assert b"400 jobs were brought in" in shown
