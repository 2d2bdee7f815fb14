"""Starts `tocsin dev` again whenever the code of its handlers changes."""

from __future__ import annotations

import importlib.machinery
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

#: Seconds between two looks at the files.
_EVERY = 0.3

#: Seconds that running jobs get before the server is asked once more, which stops it at once.
_GRACE = 3.0

#: Tells a server that it is not the first one.
AGAIN = "--again"


def run_reloading(arguments: Sequence[str], modules: Iterable[str]) -> int:
    """Run `tocsin` with these arguments until it is interrupted, and anew after each change; its last exit code.

    modules: the names of the handlers' modules, as --handlers has them. The .py files of their packages are watched,
    or, where a module stands by itself, those beside it.
    """
    folders = [folder for name in modules if (folder := _folder(name)) is not None]
    stopping = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: stopping.append(number))
    command = [sys.executable, "-m", "tocsin.cli.main", *arguments]
    seen = _files(folders)
    # The environment is whole: what is withheld from children, the server withholds itself.
    child = subprocess.Popen(command, env=os.environ)  # noqa: S603 - ourselves, as we were called
    while not stopping:
        time.sleep(_EVERY)
        now = _files(folders)
        if now == seen:
            continue
        changed = sorted(path for path in now.keys() | seen.keys() if now.get(path) != seen.get(path))
        seen = now
        typer.secho(f"{os.path.relpath(changed[0])} changed, starting again", fg="cyan")
        _stop(child)
        child = subprocess.Popen([*command, AGAIN], env=os.environ)  # noqa: S603
    # A terminal's Ctrl-C has reached the server as well; for it, another signal would mean "at once".
    if stopping[0] != signal.SIGINT or not sys.stdin.isatty():
        child.terminate()
    while child.poll() is None:
        time.sleep(0.05)
        if len(stopping) > 1:
            child.terminate()
            stopping.pop()
    return child.returncode


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            child.terminate()
    child.wait()


def _folder(module: str) -> Path | None:
    name = module.partition(":")[0].partition(".")[0]
    spec = importlib.machinery.PathFinder.find_spec(name, [os.getcwd(), *sys.path])
    if spec is None:
        return None  # the server says so
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin).parent if spec.origin else None


def _files(folders: Iterable[Path]) -> dict[Path, int]:
    """When each file was changed last."""
    found = {}
    for folder in folders:
        inside = folder.rglob("*.py") if (folder / "__init__.py").exists() else folder.glob("*.py")
        for path in inside:
            try:
                found[path] = path.stat().st_mtime_ns
            except OSError:  # gone between the two looks, as editors do when they save
                continue
    return found
