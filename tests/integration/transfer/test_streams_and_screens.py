"""What a terminal shows of a long export, and what becomes of one that cannot be written to its end."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from support.servers import TESTS, Server
from support.stubs import Stubs

from integration.transfer.conftest import Tocsin

COMMAND = [sys.executable, "-m", "tocsin.cli.main"]


@pytest.fixture
def environment(quiet: Server) -> dict[str, str]:
    """That of a command line at a server with two jobs."""
    with Stubs(quiet.address) as stubs:
        for job_id in ("a", "b"):
            stubs.schedule("q", "t", job_id=job_id, delay=3_600)
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "TOCSIN_ADDRESS": quiet.address, "TERM": "xterm", "COLUMNS": "100"}


def test_a_terminal_shows_how_far_it_is_and_the_figures_at_the_end(
    environment: dict[str, str], tmp_path: os.PathLike[str]
) -> None:
    for arguments in (["export", "a.jsonl"], ["import", "a.jsonl"]):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            cwd=tmp_path,
        )
        os.close(theirs)
        said = b""
        while chunk := read(ours):
            said += chunk
        assert process.wait(timeout=30) == 0
        os.close(ours)
        assert f"{arguments[0]}ing".encode() in said
        assert b"100%" in said
        assert said.rstrip().endswith((b"0 reminder sets", b"0 refused"))


def read(terminal: int) -> bytes:
    """What comes next; nothing once the other end is closed."""
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux's word for it
        return b""


def test_a_reader_that_has_seen_enough_is_no_fault(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [*COMMAND, "export", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(timeout=30) == 1
    process.stderr.close()


def test_a_full_disk_is_told_in_one_line(quiet: Server, tocsin: Tocsin) -> None:
    done = tocsin("export", "/dev/full", server=quiet)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"tocsin: /dev/full could not be written: No space left on device\n"
    assert not os.path.isfile("/dev/full")
