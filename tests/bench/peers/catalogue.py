"""Which peers there are: a file each, in the folder of its language. How one is had and started, by language."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers import having

TESTS = having.HERE.parents[1]

_FOREIGN = ("TOCSIN_", "REDIS_", "QUEUE_", "MONGODB_", "CELERY_", "DRAMATIQ_", "dramatiq_")

#: Those that were there when this was written, in the order of the report; others follow.
_ORDER = ["bull", "bullmq", "asynq", "bullmq-py", "saq", "taskiq", "dramatiq", "celery", "arq"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's file."""

    file: Path

    @property
    def name(self) -> str:
        return self.file.stem.replace("_", "-")

    @property
    def language(self) -> str:
        """The folder that it stands in."""
        return self.file.parent.name

    def command(self, folder: Path) -> Sequence[str]:
        """What starts it; `folder` may be written to. Raises NotHad."""
        if self.language == "node":
            return self._node(folder)
        if self.language == "go":
            return [str(having.go_program(self.file))]
        return [str(having.python_of(self.file)), "-P", "-m", f"bench.peers.python.{self.file.stem}"]

    def _node(self, folder: Path) -> Sequence[str]:
        if not folder.exists():
            folder.mkdir(parents=True)
            (folder / "node_modules").symlink_to(having.npm_packages())
            for file in self.file.parent.glob("*.mjs"):
                shutil.copy(file, folder)
        return [shutil.which("node") or "node", str(folder / self.file.name)]


def environment(**more: str) -> dict[str, str]:
    """What a program has: nothing that would steer it from outside; drivers in Python are found by it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    found = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": found, **more}


def peers() -> dict[str, Peer]:
    """All of them, by name."""
    files = [
        *(file for file in (having.HERE / "node").glob("*.mjs") if file.stem != "driver"),
        *(having.HERE / "go").glob("*.go"),
        *(file for file in (having.HERE / "python").glob("*.py") if "# /// script" in file.read_text()),
    ]
    found = {peer.name: peer for peer in map(Peer, files)}
    return dict(sorted(found.items(), key=lambda one: (_ORDER.index(one[0]) if one[0] in _ORDER else 99, one[0])))
