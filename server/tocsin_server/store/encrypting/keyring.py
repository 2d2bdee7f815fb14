"""The key ring: a file of keys, of which one, the primary, seals, and all open.

    primary = "5f0c2a91"

    [keys.5f0c2a91]
    secret = "..."                      # 32 bytes in base64
    made = "2026-11-30T02:30:00Z"

A key's id is random and stands with all that it sealed. Nothing here is shown or logged but ids and times.
"""

from __future__ import annotations

import binascii
import os
import re
import secrets
import stat
import time
import tomllib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.encryption")

_SECRET_BYTES = 32
_ID = re.compile(r"[0-9a-f]{8}")
_MOST_KEYS = 1_000
_FILE_BYTES = 1 << 20
_OTHERS_MAY = 0o037  # group may read it, as secrets that are mounted into a container often let it
_LOOK_AGAIN = 1.0  # seconds
_ABOUT = (
    "# Keys of Tocsin's encryption at rest: whoever has this file can read all payloads, and without it nobody can.\n"
    "# Keep it secret, keep a copy apart from the store's backups, and change it with `tocsin keys` alone.\n"
)


class KeyringError(Exception):
    """The file of a key ring cannot be used. One line: which file, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key; its secret is in no repr."""

    key_id: str
    secret: bytes = field(repr=False)
    made: datetime
    cipher: AESGCM = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys by id; `primary` seals."""

    primary: Key
    keys: Mapping[str, Key]

    @classmethod
    def new(cls) -> Keyring:
        """A ring of one new key."""
        key = _new_key()
        return cls(key, {key.key_id: key})

    def with_new_key(self) -> Keyring:
        """With one key more, which is not the primary yet."""
        key = _new_key()
        return replace(self, keys={**self.keys, key.key_id: key})

    @property
    def newest(self) -> Key:
        """The key that was made last; of several the one that the file has last."""
        return max(reversed([*self.keys.values()]), key=lambda key: key.made)

    def text(self) -> str:
        """The ring as its file has it."""
        parts = [_ABOUT, f'primary = "{self.primary.key_id}"\n']
        for key in self.keys.values():
            made = key.made.strftime("%Y-%m-%dT%H:%M:%SZ")
            parts.append(f'\n[keys.{key.key_id}]\nsecret = "{b64encode(key.secret).decode()}"\nmade = "{made}"\n')
        return "".join(parts)


def _new_key() -> Key:
    return _key(secrets.token_hex(4), secrets.token_bytes(_SECRET_BYTES), datetime.now(UTC).replace(microsecond=0))


def _key(key_id: str, secret: bytes, made: datetime) -> Key:
    return Key(key_id, secret, made, AESGCM(secret))


# --- the file ---


def read_keyring(path: Path) -> Keyring:
    """The ring of a file. KeyringError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and stat.S_IMODE(mode) & _OTHERS_MAY:
                raise KeyringError(
                    f"key ring {path} has mode {stat.S_IMODE(mode):04o}, so that others may read or change it: "
                    f"chmod 600 {path}"
                )
            raw = file.read(_FILE_BYTES + 1)
    except OSError as error:
        raise KeyringError(
            f"key ring {path} cannot be read ({error.strerror}): make one with `tocsin keys create {path}`, or put its "
            "copy back"
        ) from None
    try:
        return _parsed(raw)
    except ValueError as error:  # tomllib's and a decoding error are some; neither repeats what stands in the file
        raise KeyringError(f"key ring {path} is broken ({error}): put its copy back") from None


def _parsed(raw: bytes) -> Keyring:
    if len(raw) > _FILE_BYTES:
        raise ValueError("it is larger than 1 MiB")
    try:
        said = tomllib.loads(raw.decode())
    except ValueError:
        raise ValueError("it is no TOML") from None
    tables, primary = said.get("keys"), said.get("primary")
    if not isinstance(tables, dict) or not tables or len(tables) > _MOST_KEYS:
        raise ValueError(f"it has no table `keys`, or not 1 to {_MOST_KEYS:,} in it")
    keys = {key_id: _read_key(key_id, table) for key_id, table in tables.items()}
    if not isinstance(primary, str) or primary not in keys:
        raise ValueError("`primary` names none of its keys")
    return Keyring(keys[primary], keys)


