"""The commands of docs/encryption.md work as they stand there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import Stubs

from integration.encryption.conftest import Tocsin

PAGE = (Path(__file__).parents[3] / "docs/encryption.md").read_text()
SET_UP, ROTATION = (
    block.replace("$ ", "").splitlines() for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
)
COMMANDS = re.findall(r"`(tocsin keys [^`]*)`", PAGE)


def test_the_commands_of_the_page_work(
    redis: RedisBackend, serve: Callable[..., Server], tocsin: Tocsin, tmp_path: Path
) -> None:
    create, export, started = SET_UP
    assert tocsin(*shlex.split(create)[1:]).returncode == 0
    name, _, file = export.removeprefix("export ").partition("=")
    assert (started, Path(file.replace("$PWD", str(tmp_path)))) == ("tocsin serve", tmp_path / "keys.toml")
    server = serve(redis.url, "--no-dispatch", **{name: str(tmp_path / "keys.toml")})
    with Stubs(server.address) as stubs:
        stubs.schedule("q", "t", {"a": 1}, job_id="a", delay=3600)
        outputs = []
        for line in ROTATION:
            done = tocsin(*shlex.split(line)[1:], store=redis, ring=tmp_path / "keys.toml")
            assert (done.returncode, done.stderr) == (0, ""), line
            outputs.append(done.stdout)
        assert "1 encrypted anew" in outputs[1]
        old, new = outputs[2].splitlines()
        assert (old.endswith("primary"), new.endswith("primary")) == (False, True)
        assert tocsin("keys", "remove", "keys.toml", old.split()[0]).returncode == 0
        assert dict(stubs.get("q", "a").spec.data) == {"a": 1}


def test_each_step_of_a_rotation_with_copies_works(tocsin: Tocsin) -> None:
    assert tocsin("keys", "create", "keys.toml").returncode == 0
    wanted = [line for line in COMMANDS if "--add-only" in line or "--to KEY" in line]
    assert wanted == ["tocsin keys rotate keys.toml --add-only", "tocsin keys rotate keys.toml --to KEY"]
    added = tocsin(*shlex.split(wanted[0])[1:])
    first, second = tocsin("keys", "list", "keys.toml").stdout.splitlines()
    assert (added.returncode, first.endswith("primary"), second.endswith("primary")) == (0, True, False)
    assert f"--to {second.split()[0]}" in added.stdout
    assert tocsin(*shlex.split(wanted[1].replace("KEY", second.split()[0]))[1:]).returncode == 0
    first, second = tocsin("keys", "list", "keys.toml").stdout.splitlines()
    assert (first.endswith("primary"), second.endswith("primary")) == (False, True)
    unknown = tocsin("keys", "rotate", "keys.toml", "--to", "00000000")
    assert (unknown.returncode, "no key 00000000" in unknown.stderr) == (1, True)


def test_each_command_of_the_page_is_one() -> None:
    words = {line.split()[2] for line in COMMANDS}
    assert words == {"create", "list", "rotate", "remove"}
