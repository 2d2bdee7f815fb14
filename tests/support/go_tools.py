"""grpcurl and grpc-health-probe: from PATH, or built with Go into a cache. Built aside while other tests run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

#: What is installed where it is not on PATH, at fixed versions.
MODULES = {
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4",
    "grpc-health-probe": "github.com/grpc-ecosystem/grpc-health-probe@v0.4.61",
}


class GoTools:
    """Finds the tools, and builds what is missing once `prepare` was called, in this process or another.

    Who builds holds a lock, which the build inherits; who wants a tool meanwhile waits for the lock.
    """

    def __init__(self) -> None:
        self._folder = Path.home() / ".cache" / "tocsin-test" / "bin"
        self._build: subprocess.Popen[bytes] | None = None
        self.trouble: str | None = None  # why they cannot be had

    def _find(self, name: str) -> str | None:
        folders = [os.environ.get("GOBIN", ""), str(self._folder)]
        return shutil.which(name) or shutil.which(name, path=os.pathsep.join(filter(None, folders)))

    def _lock(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        return (self._folder / ".building").open("ab")

    def prepare(self) -> None:
        """Start building what is missing, at a low priority. Does not wait."""
        missing = [name for name in MODULES if self._find(name) is None]
        go = shutil.which("go")
        if not missing:
            return
        if go is None:
            self.trouble = f"{' and '.join(missing)} not found, and Go is not on PATH to build them"
            return
        with self._lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another session builds
            self._build = subprocess.Popen(
                ["nice", "-n", "10", "sh", "-ec", "\n".join(f"{go} install {MODULES[name]}" for name in missing)],
                env={**os.environ, "GOBIN": str(self._folder), "GOFLAGS": "-trimpath"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=(self._folder / ".trouble").open("wb"),
                pass_fds=(lock.fileno(),),
            )

    def path(self, name: str) -> str | None:
        """Where the tool is; waits for its build. None: it cannot be had, `trouble` says why."""
        if (found := self._find(name)) is None and self.trouble is None:
            with self._lock() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH)
            if (found := self._find(name)) is None:
                said = self._folder / ".trouble"
                self.trouble = f"`go install` failed: {said.read_text().strip()[-400:] if said.exists() else ''}"
        return found

    def close(self) -> None:
        """End a build that nobody waits for."""
        if self._build is not None:
            self._build.kill()
            self._build.wait()
            self._build = None


if __name__ == "__main__":  # .ci/run builds them before the tests, so that no test waits
    tools = GoTools()
    tools.prepare()
    found = {name: tools.path(name) for name in MODULES}
    sys.stdout.write(f"{found}\n{tools.trouble or ''}\n")
