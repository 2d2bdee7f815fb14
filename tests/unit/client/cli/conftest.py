"""Runs command lines in this process, beside the servers of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from tocsin.cli.app import run


@dataclass(frozen=True)
class Said:
    """What a command line left behind."""

    code: int
    out: str
    err: str


Tocsin = Callable[..., Awaitable[Said]]


def exit_code(arguments: tuple[str, ...]) -> int:
    with pytest.raises(SystemExit) as left:
        run(arguments)
    return int(left.value.code or 0)


@pytest.fixture
def tocsin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tocsin:
    """`await tocsin("jobs", "list")` is that command line, run to its end."""
    monkeypatch.delenv("TOCSIN_ADDRESS", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    async def tocsin(*arguments: str) -> Said:
        capsys.readouterr()
        code = await asyncio.to_thread(exit_code, arguments)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return tocsin
