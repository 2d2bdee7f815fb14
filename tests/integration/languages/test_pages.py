"""The pages for Go, TypeScript and Java, followed word by word in a fresh folder. Their programs are the examples'."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import go_tools
from support.language_pages import PAGES, commands, files, filled
from support.servers import Server

ROOT = Path(__file__).parents[3]

#: A first run on a machine fetches grpc, and for Go compiles it: minutes on 2 busy cores. Seconds later.
FIRST_RUN_SECONDS = 570
pytestmark = pytest.mark.timeout(FIRST_RUN_SECONDS + 60)

#: What a client prints before it explains what is wrong: the states that its watch saw may be fewer.
STATES = {"SCHEDULED", "WAITING", "ACTIVE", "COMPLETED"}


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("dev"), command="dev")
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """What site-packages is where the wheel is installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "tocsin").symlink_to(ROOT / "protos/tocsin")
    (folder / "google").symlink_to(Path(sysconfig.get_path("purelib")) / "google")
    return folder


class Reader:
    """Who follows a page in a folder: writes its files, types its commands."""

    def __init__(self, language: str, folder: Path, site: Path, address: str) -> None:
        page = PAGES[language][0].read_text()
        self.build, self.work, self.client = commands(page)
        self.folder = folder / language
        self.queue = f"page-{language}"
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], str(go_tools.CACHE)])
        self.env = {**os.environ, "SITE": str(site), "PATH": path, "TOCSIN_QUEUE": self.queue}
        self.address = address
        for name, text in files(page).items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)

    def type(self, block: str) -> subprocess.Popen[str]:
        """Type a block of commands; its process."""
        return subprocess.Popen(
            ["bash", "-ec", block.replace("localhost:50051", self.address)],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def done(self, block: str) -> list[str]:
        """Type a block, wait for its end, and read what was printed."""
        process = self.type(block)
        try:
            out, _ = process.communicate(timeout=FIRST_RUN_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the compilers, too
                process.wait()
        assert process.returncode == 0, out
        return re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()  # Maven may switch colours off, in a file, too


def follow(language: str, folder: Path, site: Path, dev: Server) -> None:
    """Build, start the worker, run the client, read what it says; stop the worker."""
    reader = Reader(language, folder, site, dev.address)
    reader.done(reader.build)
    worker = reader.type(reader.work.replace("TOCSIN_SERVER", "exec env TOCSIN_SERVER", 1))
    try:
        *states, result, first, cancelled, message, reason, violation = reader.done(reader.client)
    finally:
        worker.terminate()
        said = worker.communicate(timeout=30)[0]
    assert states, states
    assert set(states) <= STATES, states
    assert states[-1] == "COMPLETED"
    assert "Ada" in result
    assert (first, cancelled) == ("true", "CANCELLED")
    assert "job.type" in message
    assert reason == "INVALID_FIELD"
    assert violation.startswith("job.type has a character")
    assert worker.returncode == 0, said


@pytest.mark.parametrize("language", PAGES)
def test_a_page_has_the_files_of_its_example(language: str) -> None:
    page, folder = PAGES[language]
    text = page.read_text()
    named = files(text)
    sources = [path for kind in ("go", "ts", "java") for path in folder.glob(f"**/*.{kind}") if path.is_file()]
    apart = {
        "gen",
        "build",
        "node_modules",
        "target",
        "many",
        "many.ts",
        "Many.java",
    }  # made by builds; for tests alone
    own = [path.relative_to(folder) for path in sources]
    assert {path.as_posix() for path in own if not apart & set(path.parts)} <= named.keys()
    assert text == filled(text, folder), "python -m support.language_pages writes them into the page"


#: Their programs are those of tests/interop, which other tests build and run: a page's own commands before a release.
word_by_word = pytest.mark.full


@word_by_word
def test_go(
    dev: Server, site: Path, compilers: Callable[..., None], go_tool: Callable[..., str], tmp_path: Path
) -> None:
    compilers("Go", "go")
    for plugin in ("protoc-gen-go", "protoc-gen-go-grpc"):
        go_tool(plugin, untried="languages")
        assert f"go install {go_tools.MODULES[plugin]}" in PAGES["go"][0].read_text()
    follow("go", tmp_path, site, dev)


@word_by_word
def test_java(dev: Server, site: Path, compilers: Callable[..., None], tmp_path: Path) -> None:
    compilers("Java", "java", "javac", "mvn")
    follow("java", tmp_path, site, dev)


@word_by_word
def test_typescript(dev: Server, site: Path, compilers: Callable[..., None], tmp_path: Path) -> None:
    compilers("TypeScript", "node", "npm")
    follow("node", tmp_path, site, dev)
