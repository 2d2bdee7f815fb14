"""The example workers of tests/interop, built with each language's own tools: once for each state of their sources.

`python -m support.example_workers` builds all and ends with 1 if one cannot be built here.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support import go_tools, node_tools

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests/interop"
PROTOS = ROOT / "protos"
CACHE = Path.home() / ".cache" / "tocsin-test"
LANGUAGES = ("go", "node", "java")

#: A first build fetches grpc, and for Go compiles it: minutes on 2 busy cores. Seconds later.
BUILD_SECONDS = 570
_IN_USE_SECONDS = 7200  # since somebody asked for it
_PROTOC = (sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}")
_MADE = frozenset({"gen", "bin", "build", "target", "node_modules", "proto", "resources"})  # by builds in the checkout


class NotBuilt(Exception):
    """An example cannot be built here; the message says why."""


def command(language: str, program: str) -> list[str]:
    """What starts a program of an example: "worker", "poll", "client", "many", or but in Java "days". Builds it first.
    NotBuilt."""
    folder = built(language)
    if language == "go":
        return [str(folder / "bin" / program)]
    if language == "node":
        return ["node", str(folder / "build" / f"{program}.js")]
    name = {"worker": "StreamWorker", "poll": "PollWorker", "client": "Client", "many": "Many"}[program]
    return ["java", "-cp", f"{folder}/target/classes:{folder}/target/lib/*", name]


def built(language: str) -> Path:
    """The folder in which an example is built. NotBuilt."""
    folder = CACHE / f"example-{language}-{_state(language)}"
    if (folder / "built").exists():
        (folder / "built").touch()  # it is in use
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with _lock(language):
        if not (folder / "built").exists():  # else somebody built it while we waited
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(EXAMPLES / language, folder, ignore=lambda _, names: set(names) & _MADE)
            _BUILDS[language](folder)
            (folder / "built").touch()
            _forget_others(language, folder)
    return folder


def _forget_others(language: str, folder: Path) -> None:
    """Remove earlier states, but for those that another checkout may be using."""
    for other in CACHE.glob(f"example-{language}-*"):
        marker = other / "built"
        if other != folder and not (marker.exists() and time.time() - marker.stat().st_mtime < _IN_USE_SECONDS):
            shutil.rmtree(other, ignore_errors=True)


def _build_go(folder: Path) -> None:
    _need("Go", "go")
    try:
        plugins = {Path(go_tools.tool(name)).parent for name in ("protoc-gen-go", "protoc-gen-go-grpc")}
    except go_tools.NoTool as trouble:
        raise NotBuilt(f"Go: {trouble}") from None
    (folder / "gen").mkdir()
    shutil.copy(PROTOS / "tocsin/v1/service_config.json", folder / "client")
    options = ["--go_out=gen", "--go_opt=paths=source_relative", "--go-grpc_out=gen"]
    options += ["--go-grpc_opt=paths=source_relative"]
    _run([*_PROTOC, *options, *_protos()], folder, path=sorted(plugins))
    _run(["go", "build", "-o", "bin/", "./worker", "./poll", "./client", "./days", "./many"], folder)


def _build_node(folder: Path) -> None:
    try:
        modules = node_tools.node_modules()
    except node_tools.NoNode as trouble:
        raise NotBuilt(f"TypeScript: {trouble}") from None
    (folder / "node_modules").symlink_to(modules)
    (folder / "gen").mkdir()
    shutil.copy(PROTOS / "tocsin/v1/service_config.json", folder)
    options = ["--plugin=protoc-gen-ts_proto=node_modules/.bin/protoc-gen-ts_proto", "--ts_proto_out=gen"]
    options += [
        "--ts_proto_opt=outputServices=grpc-js,env=node,esModuleInterop=true,importSuffix=.js,useExactTypes=false"
    ]
    google = [str(PROTOS / f"google/rpc/{name}.proto") for name in ("error_details", "status")]
    _run([*_PROTOC, *options, *_protos(), *google], folder)
    _run(["node_modules/.bin/tsc"], folder)


def _build_java(folder: Path) -> None:
    _need("Java", "java", "javac", "mvn")
    shutil.copytree(PROTOS / "tocsin/v1", folder / "src/main/proto/tocsin/v1")
    resources = folder / "src/main/resources/tocsin/v1"
    resources.mkdir(parents=True)
    shutil.copy(PROTOS / "tocsin/v1/service_config.json", resources)
    goals = ["compile", "dependency:copy-dependencies", "-DoutputDirectory=target/lib"]
    _run(["mvn", "-q", "-B", *goals], folder)


_BUILDS: dict[str, Callable[[Path], None]] = {"go": _build_go, "node": _build_node, "java": _build_java}


def _protos() -> list[str]:
    return sorted(map(str, (PROTOS / "tocsin/v1").glob("*.proto")))


def _need(language: str, *programs: str) -> None:
    if missing := [program for program in programs if shutil.which(program) is None]:
        raise NotBuilt(f"{language}: {' and '.join(missing)} not on PATH")


def _run(arguments: Sequence[str], folder: Path, path: Sequence[Path] = ()) -> None:
    env = {**os.environ, "PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]])}
    try:
        subprocess.run(
            arguments,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=BUILD_SECONDS,
            check=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        raise AssertionError(f"{' '.join(arguments[:3])} failed:\n{error.stdout[-3000:]}") from None


def _state(language: str) -> str:
    """A hash of what the example is built from."""
    digest = hashlib.sha256()
    sources = [path for path in (EXAMPLES / language).rglob("*") if not _MADE & set(path.parts) and path.is_file()]
    for path in sorted([*sources, *PROTOS.rglob("*.proto"), *PROTOS.rglob("*.json"), Path(__file__)]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def _lock(language: str) -> Iterator[None]:
    with (CACHE / f".example-{language}-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Build them all, and say where they are, or why not."""
    missing = 0
    for language in LANGUAGES:
        try:
            sys.stdout.write(f"{built(language)}\n")
        except NotBuilt as trouble:
            sys.stdout.write(f"NOT BUILT: {trouble}\n")
            missing = 1
    return missing


if __name__ == "__main__":
    sys.exit(main())
