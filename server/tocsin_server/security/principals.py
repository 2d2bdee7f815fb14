"""Principals: who may call, what they may do, and what they show to prove who they are. All of it stands in one file.

    [[principal]]
    name = "shop"
    scopes = ["schedule", "read"]
    queues = ["orders", "mail.*"]       # left out: all
    certificates = ["shop.internal"]    # names in a client certificate: hosts, addresses, URIs
    subjects = ["service-account-shop"] # of JWTs, their `sub`
    limits = {per_second = 50}          # in place of what the settings let one client take up

    [[principal.token]]
    id = "3fa91c"
    sha256 = "..."
    expires = 2027-03-01T00:00:00Z      # left out: never

Of a token only its hash stands there. It has 256 random bits, so a plain SHA-256 tells nothing of it, and nobody finds
one by trying; looked up by its hash, it is not compared letter by letter either.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from tocsin_server.security.reloading import Unusable, read_file

_T = TypeVar("_T")

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,100}\Z")
_ID = re.compile(r"[0-9a-f]{6,16}\Z")
_QUEUES = re.compile(r"[A-Za-z0-9._-]{1,100}\Z|[A-Za-z0-9._-]{0,99}\*\Z")
_MOST = 1 << 40
_HASH = re.compile(r"[0-9a-f]{64}\Z")


class Scope(StrEnum):
    """What may be done. None contains another."""

    READ = "read"  # jobs, queues, schedules as they stand
    READ_PAYLOAD = "read_payload"  # what is in jobs: payloads, results, errors, lines that they wrote
    SCHEDULE = "schedule"
    SEND = "send"  # the built-in types that write to people
    HOUSEKEEPING = "housekeeping"  # the built-in types that delete jobs and report on them
    WORK = "work"  # run jobs
    OPERATE = "operate"  # cancel, retry, pause
    ADMIN = "admin"  # queues' settings, exports and imports, the clock


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a principal; of itself only the hash."""

    id: str
    sha256: str
    expires: datetime | None = None

    def expired(self, now: datetime) -> bool:
        """Whether it is good no more."""
        return self.expires is not None and self.expires <= now


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What one principal may take up, in place of what the settings say of each client. None: as they say."""

    per_second: int | None = None  # calls that it begins
    burst: int | None = None  # of them at once
    open: int | None = None  # calls that are answered once
    watches: int | None = None
    workers: int | None = None
    transfers: int | None = None
    request_bytes: int | None = None  # of its requests under way

    def changes(self) -> dict[str, int]:
        """Those that are there."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}


