"""The lines, the file and the program of docs/transfer.md work as they stand there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import Stubs
from tocsin.v1 import job_pb2

from integration.transfer.conftest import Tocsin

PAGE = Path(__file__).parents[3] / "docs/transfer.md"


def block(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


@pytest.fixture
def there(tmp_path: Path, serve: Callable[..., Server]) -> Iterator[Server]:
    """A second server, on a store of its own."""
    with RedisBackend(tmp_path / "second") as redis:
        yield serve(redis.url, "--no-dispatch")


def test_the_page_works_as_it_stands(quiet: Server, there: Server, tocsin: Tocsin, tmp_path: Path) -> None:
    (tmp_path / "sample.jsonl").write_text(block("json"))
    done = tocsin("import", "sample.jsonl", server=quiet)
    assert (done.stdout, done.stderr) == (b"3 created, 0 kept, 0 the same, 0 replaced, 0 refused\n", b"")
    with Stubs(quiet.address) as stubs:
        job = stubs.get("orders", "xmas-ada")
        assert (dict(job.spec.data), job.state) == ({"path": "a.png"}, job_pb2.Job.SCHEDULED)

    def as_tried(text: str) -> str:
        return text.replace("localhost:50051", quiet.address).replace("localhost:50052", there.address)

    for line in block("console").replace("$ ", "").splitlines():
        program, *arguments = shlex.split(as_tried(line))
        assert program == "tocsin"
        assert tocsin(*arguments, server=quiet).returncode == 0
    with Stubs(there.address) as stubs:
        assert stubs.get("orders", "xmas-ada") == job


def test_the_program_of_the_page_works(
    quiet: Server, there: Server, tocsin: Tocsin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sample.jsonl").write_text(block("json"))
    tocsin("import", "sample.jsonl", server=quiet)
    program = block("python").replace("localhost:50051", quiet.address).replace("localhost:50052", there.address)
    exec(program, {})
    assert capsys.readouterr().out == "3 0 0\n"
