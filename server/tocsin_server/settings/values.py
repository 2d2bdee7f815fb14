"""How single settings are written: durations, addresses, names, lists."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr

from tocsin_server.domain.http_requests import allowed

# In short, or in words as Agenda's processEvery has it: "30 seconds", "1 hour 30 minutes".
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|\s*(?:milliseconds?|seconds?|minutes?|hours?|days?))(?![A-Za-z])")
_DURATION = re.compile(rf"{_PART.pattern}(?:\s*{_PART.pattern})*")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_TICK = timedelta(microseconds=1)  # there is no shorter span
_BYTES = re.compile(r"(?P<amount>[0-9]{1,15}) ?(?:(?P<letter>[KMGT])(?P<binary>i)?)?B?\Z")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_QUEUE_NUMBER = re.compile(r"(?:[A-Za-z0-9._-]{1,100}|[A-Za-z0-9._-]{0,99}\*) ?= ?[0-9]{1,9}\Z")
_PREFIX = re.compile(r"\+[1-9][0-9]{0,13}\Z")
_SECRET = re.compile(r"[\x21-\x7e]{16,1000}\Z")
_LISTEN = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]/]+):(?P<port>[0-9]{1,5})\Z")


def duration(text: object) -> timedelta:
    """ "45s", "2m", "1h30m", "1.5h", "7d", "30 seconds" as a span of time. ValueError says how one is written."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not _DURATION.fullmatch(text.strip()):
        raise ValueError('write a duration with its unit: "500ms", "45s", "2m", "1h" or "7d"')
    try:
        # By fractions: a number with many digits is not rounded as a float would be.
        parts = [Fraction(amount) * (_UNITS[_short(unit)] // _TICK) for amount, unit in _PART.findall(text)]
        return sum((round(part) * _TICK for part in parts), timedelta())
    except OverflowError:
        raise ValueError("no duration is that long") from None


def _short(unit: str) -> str:
    """ "ms" for ms and milliseconds, else the first letter."""
    unit = unit.strip()
    return "ms" if unit == "ms" or unit.startswith("milli") else unit[0]


def show_duration(span: timedelta) -> str:
    """A span of time as it is written in settings, in the largest unit that divides it."""
    for name in ("d", "h", "m", "s"):
        if span and not span % _UNITS[name]:
            return f"{span // _UNITS[name]}{name}"
    ms, rest = divmod(span // _TICK, 1_000)
    return f"{ms}.{rest:03}".rstrip("0") + "ms" if rest else f"{ms}ms"


def byte_size(text: object) -> int:
    """ "512MiB", "2GiB", "100MB" as bytes; 0. ValueError says how one is written."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = _BYTES.match(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError('write an amount of memory with its unit: "512MiB" or "2GiB"; 0 is no limit')
    power = "KMGT".index(match["letter"]) + 1 if match["letter"] else 0
    size: int = int(match["amount"]) * (1024 if match["binary"] else 1000) ** power
    return size


def is_loopback(listen: str) -> bool:
    """Whether an address to listen on ("host:port") can be reached from this machine only."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(text: str) -> str:
    match = _LISTEN.match(text)
    if not match or int(match["port"]) > 65_535:
        raise ValueError('write host:port, as in "127.0.0.1:50051" or "[::]:50051"')
    return text


def _name(text: str, whose: str = "a queue's") -> str:
    if not _NAME.match(text):
        raise ValueError(f"{whose} name is 1 to 100 of the characters A-Z a-z 0-9 . _ -")
    return text


def _secrets(value: object) -> object:
    """ "orders=NEW OLD, bills=ONE" as a table; in the file it is one already."""
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(equals for _, equals, _ in pairs):
            raise ValueError("write a name and its secrets: orders=SECRET, or orders=NEW OLD while one is rotated")
        value = {name.strip(): secrets.split() for name, _, secrets in pairs}
    if isinstance(value, dict):
        return {name: (one,) if isinstance(one, str) else one for name, one in value.items()}
    return value


def _fit_secrets(secrets: dict[str, tuple[SecretStr, ...]]) -> dict[str, tuple[SecretStr, ...]]:
    for name, several in secrets.items():
        _name(name, "a secret's")
        if not 1 <= len(several) <= 2:
            raise ValueError(f"{name} has {len(several)} secrets: give one, or the new and the old one")
        if any(not _SECRET.match(one.get_secret_value()) for one in several):
            raise ValueError(f"a secret of {name} is too short, or has a space: use 16 characters or more of ASCII")
    return secrets


def _fit_prefixes(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_PREFIX.match(prefix) for prefix in prefixes):
        raise ValueError("write how numbers begin: + and 1 to 14 digits, as +49 or +4915")
    return prefixes


def _fit_hosts(entries: tuple[str, ...]) -> tuple[str, ...]:
    allowed(entries)
    return entries


def _fit_numbers(entries: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_QUEUE_NUMBER.match(entry) for entry in entries):
        raise ValueError('write a queue, or the beginning of several and a *, and a number: "orders=5000, mail.*=0"')
    names = [name for name, _ in numbers_of(entries)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{min(twice)} has two numbers")
    return entries


def numbers_of(entries: Iterable[str]) -> Iterator[tuple[str, int]]:
    """The names and numbers in `QueueNumbers`."""
    for entry in entries:
        name, _, number = entry.partition("=")
        yield name.strip(), int(number)


def split_names(value: Any) -> Any:
    """Names separated by commas as a tuple; anything else as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


#: A span of time, always written with its unit.
Duration = Annotated[timedelta, BeforeValidator(duration)]

#: An amount of memory in bytes, written with its unit.
ByteSize = Annotated[int, BeforeValidator(byte_size)]

#: host:port to listen on.
ListenAddress = Annotated[str, AfterValidator(_listen)]

#: Names separated by commas where they come as one text; a list in the file.
Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
QueueNames = Annotated[
    tuple[Annotated[str, AfterValidator(lambda text: _name(text))], ...], BeforeValidator(split_names)
]

#: Queues by name, or by how names begin, each with a number: "orders=5000, mail.*=100000".
QueueNumbers = Annotated[tuple[str, ...], BeforeValidator(split_names), AfterValidator(_fit_numbers)]

#: Secrets by name, of each one or two.
Secrets = Annotated[dict[str, tuple[SecretStr, ...]], BeforeValidator(_secrets), AfterValidator(_fit_secrets)]

#: Names of hosts, addresses and networks.
AllowedHosts = Annotated[tuple[str, ...], BeforeValidator(split_names), AfterValidator(_fit_hosts)]

#: How telephone numbers begin.
Prefixes = Annotated[tuple[str, ...], BeforeValidator(split_names), AfterValidator(_fit_prefixes)]
