"""Files are read anew when they change, and what cannot be used changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tocsin_server.security.reloading import Reloaded, Unusable, open_to_others, read_file


def words(path: Path) -> str:
    text = read_file(path).decode()
    if text.startswith("bad"):
        raise Unusable("it is bad")
    return text


def replaced(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def test_a_file_is_read_again_once_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("one")
    reads: list[str] = []

    def read() -> str:
        reads.append(words(path))
        return reads[-1]

    reloaded = Reloaded("words", [path], read)
    assert not reloaded.look()
    assert reads == ["one"]
    replaced(path, "two")
    assert reloaded.look()
    assert reloaded.current == "two"
    assert not reloaded.look()
    assert reads == ["one", "two"]


def test_what_cannot_be_used_is_told_once_and_at_the_second_look(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("one")
    reloaded = Reloaded("words", [path], lambda: words(path))
    replaced(path, "bad")
    with capture_logs() as logs:
        assert not reloaded.look()
        assert logs == []
        assert [reloaded.look() for _ in range(3)] == [False] * 3
    assert [(entry["log_level"], entry["why"]) for entry in logs] == [("error", "it is bad")]
    assert reloaded.current == "one"
    replaced(path, "three")
    assert reloaded.look()
    assert reloaded.current == "three"


def test_a_file_that_goes_away_changes_nothing_and_one_through_a_link_is_followed(tmp_path: Path) -> None:
    first, second, link = tmp_path / "1", tmp_path / "2", tmp_path / "link"
    first.write_text("one")
    second.write_text("two")
    link.symlink_to(first)
    reloaded = Reloaded("words", [link], lambda: words(link))
    link.unlink()
    assert not reloaded.look()
    assert reloaded.current == "one"
    link.symlink_to(second)
    assert reloaded.look()
    assert reloaded.current == "two"


def test_at_first_it_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="gone cannot be read: No such file"):
        Reloaded("words", [tmp_path / "gone"], lambda: words(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("mode", "owner", "user", "is_open"),
    [
        (0o600, 5, 5, False),
        (0o400, 5, 5, False),
        (0o640, 5, 5, True),
        (0o604, 5, 5, True),
        (0o620, 5, 5, True),
        (0o640, 0, 5, False),  # a secret laid into a container
        (0o440, 0, 5, False),
        (0o660, 0, 5, True),
        (0o644, 0, 5, True),
        (0o640, 0, 0, True),
    ],
)
def test_a_secret_is_its_owner_s_alone(mode: int, owner: int, user: int, is_open: bool) -> None:
    assert open_to_others(0o100000 | mode, owner, user) is is_open


def test_a_secret_that_others_can_read_is_refused_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("k")
    os.chmod(path, 0o644)
    with pytest.raises(Unusable, match=r"others than its owner \(mode 0644\): chmod 600"):
        read_file(path, secret=True)
    assert read_file(path) == b"k"
