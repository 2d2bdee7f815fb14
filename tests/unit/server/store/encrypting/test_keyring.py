"""The key ring's file (store/encrypting/keyring.py): made, read, refused, followed."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from tocsin_server.store.encrypting.keyring import (
    Keyring,
    KeyringError,
    LiveKeyring,
    create_keyring,
    read_keyring,
    write_keyring,
)

SECRET = b64encode(bytes(32)).decode()
GOOD = f'primary = "0123abcd"\n[keys.0123abcd]\nsecret = "{SECRET}"\nmade = "2026-11-30T02:30:00Z"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def written(file: Path, text: str, mode: int = 0o600) -> Path:
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_new_ring_is_for_its_owner_alone_and_reads_as_it_was_made(file: Path) -> None:
    ring = create_keyring(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_keyring(file) == ring
    assert len({ring.primary.secret, Keyring.new().primary.secret, bytes(32)}) == 3


def test_nothing_that_stands_is_written_over(file: Path) -> None:
    ring = create_keyring(file)
    with pytest.raises(KeyringError, match="stands already"):
        create_keyring(file)
    assert read_keyring(file) == ring


def test_a_link_that_leads_away_is_not_followed(file: Path, tmp_path: Path) -> None:
    file.symlink_to(tmp_path / "precious")
    with pytest.raises(KeyringError):
        create_keyring(file)
    assert not (tmp_path / "precious").exists()


def test_no_secret_is_in_a_repr(file: Path) -> None:
    ring = create_keyring(file)
    secret = ring.primary.secret
    for shown in (repr(ring), str(ring), repr(ring.primary)):
        assert repr(secret) not in shown
        assert b64encode(secret).decode() not in shown
        assert secret.hex() not in shown


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o602, 0o601, 0o777, 0o644])
def test_a_file_that_others_may_read_or_change_is_refused(file: Path, mode: int) -> None:
    with pytest.raises(KeyringError, match=f"mode {mode:04o}.*chmod 600"):
        read_keyring(written(file, GOOD, mode))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_file_that_its_group_may_read_is_taken(file: Path, mode: int) -> None:
    assert read_keyring(written(file, GOOD, mode)).primary.key_id == "0123abcd"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no table `keys`"),
        ("keys = 3", "no table `keys`"),
        ("\0\xff", "no TOML"),
        (GOOD.replace("0123abcd]", "0123ABCD]"), "8 hexadecimal digits"),
        (GOOD.replace('"0123abcd"', '"99999999"'), "names none"),
        (GOOD.replace('primary = "0123abcd"', ""), "names none"),
        (GOOD.replace(SECRET, SECRET[4:]), "secret of key 0123abcd"),
        (GOOD.replace(SECRET, "?" * 44), "secret of key 0123abcd"),
        (GOOD.replace("2026-11-30", "30 November"), "`made` of key 0123abcd"),
        ('primary = "0123abcd"\n[keys]\n0123abcd = 3\n', "key 0123abcd is no table"),
    ],
)
def test_a_broken_file_is_told_of_without_what_is_in_it(file: Path, text: str, why: str) -> None:
    with pytest.raises(KeyringError, match=re.escape(why)) as refused:
        read_keyring(written(file, text))
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert SECRET[:12] not in str(refused.value)


def test_a_missing_file_says_how_to_make_one(file: Path) -> None:
    with pytest.raises(KeyringError, match="tocsin keys create"):
        read_keyring(file)


def test_a_ring_is_replaced_at_once_with_its_mode(file: Path) -> None:
    ring = create_keyring(file)
    file.chmod(0o640)
    more = ring.with_new_key()
    write_keyring(file, replace(more, primary=more.newest))
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["keys.toml"]
    found = read_keyring(file)
    assert list(found.keys) == [ring.primary.key_id, more.newest.key_id]
    assert found.primary == more.newest != ring.primary


def test_a_running_server_finds_a_key_that_came_later(file: Path) -> None:
    first = create_keyring(file)
    keys = LiveKeyring(file)
    more = first.with_new_key()
    assert keys.key(more.newest.key_id) is None
    write_keyring(file, more)
    assert keys.key(more.newest.key_id) == more.newest
    assert keys.ring.primary == first.primary


def test_a_file_that_breaks_leaves_the_ring_as_it_was(file: Path) -> None:
    first = create_keyring(file)
    keys = LiveKeyring(file)
    written(file, "broken")
    assert keys.key("00000000") is None  # it was looked at
    assert keys.ring == first
    os.unlink(file)
    assert keys.key("00000000") is None
    assert keys.ring == first
    write_keyring_anew = first.with_new_key()
    written(file, write_keyring_anew.text())
    assert keys.key(write_keyring_anew.newest.key_id) is not None
