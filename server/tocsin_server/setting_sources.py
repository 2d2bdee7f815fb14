"""Where settings come from: flags, environment, file, defaults, in this order; and what to say when one is wrong."""

from __future__ import annotations

import contextlib
import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from tocsin_server.setting_types import show_duration
from tocsin_server.settings import Settings
from tocsin_server.telemetry.redaction import HIDDEN, redact_url

PREFIX = "TOCSIN_"
CONFIG_VARIABLE = "TOCSIN_CONFIG"
CONFIG_FLAG = "--config"

# TOCSIN_ variables that are not the server's: those of the client and its command line, and those that Kubernetes puts
# into every container near a Service named "tocsin" (TOCSIN_SERVICE_HOST, TOCSIN_PORT_50051_TCP, ...).
_OTHERS = re.compile(r"TOCSIN_(CONFIG|ADDRESS|TOKEN|TLS|DEADLINE|SERVICE_(HOST|PORT)|PORT($|_\d+_))")

# Kubernetes, again: near a Service named "redis" REDIS_PORT is an address like this, and no port.
_SERVICE_LINK = re.compile(r"(tcp|udp)://")

# Secret settings that are addresses: all but the password in them may be seen.
_ADDRESSES = ("url", "transport")

Place = tuple[str, ...]


class SettingsError(Exception):
    """Settings are wrong. `lines` has one sentence for each, which names the flag, variable or key; exit code 2."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Flag:
    """A value from the command line. `setting` is its dotted name, "lease.duration"."""

    name: str
    setting: str
    value: object


@dataclass(frozen=True, slots=True)
class Origin:
    """A setting's value as it may be shown, and where it came from ("--listen", "REDIS_URL", "default", ...)."""

    setting: str
    shown: str
    source: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each came from."""

    settings: Settings
    origins: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class _Given:
    value: object
    source: str


def load(
    flags: Sequence[Flag], environ: Mapping[str, str], config: Path | None = None, defaults: Sequence[Flag] = ()
) -> Loaded:
    """Read all settings. SettingsError names everything that is wrong, each with where it came from.

    `defaults` go before the settings' own and after everything else; `config` is what --config says.
    """
    wrong: list[str] = []
    given = _from_flags(defaults)  # lowest first: what comes later goes before it
    given.update(_from_file(config, environ))
    given.update(_from_environment(environ, wrong))
    given.update(_from_flags(flags))
    try:
        settings = Settings.model_validate(_nested(given))
    except ValidationError as error:
        raise SettingsError([*wrong, *_explained(error, given)]) from None
    if wrong:
        raise SettingsError(wrong)
    origins = [
        Origin(".".join(path), _shown(path[-1], value), given[path].source if path in given else "default")
        for path, value in _values(settings)
    ]
    return Loaded(settings, tuple(origins))


def without(environ: Mapping[str, str], group: str) -> dict[str, str]:
    """The environment without the variables that set anything in a group of settings."""
    left = dict(environ)
    for path, field in _fields(Settings.model_fields):
        if path[0] == group:
            left.pop(_variable(path), None)
            left.pop(_origin_variable(field), None)
    return left


def describe(setting: str) -> tuple[str, str]:
    """What a setting ("lease.duration") is for, and the variable that sets it."""
    for path, field in _fields(Settings.model_fields):
        if ".".join(path) == setting:
            return field.description or "", _origin_variable(field) or _variable(path)
    raise KeyError(setting)


def secrets_of(settings: BaseModel) -> list[str]:
    """All passwords in the settings, so that logs can hide them."""
    found = []
    for path, value in _values(settings):
        if not isinstance(value, SecretStr):
            continue
        text = value.get_secret_value()
        if path[-1] not in _ADDRESSES:
            found.append(text)
            continue
        with contextlib.suppress(ValueError):
            password = urlsplit(text).password or ""
            found += [password, unquote(password)]
    return [secret for secret in found if secret]


def _from_flags(flags: Sequence[Flag]) -> dict[Place, _Given]:
    return {tuple(flag.setting.split(".")): _Given(flag.value, flag.name) for flag in flags}


def _variable(path: Place) -> str:
    return PREFIX + "__".join(path).upper()


def _origin_variable(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["origin_variable"]) if isinstance(extra, dict) else ""


def _from_file(config: Path | None, environ: Mapping[str, str]) -> dict[Place, _Given]:
    named_by, path = CONFIG_FLAG, config
    if path is None:
        if not environ.get(CONFIG_VARIABLE):
            return {}
        named_by, path = CONFIG_VARIABLE, Path(environ[CONFIG_VARIABLE])
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError([f"{named_by}: {path} cannot be read: {reason}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{named_by}: {path} is not TOML: {error}"]) from None
    return {
        place: _Given(value, f"{'.'.join(place)} in {path}") for place, value in _leaves(tables, Settings.model_fields)
    }


def _leaves(
    table: Mapping[str, object], fields: Mapping[str, FieldInfo], at: Place = ()
) -> Iterator[tuple[Place, Any]]:
    for key, value in table.items():
        group = _group(fields[key]) if key in fields else None
        if group is not None and isinstance(value, dict):
            yield from _leaves(value, group.model_fields, (*at, key))
        else:
            yield (*at, key), value


def _from_environment(environ: Mapping[str, str], wrong: list[str]) -> dict[Place, _Given]:
    given: dict[Place, _Given] = {}
    known = {}
    for path, field in _fields(Settings.model_fields):
        variable, origin = _variable(path), _origin_variable(field)
        known[variable] = path
        if environ.get(origin) and not (origin.endswith("_PORT") and _SERVICE_LINK.match(environ[origin])):
            given[path] = _Given(environ[origin], origin)
        if environ.get(variable):  # an empty variable is as good as none
            given[path] = _Given(environ[variable], variable)
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in known and not _OTHERS.match(variable):
            wrong.append(f"{variable}: there is no such setting{_did_you_mean(variable, known)}")
    return given


def _fields(fields: Mapping[str, FieldInfo], at: Place = ()) -> Iterator[tuple[Place, FieldInfo]]:
    for name, field in fields.items():
        group = _group(field)
        if group is None:
            yield (*at, name), field
        else:
            yield from _fields(group.model_fields, (*at, name))


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _nested(given: Mapping[Place, _Given]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, entry in given.items():
        branch = tree
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = entry.value
    return tree


def _explained(error: ValidationError, given: Mapping[Place, _Given]) -> list[str]:
    known = [".".join(path) for path, _ in _fields(Settings.model_fields)]
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        path = tuple(str(part) for part in problem["loc"])
        source, rest = ".".join(path), path[:0]
        for length in range(len(path), 0, -1):  # ("queues", "0") was given as ("queues",)
            if path[:length] in given:
                source, rest = given[path[:length]].source, path[length:]
                break
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "there is no such setting" + _did_you_mean(".".join(path), known)
        where = f"{source}, item {int(rest[0]) + 1}" if rest and rest[0].isdigit() else source
        lines.append(f"{where}: {message[:1].lower()}{message[1:]}")
    return lines


def _did_you_mean(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _values(model: BaseModel, at: Place = ()) -> Iterator[tuple[Place, object]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _values(value, (*at, name))
        else:
            yield (*at, name), value


def _shown(name: str, value: object) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, SecretStr):
        return redact_url(value.get_secret_value()) if name in _ADDRESSES else HIDDEN
    if isinstance(value, timedelta):
        return show_duration(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
