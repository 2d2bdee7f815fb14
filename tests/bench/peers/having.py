"""Peers are had from their own package managers, at fixed versions, once into a cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from support import example_workers

HERE = Path(__file__).resolve().parent
CACHE = Path.home() / ".cache" / "tocsin-bench"
INSTALL_SECONDS = 300
#: How a Python peer says what it needs: inline script metadata, as pipx and others read it.
_SCRIPT = re.compile(r"^# /// script$\n((?:^#(?:| .*)$\n)+?)^# ///$", re.MULTILINE)


class NotHad(Exception):
    """A peer cannot be had here; the message says why."""


def program(name: str) -> str:
    """Where a program is. Raises NotHad."""
    if path := shutil.which(name):
        return path
    raise NotHad(f"{name} is not on PATH")


def npm_versions(*names: str) -> dict[str, str]:
    """Versions of packages that node/package.json asks for."""
    asked = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]
    return {name: asked[name] for name in names}


def npm_packages() -> Path:
    """The folder node_modules with all that node/package-lock.json names. Raises NotHad."""
    npm = program("npm")
    program("node")
    described = [HERE / "node" / name for name in ("package.json", "package-lock.json")]

    def install(folder: Path) -> None:
        for file in described:
            shutil.copy(file, folder)
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], folder)

    return _made("npm", described, install) / "node_modules"


def python_of(file: Path) -> Path:
    """The Python of a virtual environment with what a peer's file asks for. Raises NotHad."""
    described = _SCRIPT.search(file.read_text())
    if described is None:
        raise NotHad(f"{file.name} does not say what it needs")
    needed = tomllib.loads(re.sub(r"^# ?", "", described[1], flags=re.MULTILINE))["dependencies"]

    def install(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)], folder)
        pip = [str(folder / "bin" / "python"), "-m", "pip"]
        _run([*pip, "install", "--quiet", "--no-deps", *needed], folder)
        _run([*pip, "check"], folder)  # all is named that is needed

    return _made(file.stem, needed, install) / "bin" / "python"


def go_program(file: Path) -> Path:
    """A peer in Go, built. Raises NotHad."""
    go = program("go")
    sources = sorted(path for path in (HERE / "go").rglob("*") if path.is_file())

    def build(folder: Path) -> None:
        _run([go, "build", "-trimpath", "-o", str(folder / file.stem), file.name], HERE / "go")

    return _made(file.stem, sources, build) / file.stem


def tocsin_go_worker() -> Path:
    """The example worker in Go of tests/interop with the bench's handlers in the place of its own. Raises NotHad."""
    go = program("go")
    try:
        example = example_workers.built("go")
    except example_workers.NotBuilt as trouble:
        raise NotHad(str(trouble)) from None
    handlers = HERE / "tocsin_go" / "handlers.go"

    def build(folder: Path) -> None:
        shutil.copytree(example, folder, dirs_exist_ok=True)
        shutil.copy(handlers, folder / "jobs")
        _run([go, "build", "-trimpath", "-o", "tocsin-worker", "./worker"], folder)

    return _made("tocsin-go", [example.name, handlers], build) / "tocsin-worker"


def _made(name: str, of: Sequence[Path | str], make: Callable[[Path], None]) -> Path:
    """The folder in the cache that belongs to these contents; made if it is not there."""
    contents = [part.read_bytes() if isinstance(part, Path) else part.encode() for part in of]
    digest = hashlib.sha256(b"\0".join([sys.version.encode(), *contents])).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        whole = folder / ".whole"  # a virtual environment cannot be moved, so it is marked when it is whole
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder


def _run(command: Sequence[str], folder: Path) -> None:
    said = f"`{' '.join([Path(command[0]).name, *command[1:4]])}`"
    try:
        subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=INSTALL_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise NotHad(
            f"{said} failed: {(error.stderr + error.stdout).decode(errors='replace').strip()[-400:]}"
        ) from None
    except subprocess.TimeoutExpired:
        raise NotHad(f"{said} took more than {INSTALL_SECONDS} s") from None
