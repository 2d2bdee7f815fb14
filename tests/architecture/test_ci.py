"""What runs before a change goes to main leaves no folder of tests out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from support.source_tree import ROOT

CI = (ROOT / ".ci/run").read_text()


def folders(of: Path) -> set[str]:
    return {path.name for path in of.iterdir() if path.is_dir() and any(path.rglob("test_*.py"))}


def test_each_folder_of_tests_is_run() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    plain = {path.removeprefix("tests/") for path in options["testpaths"]}
    named = {name for group in re.findall(r"tests/\{([\w,]+)\}", CI) for name in group.split(",")}
    assert folders(ROOT / "tests") - plain - named - {"integration"} == set()


def test_each_folder_of_integration_is_run() -> None:
    named = {name for group in re.findall(r"tests/integration/\{([\w,]+)\}", CI) for name in group.split(",")}
    assert named == folders(ROOT / "tests/integration")
