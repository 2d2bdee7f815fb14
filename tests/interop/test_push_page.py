"""docs/push.md: its lines are typed, its Python is run, and its receivers verify what the server signs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.http_target import HttpTarget, Reply, http_target
from support.servers import Server
from tocsin import Client
from tocsin_server.webhooks.signing import signature

PAGE = (Path(__file__).parents[2] / "docs/push.md").read_text()
NEW, OLD = "new-secret-of-orders", "old-secret-of-orders"

pytestmark = pytest.mark.timeout(420)  # a first build of the Go tools may be awaited


def blocks(kind: str) -> list[str]:
    """The page's blocks of a kind, in order."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.M | re.S)


def typed() -> list[str]:
    """What is typed into a shell."""
    return [
        line.strip() for block in blocks("console") for line in re.split(r"^\$ ", block, flags=re.M) if line.strip()
    ]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    secrets = {"TOCSIN_HTTP__SECRETS": f"orders={NEW} {OLD}"}
    server = Server(tmp_path_factory.mktemp("dev"), env=secrets, command="dev")
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def target() -> Iterator[HttpTarget]:
    with http_target() as target:
        yield target


def here(text: str, dev: Server, target: HttpTarget) -> str:
    """With this test's own addresses in place of the page's."""
    assert "localhost:50051" in text or "127.0.0.1:8080" in text
    return text.replace("localhost:50051", dev.address).replace("http://127.0.0.1:8080", target.url)


def test_the_pages_python_is_run(dev: Server, target: HttpTarget) -> None:
    request, push, _ = blocks("python")
    target.replies.extend([Reply(body={"paid": 8}), Reply(body=[7])])
    printed = [
        subprocess.run(
            [sys.executable, "-c", here(code, dev, target)], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        for code in (request, push)
    ]
    assert printed == ["{'paid': 8}\n", "[7]\n"]
    assert [(one.path, one.body) for one in target.received] == [("/pay?order=8", b"{}"), ("/print", b'{"bill":7}')]


def test_the_pages_lines_are_typed(dev: Server, target: HttpTarget, go_tool: Callable[[str], str]) -> None:
    path = os.pathsep.join([str(Path(go_tool("grpcurl")).parent), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    environment = {"PATH": path, "TOCSIN_ADDRESS": dev.address}

    def run(line: str, **more: str) -> str:
        done = subprocess.run(
            ["sh", "-c", here(line, dev, target) if "://" in line or "localhost" in line else line],
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}"
        return done.stdout

    request, queue, type_, report = typed()
    scheduled = json.loads(run(request))
    received = target.next()
    assert (received.method, received.path, received.body) == ("PUT", "/pay?order=7", b"{}")
    assert received.headers["tocsin-signature"].count("v1=") == 2
    with Client(dev.address) as client:
        assert client.wait(scheduled["job"].get("jobId") or scheduled["job"]["job_id"], timeout=20).state == "COMPLETED"
        assert "/jobs, signed with orders" in run(queue)
        assert "concurrency 3" in run(type_)
        target.replies.append(Reply(202))
        job = client.schedule("resize", {"n": 1}, queue="orders")
        received = target.next()
        assert received.path == "/resize"
        run(report, TOKEN=received.headers["tocsin-token"])
        assert client.wait(job, queue="orders", timeout=20).result == {"pages": 3}


#: Which secret verifies, the header, the body, and whether it fits.
Case = tuple[str, str, str, bool]


def cases() -> list[Case]:
    now, body = int(time.time()), '{"n":1,"s":"é"}'
    both = signature([NEW, OLD], body.encode(), now)
    old = signature([NEW], body.encode(), now - 3600)
    return [
        (NEW, both, body, True),
        (OLD, both, body, True),
        ("another-secret-of-16", both, body, False),
        (NEW, both, body + " ", False),
        (NEW, old, body, False),
        (NEW, both.replace(f"t={now}", f"t={now - 1}"), body, False),
        (NEW, f"t={now},v1=,v1=zz,v0=1", body, False),
        (NEW, signature([NEW], b"", now), "", True),
    ]


def test_the_pages_python_verifies() -> None:
    made: dict[str, Callable[[str, str, bytes], bool]] = {}
    exec(blocks("python")[2], made)  # type: ignore[arg-type]  # it defines one function
    assert [made["verified"](secret, header, body.encode()) for secret, header, body, _ in cases()] == [
        fits for *_, fits in cases()
    ]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on PATH")
def test_the_pages_javascript_verifies(tmp_path: Path) -> None:
    [code] = blocks("javascript")
    (tmp_path / "verified.mjs").write_text(code)
    (tmp_path / "main.mjs").write_text(
        'import { verified } from "./verified.mjs";\nimport { readFileSync } from "node:fs";\n'
        "const said = JSON.parse(readFileSync(0)).map(([secret, header, body]) => "
        "verified(secret, header, Buffer.from(body)));\nconsole.log(JSON.stringify(said));\n"
    )
    assert answered(["node", "main.mjs"], tmp_path) == [fits for *_, fits in cases()]


@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not on PATH")
def test_the_pages_go_verifies(tmp_path: Path) -> None:
    [code] = blocks("go")
    (tmp_path / "go.mod").write_text("module receiver\n\ngo 1.21\n")
    (tmp_path / "receiver.go").write_text(code.replace("package receiver", "package main"))
    (tmp_path / "main.go").write_text(
        'package main\n\nimport (\n\t"encoding/json"\n\t"os"\n\t"time"\n)\n\nfunc main() {\n'
        "\tvar cases [][]any\n\tjson.NewDecoder(os.Stdin).Decode(&cases)\n\tsaid := []bool{}\n"
        "\tfor _, c := range cases {\n"
        "\t\tsaid = append(said, Verified(c[0].(string), c[1].(string), []byte(c[2].(string)), 5*time.Minute))\n"
        "\t}\n\tjson.NewEncoder(os.Stdout).Encode(said)\n}\n"
    )
    assert answered(["go", "run", "."], tmp_path) == [fits for *_, fits in cases()]


def answered(command: list[str], folder: Path) -> list[bool]:
    """What a program says of all cases."""
    done = subprocess.run(command, cwd=folder, input=json.dumps(cases()), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said: list[bool] = json.loads(done.stdout)
    return said
