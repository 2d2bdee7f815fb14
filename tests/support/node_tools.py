"""npm packages for tests: installed once into a cache, at fixed versions.

`python -m support.node_tools` installs them and ends with 1 if that cannot be done.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

#: What Tocsin takes over from: the lines that are in use, each with the driver that it brings.
PACKAGES = {
    "agenda": "6.2.6",
    "@agendajs/mongo-backend": "4.0.3",
    "mongodb": "7.9.0",
    "agenda5": "npm:agenda@5.0.0",
    "agenda4": "npm:agenda@4.4.0",
    "@hokify/agenda": "6.3.0",
    "bull": "4.16.5",
    "bullmq": "6.7.0",
    "@grpc/grpc-js": "1.14.7",
    "@grpc/proto-loader": "0.8.1",
    "@opentelemetry/api": "1.10.0",
    "@opentelemetry/core": "3.1.0",
    "@opentelemetry/exporter-trace-otlp-grpc": "0.301.0",
    "@opentelemetry/resources": "3.1.0",
    "@opentelemetry/sdk-trace": "3.1.0",
    "ts-proto": "2.18.0",
    "typescript": "7.0.2",
    "@types/node": "26.6.7",
}

INSTALL_SECONDS = 120  # 6 s on 2 cores where the registry is near
_WRITTEN = json.dumps({"private": True, "dependencies": PACKAGES}, indent=2, sort_keys=True)
CACHE = Path.home() / ".cache" / "tocsin-test" / f"npm-{hashlib.sha256(_WRITTEN.encode()).hexdigest()[:12]}"


class NoNode(Exception):
    """The packages cannot be had here; the message says why."""


def node() -> str:
    """Where Node is. Raises NoNode."""
    if path := shutil.which("node"):
        return path
    raise NoNode("node is not on PATH")


def node_modules() -> Path:
    """The folder of the packages; installs them if it is not there. Raises NoNode."""
    node()
    ready = CACHE / "node_modules"
    if ready.exists():
        return ready
    npm = shutil.which("npm")
    if npm is None:
        raise NoNode("npm is not on PATH")
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with (CACHE.parent / ".npm-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():  # else somebody installed them while we waited
            _install(npm)
    return ready


def installed(named: Sequence[str], folder: Path, modules: Path) -> None:
    """`npm install` of these into a folder, from the packages that stand in `modules`: they, what they depend on, and
    nothing else. An optional package is not there unless it is named."""
    wanted, there = list(named), folder / "node_modules"
    while wanted:
        name = wanted.pop()
        if (there / name).exists():
            continue
        shutil.copytree(modules / name, there / name, symlinks=True)
        for package in (there / name).rglob("package.json"):  # with those that stand in its own node_modules
            wanted += [other for other in _needed(package) if (modules / other).exists()]


def _needed(package: Path) -> Sequence[str]:
    try:
        return list(json.loads(package.read_text()).get("dependencies", ()))
    except (ValueError, AttributeError):  # no description of a package
        return ()


def _install(npm: str) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as folder:
        (Path(folder) / "package.json").write_text(_WRITTEN)
        try:
            subprocess.run(
                [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                cwd=folder,
                env={**os.environ, "NO_UPDATE_NOTIFIER": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=INSTALL_SECONDS,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise NoNode(f"`npm install` failed: {error.stderr.decode(errors='replace').strip()[-400:]}") from None
        except subprocess.TimeoutExpired:
            raise NoNode(f"`npm install` took more than {INSTALL_SECONDS} s") from None
        CACHE.mkdir(exist_ok=True)
        (Path(folder) / "node_modules").rename(CACHE / "node_modules")  # whole, or not at all


def main() -> int:
    """Have them, and say where they are, or why not."""
    try:
        sys.stdout.write(f"{node_modules()}\n")
    except NoNode as trouble:
        sys.stdout.write(f"{trouble}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
