"""grpcurl, grpc-health-probe and the plugins of protoc for Go: from PATH, or built with Go into a cache.

`python -m support.go_tools` builds what is missing and ends with 1 if that cannot be done. A test session starts it
aside at its beginning; processes that need a tool wait for it by the lock on the cache.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What is installed where it is not on PATH, at fixed versions.
MODULES = {
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4",
    "grpc-health-probe": "github.com/grpc-ecosystem/grpc-health-probe@v0.4.61",
    "protoc-gen-go": "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12",
    "protoc-gen-go-grpc": "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2",
}

#: A first build fetches and compiles all of grpc-go: about 150 s on 2 cores.
BUILD_SECONDS = 400
CACHE = Path.home() / ".cache" / "tocsin-test" / "bin"


class NoTool(Exception):
    """A tool cannot be had here; the message says why."""


def find(name: str) -> str | None:
    """Where the tool is: on PATH, in GOBIN, or in the cache."""
    folders = [os.environ.get("GOBIN", ""), str(CACHE)]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(filter(None, folders)))


def tool(name: str) -> str:
    """Where the tool is; builds it, or waits for who builds it, if it is not there. Raises NoTool."""
    if path := find(name):
        return path
    go = shutil.which("go")
    if go is None:
        raise NoTool(f"{name} is not on PATH, and Go is not on PATH to build it")
    with _lock():
        if path := find(name):  # somebody built it while we waited
            return path
        try:
            subprocess.run(
                ["nice", "-n", "19", go, "install", MODULES[name]],
                env={**os.environ, "GOBIN": str(CACHE), "GOFLAGS": "-trimpath"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=BUILD_SECONDS,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise NoTool(f"`go install` failed: {error.stderr.decode(errors='replace').strip()[-400:]}") from None
        except subprocess.TimeoutExpired:
            raise NoTool(f"`go install` took more than {BUILD_SECONDS} s") from None
        return str(CACHE / name)


@contextmanager
def _lock() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_aside() -> subprocess.Popen[bytes] | None:
    """Begin to build what is missing, in a process of its own. None: nothing is missing, or there is no Go."""
    if shutil.which("go") is None or all(find(name) for name in MODULES):
        return None
    nothing = subprocess.DEVNULL
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [sys.executable, "-m", "support.go_tools"]
    return subprocess.Popen(
        command, env=environment, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
    )


def main() -> int:
    """Have all of them, and say where they are, or why not."""
    try:
        for name in MODULES:
            sys.stdout.write(f"{tool(name)}\n")
    except NoTool as trouble:
        sys.stdout.write(f"{trouble}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
