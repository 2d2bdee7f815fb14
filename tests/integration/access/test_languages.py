"""The programs of docs/other-languages.md come in by mutual TLS and a token, and by neither of them alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import example_workers
from support.certificates import Authority, Pair
from support.ports import free_port
from support.servers import Server
from tocsin_server.security.principals import Scope
from tocsin_server.security.principals_file import create_token

PAGE = example_workers.ROOT / "docs/other-languages.md"
_SECTION = re.compile(r"^## TLS and a token\n(.*?)^## ", re.M | re.S)
_PROGRAM = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
FENCES = {"go": "go", "node": "ts", "java": "java"}
pytestmark = pytest.mark.timeout(2 * example_workers.BUILD_SECONDS + 60)


@dataclass(frozen=True)
class Guarded:
    """A server that wants both."""

    server: Server
    authority: Authority
    own: Pair
    token: str


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    authority = Authority(folder / "ca")
    served, principals = authority.sign("server"), folder / "principals.toml"
    token, _ = create_token(principals, "shop", [Scope.SCHEDULE], None)
    env = {
        "TOCSIN_TLS__CERT_FILE": str(served.cert),
        "TOCSIN_TLS__KEY_FILE": str(served.key),
        "TOCSIN_TLS__CLIENT_CA_FILE": str(authority.ca),
        "TOCSIN_AUTH__PRINCIPALS_FILE": str(principals),
    }
    server = Server(folder, ["--no-dispatch"], env, health_port=free_port())
    try:
        yield Guarded(server.start(), authority, authority.sign("shop"), token)
    finally:
        server.kill()


def programs() -> dict[str, str]:
    """The page's programs, by fence."""
    section = _SECTION.search(PAGE.read_text())
    assert section is not None
    return dict(_PROGRAM.findall(section[1]))


def command(language: str, folder: Path) -> list[str]:
    """What starts the page's program, built in a copy of the language's example. NotBuilt."""
    text = programs()[FENCES[language]]
    made = example_workers.built(language)
    if language == "java":
        (folder / "Secure.java").write_text(text)
        return ["java", "-cp", f"{made}/target/classes:{made}/target/lib/*", str(folder / "Secure.java")]
    example = folder / "example"
    shutil.copytree(made, example, symlinks=True)
    if language == "go":
        (example / "secure").mkdir()
        (example / "secure/main.go").write_text(text)
        subprocess.run(["go", "build", "-o", "bin/", "./secure"], cwd=example, check=True)
        return [str(example / "bin/secure")]
    (example / "secure.ts").write_text(text)
    subprocess.run(["node_modules/.bin/tsc"], cwd=example, check=True)
    return ["node", str(example / "build/secure.js")]


@pytest.mark.parametrize("language", FENCES)
def test_a_program_comes_in_with_both_and_with_neither_alone(
    language: str, guarded: Guarded, tmp_path: Path, not_run: Callable[[str, str], None]
) -> None:
    try:
        run = command(language, tmp_path)
    except example_workers.NotBuilt as trouble:
        not_run("languages", str(trouble))
    foreign = Authority(tmp_path / "other", "other").sign("shop")

    def said(own: Pair, token: str) -> str:
        for name, path in (("ca.pem", guarded.authority.ca), ("shop.pem", own.cert), ("shop.key", own.key)):
            shutil.copy(path, tmp_path / name)
        env = {**os.environ, "TOCSIN_TOKEN": token}
        target = f"localhost:{guarded.server.port}"
        done = subprocess.run([*run, target], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return done.stdout.strip() if done.returncode == 0 else done.stderr.upper()

    assert said(guarded.own, guarded.token) == "SCHEDULED"
    assert "UNAUTHENTICATED" in said(guarded.own, "tocsin_wrong")
    assert "UNAVAILABLE" in said(foreign, guarded.token)
