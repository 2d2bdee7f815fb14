"""grpcurl and grpc-health-probe: from PATH, or built with Go into a cache. Built aside while other tests run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

#: What is installed where it is not on PATH, at fixed versions.
MODULES = {
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4",
    "grpc-health-probe": "github.com/grpc-ecosystem/grpc-health-probe@v0.4.61",
}

#: A first build fetches and compiles all of grpc-go: about 150 s on 2 cores.
BUILD_SECONDS = 400


class GoTools:
    """Finds the tools, and builds what is missing once `prepare` was called."""

    def __init__(self) -> None:
        self._folder = Path.home() / ".cache" / "tocsin-test" / "bin"
        self._build: subprocess.Popen[bytes] | None = None
        self.trouble: str | None = None  # why they cannot be had

    def _find(self, name: str) -> str | None:
        folders = [os.environ.get("GOBIN", ""), str(self._folder)]
        return shutil.which(name) or shutil.which(name, path=os.pathsep.join(filter(None, folders)))

    def prepare(self) -> None:
        """Start building what is missing, at the lowest priority. Does not wait."""
        missing = [name for name in MODULES if self._find(name) is None]
        go = shutil.which("go")
        if not missing:
            return
        if go is None:
            self.trouble = f"{' and '.join(missing)} not found, and Go is not on PATH to build them"
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._build = subprocess.Popen(
            ["nice", "-n", "19", "sh", "-ec", "\n".join(f"{go} install {MODULES[name]}" for name in missing)],
            env={**os.environ, "GOBIN": str(self._folder), "GOFLAGS": "-trimpath"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def path(self, name: str) -> str | None:
        """Where the tool is; waits for its build. None: it cannot be had, `trouble` says why."""
        if self._build is not None:
            try:
                _, said = self._build.communicate(timeout=BUILD_SECONDS)
                if self._build.returncode:
                    self.trouble = f"`go install` failed: {said.decode(errors='replace').strip()[-400:]}"
            except subprocess.TimeoutExpired:
                self.close()
                self.trouble = f"`go install` took more than {BUILD_SECONDS} s"
            self._build = None
        return self._find(name)

    def close(self) -> None:
        """End a build that nobody waits for."""
        if self._build is not None and self._build.poll() is None:
            self._build.kill()
            self._build.communicate()
        self._build = None


if __name__ == "__main__":  # .ci/run builds them before the tests, so that no test waits
    tools = GoTools()
    tools.prepare()
    found = {name: tools.path(name) for name in MODULES}
    sys.stdout.write(f"{found}\n{tools.trouble or ''}\n")
