"""What an import says of its jobs: names as they are, whole ids in the file, and reasons once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.redis_backend import RedisBackend
from support.servers import Server
from support.source_tree import ROOT
from tocsin import Client

from integration.migration.conftest import Migrate, OpenPlace

NAMES = ("pay[/x]", "[red]q", "[bold]")


@pytest.fixture(scope="module")
def bulls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisBackend]:
    """The Redis that one moves away from."""
    with RedisBackend(tmp_path_factory.mktemp("bulls")) as redis:
        redis.client.flushall()
        yield redis


@pytest.fixture
def source(bulls: RedisBackend) -> RedisBackend:
    """It, empty."""
    bulls.client.flushall()
    return bulls


def put(
    source: RedisBackend, queue: str, job_id: str, *, name: str = "work", data: str = "{}", key: str = "wait"
) -> None:
    """A job of Bull's."""
    job = {"name": name, "data": data, "opts": "{}", "timestamp": "1790000000000"}
    source.client.hset(f"bull:{queue}:{job_id}", mapping=job)
    source.client.lpush(f"bull:{queue}:{key}", job_id)


def test_names_that_look_like_markup_or_pictures_are_shown_as_they_are(
    source: RedisBackend, redis: RedisBackend, migrate: Migrate
) -> None:
    for queue in NAMES:
        put(source, queue, "cart:key:42", key="active")
        put(source, queue, "[/]", name="[link]")
    ran = migrate("--from", "bull", "--source", source.url, "--to", redis.url)
    assert ran.code == 3, ran.errors  # the running one was left
    for queue in NAMES:
        assert re.search(rf"^{re.escape(queue)} +active +0 +0 +1 +0", ran.said, re.MULTILINE), ran.said
        assert (
            f"left {queue}: a worker runs it: stop the old workers, and take it with --take-active: cart:key:42\n"
            in (ran.said)
        )
        assert re.search(rf"^changed {re.escape(queue)}: its type is .*: \[/\]$", ran.said, re.MULTILINE), ran.said


def test_the_file_has_ids_whole_that_lines_cut(
    source: RedisBackend, redis: RedisBackend, migrate: Migrate, tmp_path: Path
) -> None:
    long = "order/" + "0123456789" * 60
    put(source, "mail", long, key="active")
    put(source, "mail", long + "-second")
    report = tmp_path / "report.jsonl"
    ran = migrate("--from", "bull", "--source", source.url, "--to", redis.url, "--report", str(report))
    assert ran.code == 3, ran.errors  # the running one was left
    assert long[:200] in ran.said
    assert long not in ran.said
    ids = [json.loads(line)["id"] for line in report.read_text().splitlines()]
    assert sorted(ids) == [long, long + "-second"]


def test_what_was_brought_in_before_is_not_explained_again(
    source: RedisBackend, redis: RedisBackend, migrate: Migrate, tmp_path: Path
) -> None:
    """A name may be another type by now, which that of the job that stands is not."""
    put(source, "mail", "1", name="send mail")
    report = tmp_path / "report.jsonl"
    arguments = ("--from", "bull", "--source", source.url, "--to", redis.url, "--report", str(report))
    assert "changed mail: its type is 'send-mail-" in migrate(*arguments).said
    again = migrate(*arguments)
    assert "0 jobs were brought in, 1 had been before" in again.said
    assert "changed mail" not in again.said
    [line] = [json.loads(line) for line in report.read_text().splitlines()]
    assert (line["verdict"], line["why"]) == ("before", [])


async def test_data_that_is_no_object_is_read_as_the_page_says(
    source: RedisBackend,
    redis: RedisBackend,
    migrate: Migrate,
    open_place: OpenPlace,
    serve: Callable[..., Server],
    tmp_path: Path,
) -> None:
    page = (ROOT / "docs/from-bull.md").read_text()
    says = re.search(r"`raw` with the content type `application/json`: `([^`]+)`", page)
    assert says is not None
    (tmp_path / "jobs_of_the_page.py").write_text(
        "import json\n\nfrom tocsin import Handlers, JobContext\n\nhandlers = Handlers()\n\n\n"
        f'@handlers.on("work")\nasync def work(job: JobContext) -> object:\n    return {says[1]}\n'
    )
    put(source, "mail", "1", data='["ada", 7]')
    assert migrate("--from", "bull", "--source", source.url, "--to", redis.url).code == 0
    server = serve(redis.url, handlers="jobs_of_the_page")  # in whose folder it runs
    with Client(server.address) as tocsin:
        assert tocsin.wait("1", queue="mail", timeout=30).result == ["ada", 7]
