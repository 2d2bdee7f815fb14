"""docs/architecture.md is a map of what is there, and decision records are written in one way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.source_tree import PACKAGES, ROOT

MAP = (ROOT / "docs/architecture.md").read_text()
SERVER = PACKAGES["tocsin_server"]
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))

#: What stands between backticks and is a path: it has a slash, or ends as files do.
_PATH = re.compile(r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:py|lua|md|proto|toml))`")


def folder(package: Path) -> str:
    """A package's folder as the map writes it: the server's from its own root, others from the checkout's."""
    root = SERVER if SERVER in package.parents else ROOT
    return f"{package.relative_to(root)}/"


def paths_of(text: str) -> set[str]:
    return set(_PATH.findall(text))


def missing_of(paths: set[str]) -> list[str]:
    """Those that lead nowhere. What is written as a folder must be one."""
    found = {
        path
        for path in paths
        for root in (ROOT, SERVER)
        if (root / path).exists() and (root / path).is_dir() == path.endswith("/")
    }
    return sorted(paths - found)


def test_each_path_of_the_map_is_there() -> None:
    paths = paths_of(MAP)
    assert len(paths) > 100, "the map was not read"
    assert missing_of(paths) == []


def test_a_wrong_path_is_found() -> None:
    text = "`api/methods.py`, `api/handlers.py`, `api/`, `store/mango/`, `server.py/`, `gone.py`, `JobStore.add`"
    assert missing_of(paths_of(text)) == ["api/handlers.py", "gone.py", "server.py/", "store/mango/"]


def test_each_folder_of_code_is_on_the_map() -> None:
    packages = {file.parent for root in PACKAGES.values() for file in root.rglob("__init__.py")} - {SERVER}
    assert len(packages) > 20
    assert sorted({folder(package) for package in packages} - paths_of(MAP)) == []


def test_the_map_is_short() -> None:
    assert len(MAP.splitlines()) <= 230


@pytest.mark.parametrize("record", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_number_a_sentence_and_three_parts(record: Path) -> None:
    text = record.read_text()
    assert text.startswith(f"# {record.name[:4]}: ")
    parts = re.findall(r"^\*\*(Question|Decisions?|Consequences)\.\*\*", text, re.MULTILINE)
    assert [part.removesuffix("s") for part in parts] == ["Question", "Decision", "Consequence"]


def test_decisions_are_numbered_without_a_hole() -> None:
    assert [int(record.name[:4]) for record in DECISIONS] == list(range(1, len(DECISIONS) + 1))
