"""Changes of the file of principals, as `tocsin token` makes them: whole or not at all, one at a time."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tocsin_server.security.principals import (
    Principal,
    Principals,
    Scope,
    Token,
    hash_of,
    parse_principals,
    read_principals,
)
from tocsin_server.security.reloading import Unusable

_HEAD = "# Who may call this server. `tocsin token` writes it anew; what you write into it stays, but for comments.\n"
_PREFIX = "tocsin_"  # so that tools which look for secrets in code know one
_RANDOM_BYTES = 32


def create_token(
    path: Path, name: str, scopes: Sequence[Scope], expires: datetime | None, queues: tuple[str, ...] | None = None
) -> tuple[str, Token]:
    """A new token of a principal, in clear, and what is kept of it; the others that it has stay valid.

    `scopes` and `queues` are those of a principal that is not there yet; without any one that is there is meant.
    Unusable.
    """
    secret = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    token = Token(secrets.token_hex(4), hash_of(secret), expires)
    with _locked(path):
        each = {one.name: one for one in _standing(path).each}
        known = each.get(name)
        if known is None and not scopes:
            raise Unusable(f"there is no principal {name!r} in {path}: say --scopes for a new one")
        if known is not None and scopes and known.scopes != set(scopes):
            standing = ",".join(sorted(known.scopes))
            raise Unusable(f"{name} has the scopes {standing} in {path}: leave --scopes out, or change them there")
        if known is not None and queues is not None and known.queues != queues:
            raise Unusable(f"{name} has other queues in {path}: leave --queues out, or change them there")
        known = known or Principal(name, frozenset(scopes), queues=queues)
        each[name] = replace(known, tokens=(*known.tokens, token))
        _write(path, each.values())
    return secret, token


def revoke_token(path: Path, token_id: str) -> str:
    """The name of whom it was; servers refuse it within 5 s. Unusable where there is none of that id."""
    with _locked(path):
        each = list(read_principals(path).each)
        for at, one in enumerate(each):
            left = tuple(token for token in one.tokens if token.id != token_id)
            if len(left) < len(one.tokens):
                each[at] = replace(one, tokens=left)
                _write(path, each)
                return one.name
    raise Unusable(f"there is no token {token_id!r} in {path}; `tocsin token list` shows all")


def _standing(path: Path) -> Principals:
    return read_principals(path) if path.exists() else Principals()


def _write(path: Path, each: Iterable[Principal]) -> None:
    raw = _as_toml(each).encode()
    parse_principals(raw, str(path))  # never anything that a server could not read
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # As private as the one before it: what is readable by a group stays so.
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise Unusable(f"{path} cannot be written: {error.strerror or error}") from None


def _as_toml(each: Iterable[Principal]) -> str:
    return _HEAD + "".join(line + "\n" for one in each for line in _lines(one))


def _lines(one: Principal) -> Iterator[str]:
    yield "\n[[principal]]"
    yield f"name = {json.dumps(one.name)}"  # a text of JSON is one of TOML, too
    yield f"scopes = {json.dumps(sorted(one.scopes))}"
    if one.queues is not None:
        yield f"queues = {json.dumps(one.queues)}"
    for name, values in (("certificates", one.certificates), ("subjects", one.subjects)):
        if values:
            yield f"{name} = {json.dumps(values)}"
    if limits := one.limits.changes():
        yield f"limits = {{{', '.join(f'{name} = {value}' for name, value in limits.items())}}}"
    for token in one.tokens:
        yield "\n[[principal.token]]"
        yield f'id = "{token.id}"'
        yield f'sha256 = "{token.sha256}"'
        if token.expires is not None:
            yield f"expires = {token.expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One change at a time; where the system has no such locks, the last one wins."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise Unusable(f"{path.parent} cannot be opened: {error.strerror or error}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
