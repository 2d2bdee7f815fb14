"""One value, sealed (store/encrypting/sealing.py): it opens where it belongs, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain import sealed as form
from tocsin_server.domain.errors import CannotDecrypt, KeyMissing
from tocsin_server.store.encrypting.keyring import LiveKeyring, create_keyring
from tocsin_server.store.encrypting.sealing import OF_SCHEDULE, as_text, from_text, key_of, open_sealed, seal
from tocsin_server.store.encrypting.values import MadeIds


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LiveKeyring:
    file = tmp_path_factory.mktemp("ring") / "keys.toml"
    create_keyring(file)
    return LiveKeyring(file)


@given(clear=st.binary(max_size=300))
def test_what_is_sealed_opens_as_it_was(keys: LiveKeyring, clear: bytes) -> None:
    key = keys.ring.primary
    sealed = seal(key, "payload", "q", "a", clear)
    assert open_sealed(keys, "payload", "q", "a", sealed) == clear
    assert len(sealed) == len(clear) + form.ADDED_BYTES
    assert key_of(sealed) == key.key_id
    assert sealed != seal(key, "payload", "q", "a", clear)
    assert form.clear_size(sealed) == len(clear)
    text = as_text(sealed)
    assert from_text(text) == sealed
    assert form.clear_text_size(text.encode()) == len(clear)


@pytest.mark.parametrize(
    "place",
    [("result", "q", "a"), ("payload", "p", "a"), ("payload", "q", "b"), ("payload", "qa", ""), ("payload", "", "qa")],
)
def test_it_opens_in_no_other_place(keys: LiveKeyring, place: tuple[str, str, str]) -> None:
    sealed = seal(keys.ring.primary, "payload", "q", "a", b"secret")
    with pytest.raises(CannotDecrypt):
        open_sealed(keys, *place, sealed)


def test_it_does_not_open_with_any_bit_changed(keys: LiveKeyring) -> None:
    sealed = seal(keys.ring.primary, "payload", "q", "a", b"secret")
    for at in range(len(sealed)):
        with pytest.raises(CannotDecrypt):
            open_sealed(keys, "payload", "q", "a", sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
        with pytest.raises(CannotDecrypt):
            open_sealed(keys, "payload", "q", "a", sealed[:at])


def test_a_missing_key_is_named(keys: LiveKeyring, tmp_path: Path) -> None:
    other = create_keyring(tmp_path / "other.toml").primary
    with pytest.raises(KeyMissing, match=f"key {other.key_id} is not in this server's key ring") as refused:
        open_sealed(keys, "payload", "q", "a", seal(other, "payload", "q", "a", b"secret"))
    assert refused.value.metadata == {"queue": "q", "name": "a", "field": "payload", "key_id": other.key_id}


def test_a_schedules_payload_opens_in_its_own_jobs_alone(keys: LiveKeyring) -> None:
    sealed = seal(keys.ring.primary, "payload", "q", "pay@day", b"secret", OF_SCHEDULE)
    assert open_sealed(keys, "payload", "q", "pay@day@2026-12-31T08:00:00Z", sealed) == b"secret"
    for name in ("pay@day", "pay@2026-12-31T08:00:00Z", "pay", "other@day@2026-12-31T08:00:00Z"):
        with pytest.raises(CannotDecrypt):
            open_sealed(keys, "payload", "q", name, sealed)


@pytest.mark.parametrize("text", ["", "sealed", "sealed:", "sealed:no base64!", "sealed:AAAA", "sealed:" + "QUJD" * 40])
def test_a_clear_text_is_none_that_is_sealed(text: str) -> None:
    assert from_text(text) is None


def test_a_line_that_only_looks_sealed_is_cut_like_any_other() -> None:
    longest = as_text(bytes(form.ADDED_BYTES + 4096))
    assert form.is_sealed_line(longest)
    assert not form.is_sealed_line(longest + "AAAA")
    assert not form.is_sealed_line("sealed:\u00e9")


def test_made_ids_are_uuids_that_grow() -> None:
    ids = MadeIds()
    made = [one for number in (1, 5_000, 0, 3) for one in ids.take(number)]
    assert len(set(made)) == 5_004
    assert made == sorted(made)
    assert {(UUID(one).version, UUID(one).variant, str(UUID(one)) == one) for one in made} == {
        (7, "specified in RFC 4122", True)
    }
