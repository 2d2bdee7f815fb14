"""docker/Dockerfile, read as Docker reads it, as far as this one goes; and its steps, carried out without Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from support.source_tree import GENERATED, ROOT

DOCKERFILE = ROOT / "docker/Dockerfile"

#: The folders in the image that its steps name.
_FOLDERS = re.compile(r"(?<![\w.])(?=/(src|opt|data|app)\b)")


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it: (instruction, the rest of its line)."""

    image: str
    steps: tuple[tuple[str, str], ...]

    def all(self, instruction: str) -> list[str]:
        """What each of these instructions says, in order."""
        return [rest for name, rest in self.steps if name == instruction]

    def one(self, instruction: str) -> str:
        """What the only instruction of this name says."""
        [rest] = self.all(instruction)
        return rest

    @cached_property
    def environment(self) -> dict[str, str]:
        """Its ENV."""
        return dict(pair.split("=", 1) for line in self.all("ENV") for pair in line.split())

    @property
    def command(self) -> list[str]:
        """What a container runs: ENTRYPOINT and CMD. Both are lists; the shell's form is none and raises ValueError."""
        return [*json.loads(self.one("ENTRYPOINT")), *json.loads(self.one("CMD"))]

    @property
    def health_check(self) -> list[str]:
        """What is run beside it every now and then; a list, too."""
        return [*json.loads(self.one("HEALTHCHECK").partition("CMD ")[2])]


def stages() -> list[Stage]:
    """All stages; the last one is the image."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for instruction, rest in _instructions():
        if instruction == "FROM":
            found.append((rest.split()[0], []))
        else:
            found[-1][1].append((instruction, rest))
    return [Stage(image, tuple(steps)) for image, steps in found]


def _instructions() -> Iterator[tuple[str, str]]:
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line and not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, _, rest = line.partition(" ")
        yield instruction, " ".join(rest.split())


def copied() -> list[str]:
    """What the build takes from the checkout."""
    lines = [line.split() for stage in stages() for line in stage.all("COPY")]
    return [source for words in lines if not words[0].startswith("--") for source in words[:-1]]


def carry_out(root: Path) -> None:
    """Do all COPY and RUN steps, with `root` for the image's "/" and this process's user for the image's.

    Raises AssertionError with what a step said if it fails.
    """
    for stage in stages():
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.defpath}"
        folder = root
        for instruction, rest in stage.steps:
            if instruction == "WORKDIR":
                folder = Path(within(root, rest))
                folder.mkdir(parents=True, exist_ok=True)
            elif instruction == "ENV" and "PATH=" not in rest:
                environment.update(pair.split("=", 1) for pair in rest.split())
            elif instruction == "COPY":
                _copy(rest.split(), folder)
            elif instruction == "RUN":
                _run(within(root, rest).replace("10001", str(os.getuid())), folder, environment)


def within(root: Path, text: str) -> str:
    """The same with the image's folders below `root`."""
    return _FOLDERS.sub(str(root), text)


def _copy(words: list[str], folder: Path) -> None:
    *sources, target = words
    if sources[0].startswith("--from="):
        assert sources[1:] == [target], "a virtual environment works only where it was made"
        return
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / target, ignore=_unseen)
        else:
            shutil.copy(ROOT / source, folder / target)


def _unseen(folder: str, names: list[str]) -> set[str]:
    """What Dockerfile.dockerignore keeps out of the folders that it lets in."""
    return {name for name in names if name == "__pycache__" or Path(folder, name) == GENERATED}


def _run(command: str, folder: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}"
