"""What runs before a change goes to main leaves no folder of tests out, but what the run before a release has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.eventually import until
from support.source_tree import ROOT

CI, BEFORE_A_RELEASE = ((ROOT / ".ci" / name).read_text() for name in ("run", "full"))

#: A test that passes when it is run again.
PASSES_LATER = """
def test_passes_later(pytestconfig):
    seen = pytestconfig.rootpath / "seen"
    again = seen.exists()
    seen.touch()
    assert again
"""


def folders(of: Path) -> set[str]:
    return {path.name for path in of.iterdir() if path.is_dir() and any(path.rglob("test_*.py"))}


def named(script: str, within: str = "tests") -> set[str]:
    """The folders that a script runs, of those in one."""
    groups = re.findall(rf"(?<![\w/]){within}/(?:\{{([\w,]+)\}}|(\w+))(?![\w/])", script)
    return {name for group, single in groups for name in (group or single).split(",")}


def test_each_folder_of_tests_is_run() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    plain = {path.removeprefix("tests/") for path in options["testpaths"]}
    assert folders(ROOT / "tests") - plain - named(CI) - {"integration"} == set()


def test_each_folder_of_integration_is_run() -> None:
    assert named(CI, "tests/integration") == folders(ROOT / "tests/integration")


def test_each_test_at_full_size_is_run_before_a_release() -> None:
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if re.search(r"mark\.full\b", path.read_text())]
    assert len(marked) > 10
    within = [path.relative_to(ROOT / "tests").parts for path in marked]
    assert {parts[1] for parts in within if parts[0] == "integration"} <= named(BEFORE_A_RELEASE, "tests/integration")
    assert {parts[0] for parts in within} - {"integration"} <= named(BEFORE_A_RELEASE)


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"\bTESTS_[A-Z]+(?==)", CI + BEFORE_A_RELEASE))))
def test_what_one_of_them_sets_is_read_by_tests(setting: str) -> None:
    assert any(setting in path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))


def script(folder: Path, lines: str) -> subprocess.CompletedProcess[str]:
    """Run what is made of the parts of .ci."""
    file = folder / "script"
    file.write_text(f"source {ROOT}/.ci/parts.sh\n{lines}\nin_short\n")
    # `python` is the one that runs the tests, also where no environment is active, or another one is.
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", str(file)], capture_output=True, text=True, timeout=60, check=False, env=env)


@pytest.mark.parametrize("way", ["step", "aside"])
def test_a_step_that_fails_fails_the_whole_after_all_have_run(way: str, tmp_path: Path) -> None:
    ran = script(tmp_path, f'{way} "the first" ls /nowhere\nstep "the second" echo it ran\ngather')
    assert ran.returncode == 1
    assert ran.stdout.endswith("FAILED: the first\n")
    assert "it ran" in ran.stdout
    assert re.search(r"^FAILED +\d+ s  the first$", ran.stdout, re.M)
    assert re.search(r"^ok +\d+ s  the second$", ran.stdout, re.M)
    assert script(tmp_path, f'{way} "the first" true\ngather').returncode == 0


def test_what_goes_on_aside_does_not_outlive_the_script(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    ran = script(
        tmp_path, f"aside slow bash -c 'echo $$ >{kept}; exec sleep 500'\nuntil [ -s {kept} ]; do :; done\nexit 3"
    )
    assert ran.returncode == 3
    stat = Path(f"/proc/{kept.read_text().strip()}/stat")
    until(lambda: not stat.exists() or " Z " in stat.read_text(), within=10, what="its end")


def test_a_test_that_passes_when_run_again_is_told_of_and_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(PASSES_LATER)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    ran = script(tmp_path, f'step "all" tests some -c {tmp_path}/pytest.ini {tmp_path}')
    assert ran.returncode == 0, ran.stdout
    assert "FAILED ONCE" in ran.stdout.partition("=== in short")[2]
    (tmp_path / "test_it.py").write_text("def test_fails():\n    assert False\n")
    assert script(tmp_path, f'step "all" tests some -c {tmp_path}/pytest.ini {tmp_path}').returncode == 1
