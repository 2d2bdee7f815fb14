"""Documentation says what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from tocsin_server.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from settings_of(type(field.default), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_each_setting_is_documented_and_none_besides() -> None:
    listed = re.findall(r"^\| `([a-z_.]+)` \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    assert listed == list(settings_of(Settings))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


def _paths() -> list[str]:
    """What architecture.md names in code marks and is a file or a folder."""
    named = re.findall(r"`([\w./*-]+(?:/|\.py|\.lua|\.proto|\.toml))`", (ROOT / "docs/architecture.md").read_text())
    return sorted({path for path in named if "*" not in path})


def _found(path: str) -> bool:
    return any((root / path).exists() for root in (ROOT, ROOT / "server/tocsin_server"))


@pytest.mark.parametrize("path", _paths())
def test_each_path_in_the_drawing_of_the_house_is_there(path: str) -> None:
    assert _found(path)


def test_each_room_is_in_the_drawing_of_the_house() -> None:
    server = ROOT / "server/tocsin_server"
    rooms = {f"{package.parent.name}/" for package in server.glob("*/__init__.py")}
    stores = {f"store/{package.parent.name}/" for package in server.glob("store/*/__init__.py")}
    assert rooms | stores <= set(_paths())