_AS_SET = ClientLimits()


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who may call."""

    name: str
    scopes: frozenset[Scope]
    certificates: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    tokens: tuple[Token, ...] = ()
    queues: tuple[str, ...] | None = None  # names, and beginnings of names that end with *; None: all
    limits: ClientLimits = _AS_SET

    def reaches(self, queue: str) -> bool:
        """Whether a queue of this name is among its own, be it there or not."""
        if self.queues is None:
            return True
        return any(queue.startswith(own[:-1]) if own.endswith("*") else queue == own for own in self.queues)

    def may_less_than(self, before: Principal) -> bool:
        """Whether a queue or a scope that `before` has may be missing."""
        missing = self.queues is not None and (before.queues is None or not set(before.queues) <= set(self.queues))
        return missing or not before.scopes <= self.scopes

    @property
    def unrestricted(self) -> bool:
        """Whether nothing that a request names can be refused to it."""
        return self.queues is None and self.scopes >= _OF_TYPES


#: What schedules jobs of every type.
_OF_TYPES = frozenset({Scope.SEND, Scope.HOUSEKEEPING, Scope.OPERATE})


@dataclass(frozen=True, slots=True)
class Principals:
    """All of them, found by what they show."""

    each: tuple[Principal, ...] = ()
    by_hash: Mapping[str, tuple[Principal, Token]] = field(default_factory=dict)
    by_certificate: Mapping[str, Principal] = field(default_factory=dict)
    by_subject: Mapping[str, Principal] = field(default_factory=dict)

    @classmethod
    def of(cls, each: Iterable[Principal]) -> Principals:
        """Unusable where a name, a token, a certificate or a subject is given twice."""
        each = tuple(each)
        _once("the name", ((one.name, one) for one in each))
        return cls(
            each,
            _once("the token", ((token.sha256, (one, token)) for one in each for token in one.tokens)),
            _once("the certificate", ((name, one) for one in each for name in one.certificates)),
            _once("the subject", ((name, one) for one in each for name in one.subjects)),
        )


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return sha256(token.encode()).hexdigest()


def read_principals(path: Path) -> Principals:
    """Unusable where the file cannot be read, others could write it, or something in it is wrong."""
    return parse_principals(read_file(path, guarded=True), str(path))


def parse_principals(raw: bytes, path: str) -> Principals:
    """What is in such a file, called `path` in what is said of it. Unusable."""
    try:
        tables = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Unusable(f"{path} is no TOML: {error}") from None
    try:
        _only(tables, ("principal",))
        return Principals.of(_principal(one) for one in _list(tables, "principal", dict))
    except Unusable as error:
        raise Unusable(f"{path}: {error}") from None


def _principal(table: Mapping[str, Any]) -> Principal:
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.match(name):
        raise Unusable("each [[principal]] has a name, of 1 to 100 of the characters A-Z a-z 0-9 . _ @ -")
    try:
        _only(table, ("name", "scopes", "queues", "certificates", "subjects", "limits", "token"))
        return Principal(
            name,
            frozenset(scopes_of(_list(table, "scopes", str))),
            tuple(_list(table, "certificates", str)),
            tuple(_list(table, "subjects", str)),
            tuple(_token(one) for one in _list(table, "token", dict)),
            queues_of(_list(table, "queues", str)) if "queues" in table else None,
            _limits(table.get("limits", {})),
        )
    except Unusable as error:
        raise Unusable(f"principal {name}: {error}") from None


def scopes_of(names: Iterable[str]) -> list[Scope]:
    """The scopes of these names. Unusable."""
    found = []
    for name in names:
        try:
            found.append(Scope(name))
        except ValueError:
            raise Unusable(f"there is no scope {name!r}; there are {', '.join(Scope)}") from None
    return found


def queues_of(names: Iterable[str]) -> tuple[str, ...]:
    """Names of queues and beginnings of names. Unusable."""
    found = tuple(names)
    if wrong := [name for name in found if not _QUEUES.match(name)]:
        raise Unusable(f"{wrong[0][:100]!r} is no queue: write its name, or the beginning of several and a *")
    return found


def _limits(table: object) -> ClientLimits:
    if not isinstance(table, dict):
        raise Unusable("limits is a table, as in {per_second = 50, watches = 10}")
    _only(table, tuple(one.name for one in fields(ClientLimits)))
    for name, value in table.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
            raise Unusable(f"limits.{name} is a whole number from 1 to {_MOST:,}")
    return ClientLimits(**table)


def _token(table: Mapping[str, Any]) -> Token:
    _only(table, ("id", "sha256", "expires"))
    token_id, digest, expires = table.get("id", ""), table.get("sha256", ""), table.get("expires")
    if not isinstance(token_id, str) or not _ID.match(token_id):
        raise Unusable("a token's id has 6 to 16 of the characters 0-9 a-f")
    if not isinstance(digest, str) or not _HASH.match(digest):
        raise Unusable(f"token {token_id}: sha256 has 64 of the characters 0-9 a-f")
    if expires is not None and not isinstance(expires, datetime):
        raise Unusable(f"token {token_id}: expires is a time, as in 2027-03-01T00:00:00Z")
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    return Token(token_id, digest, expires)


def _list(table: Mapping[str, Any], name: str, kind: type[_T]) -> list[_T]:
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, kind) for one in found):
        raise Unusable(f"{name} is a list of {'texts' if kind is str else f'tables, each [[{name}]]'}")
    return found


def _only(table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if unknown := sorted(table.keys() - set(known)):
        raise Unusable(f"{unknown[0]!r} means nothing here; there are {', '.join(known)}")


def _once(what: str, pairs: Iterable[tuple[str, _T]]) -> dict[str, _T]:
    found: dict[str, _T] = {}
    for key, value in pairs:
        if key in found:
            raise Unusable(f"{what} {key[:100]!r} is there twice")
        found[key] = value
    return found