def _read_key(key_id: str, table: object) -> Key:
    if not _ID.fullmatch(key_id):
        raise ValueError("a key's id is 8 hexadecimal digits")
    if not isinstance(table, dict):
        raise ValueError(f"key {key_id} is no table")
    try:
        secret = b64decode(str(table.get("secret")), validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise ValueError(f"the secret of key {key_id} is not 32 bytes in base64")
    try:
        made = datetime.fromisoformat(str(table.get("made")))
    except ValueError:
        raise ValueError(f"`made` of key {key_id} is no time") from None
    return _key(key_id, secret, made if made.tzinfo else made.replace(tzinfo=UTC))


def create_keyring(path: Path) -> Keyring:
    """A new file with a new ring, for its owner alone. KeyringError where something stands there."""
    ring = Keyring.new()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        _write(os.open(path, flags, 0o600), ring)
    except FileExistsError:
        raise KeyringError(f"{path} stands already, and was left as it is: `tocsin keys rotate` adds a key") from None
    except OSError as error:
        raise KeyringError(f"key ring {path} cannot be written ({error.strerror})") from None
    return ring


def write_keyring(path: Path, ring: Keyring) -> None:
    """Put a ring in the place of the one in the file, at once and whole, with the file's mode and owner. KeyringError.

    A server that reads meanwhile finds the one or the other.
    """
    real = path.resolve()  # where a link leads, the file goes
    part = real.with_name(f".{real.name}.{secrets.token_hex(4)}")
    try:
        stood = real.stat()
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if os.name == "posix":
                os.fchmod(descriptor, stat.S_IMODE(stood.st_mode))
                if (stood.st_uid, stood.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, stood.st_uid, stood.st_gid)
        except OSError:
            os.close(descriptor)
            raise
        _write(descriptor, ring)
        os.replace(part, real)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise KeyringError(f"key ring {path} cannot be written ({error.strerror}), and is as it was") from None


def _write(descriptor: int, ring: Keyring) -> None:
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(ring.text())
        file.flush()
        os.fsync(file.fileno())


# --- while a server runs ---


class LiveKeyring:
    """A ring that follows its file: each second, and whenever a key is missing, it is looked whether that changed.

    A file that cannot be used any more is logged, and the ring that was read from it before goes on. Usable from
    several threads: what is read is put in place at once.
    """

    def __init__(self, path: Path) -> None:
        """KeyringError where the file cannot be used."""
        self._path = path
        self._state = self._stat()
        self._ring = read_keyring(path)
        self._next_look = time.monotonic() + _LOOK_AGAIN

    @property
    def ring(self) -> Keyring:
        """The ring of now."""
        if time.monotonic() >= self._next_look:
            self.look()
        return self._ring

    def key(self, key_id: str) -> Key | None:
        """The key of this id; None where the ring, read anew, has none."""
        found = self._ring.keys.get(key_id)
        if found is None:
            self.look()
            found = self._ring.keys.get(key_id)
        return found

    def look(self) -> None:
        """Read the file anew, where it changed."""
        self._next_look = time.monotonic() + _LOOK_AGAIN
        state = self._stat()
        if state == self._state:
            return
        self._state = state
        try:
            ring = read_keyring(self._path)
        except KeyringError as error:
            _log.error(f"{error}; the keys that were read before are used meanwhile")
            return
        before, self._ring = self._ring, ring
        _log.info(
            "the key ring was read anew",
            primary=ring.primary.key_id,
            new=sorted(ring.keys.keys() - before.keys.keys()),
            gone=sorted(before.keys.keys() - ring.keys.keys()),
        )

    def _stat(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode
