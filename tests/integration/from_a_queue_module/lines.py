"""The lines of one row, each run once, in order, as they stand on the page."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Any

from support.servers import TESTS
from support.source_tree import ROOT

from integration.from_a_queue_module.page import ADDRESS, Row, code

#: What would steer the commands under test from outside.
_FOREIGN = ("TOCSIN_", "REDIS_", "QUEUE_", "MONGODB_")
_PROMPT = "$ "
_SERVE = ["tocsin", "serve"]
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*=")


class Kind(Enum):
    """What a line is for."""

    PYTHON = auto()
    SHELL = auto()
    VARIABLES = auto()

    @classmethod
    def of(cls, line: str) -> Kind:
        if line.startswith(_PROMPT):
            return cls.SHELL
        return cls.VARIABLES if _VARIABLE.match(line) else cls.PYTHON


class Background:
    """A command that goes on, and what it has said."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def said(self, words: str) -> int:
        """How often it has said this. AssertionError where it has ended."""
        assert self._process.poll() is None, self._log.read_text()
        return self._log.read_text().count(words)

    def kill(self) -> None:
        """kill -9 of the shell and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Lines:
    """Runs what a row has in its second column. `at` names the server that stands for the page's address.

    Each method takes the next line, which must be of its kind. `swap` puts something in the place of what the page
    writes, an address or a password; what is not on the line is refused.
    """

    def __init__(self, row: Row, folder: Path) -> None:
        self._row, self._folder = row, folder
        self._left = deque(row.lines)
        self._last = ""
        self._address: str | None = None
        self._names: dict[str, Any] | None = None
        self._started: list[Background] = []
        for name in ("docs", "protos"):  # lines are typed in a checkout
            (folder / name).symlink_to(ROOT / name)

    @property
    def left(self) -> list[str]:
        """What has not been run yet."""
        return list(self._left)

    def at(self, address: str) -> Lines:
        """From now on the page's address is this one."""
        self._address = address
        return self

    def again(self) -> Lines:
        """The line that was run last is the next one once more."""
        self._left.appendleft(self._last)
        return self

    def python(self) -> Any:
        """Run the next line after the page's first Python block: its value, or that of the name it sets."""
        line = self._next(Kind.PYTHON)
        if self._names is None:
            self._names = {}
            exec(self._placed(code("python")[0]), self._names)
        statement = ast.parse(line).body[-1]
        if isinstance(statement, ast.Expr):
            return eval(line, self._names)
        exec(line, self._names)
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            return self._names[statement.targets[0].id]
        return None

    def shell(
        self,
        *,
        exits: int | Collection[int] = 0,
        swap: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        tools: Path | None = None,
    ) -> str:
        """Type the next line into a shell: what it prints, spaces drawn together, and frames left out.

        exits: the exit code that it must have, or those. tools: a further folder of PATH.
        """
        line = self._next(Kind.SHELL, swap)
        done = subprocess.run(
            ["sh", "-c", line],
            env=self._environment(env, tools),
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        expected = {exits} if isinstance(exits, int) else exits
        assert done.returncode in expected, f"$ {line}\nexited {done.returncode}\n{done.stdout}{done.stderr}"
        return " ".join(re.sub("[│╭╮╰╯─]", " ", done.stdout + done.stderr).split())

    def background(self, env: Mapping[str, str] | None = None) -> Background:
        """Start the next line in a shell, and let it go on until the test's end."""
        line = self._next(Kind.SHELL)
        log = self._folder / f"background-{len(self._started)}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                ["sh", "-c", line],
                env=self._environment(env),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._started.append(Background(process, log))
        return self._started[-1]

    def variables(self, swap: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables that the next line sets, for a server's environment."""
        return variables_of(self._next(Kind.VARIABLES, swap))

    def flags(self) -> list[str]:
        """The flags of the next line, which starts a server."""
        words = shlex.split(self._next(Kind.SHELL))
        assert words[:2] == _SERVE, words
        return words[2:]

    def close(self) -> None:
        """End what was started; the test is over."""
        for started in self._started:
            started.kill()
        if self._names is not None:
            self._names["tocsin"].close()

    def _next(self, kind: Kind, swap: Mapping[str, str] | None = None) -> str:
        assert self._left, f"the row of {self._row.test} has no line left"
        line = self._last = self._left.popleft()
        assert Kind.of(line) is kind, f"{self._row.test} takes this line for another kind: {line}"
        for old, new in (swap or {}).items():
            assert old in line, f"{old!r} is not on the line {line}"
            line = line.replace(old, new)
        return self._placed(line.removeprefix(_PROMPT))

    def _placed(self, text: str) -> str:
        return text if self._address is None else text.replace(ADDRESS, self._address)

    def _environment(self, env: Mapping[str, str] | None, tools: Path | None = None) -> dict[str, str]:
        """As a user's shell would have it, with `tocsin` and `python` on PATH."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        folders = [Path(sys.executable).parent, *([tools] if tools else [])]
        clean["PATH"] = os.pathsep.join([*map(str, folders), clean["PATH"]])
        clean["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), clean.get("PYTHONPATH")]))
        if self._address is not None:
            clean["TOCSIN_ADDRESS"] = self._address
        return {**clean, **(env or {})}


def variables_of(line: str) -> dict[str, str]:
    """What a line sets for a server; nothing where it is of another kind."""
    if Kind.of(line) is not Kind.VARIABLES:
        return {}
    return {name: value for name, _, value in (word.partition("=") for word in shlex.split(line))}


@contextlib.contextmanager
def lines_of(row: Row, folder: Path) -> Iterator[Lines]:
    """The lines of a row; what they started ends with it."""
    lines = Lines(row, folder)
    try:
        yield lines
    finally:
        lines.close()
