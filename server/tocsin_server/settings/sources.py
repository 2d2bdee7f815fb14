"""The places that settings come from: flags, environment, file. What they give is not checked here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from tocsin_server.settings.fields import (
    PREFIX,
    Place,
    all_fields,
    dotted,
    group_of,
    holds_secret,
    is_by_name,
    origin_variable_of,
    variable_of,
)
from tocsin_server.settings.model import Settings
from tocsin_server.settings.problems import SettingsError, did_you_mean
from tocsin_server.settings.secret_files import SUFFIX, SecretPath

CONFIG_VARIABLE = "TOCSIN_CONFIG"
CONFIG_FLAG = "--config"

# TOCSIN_ variables that are not the server's: those of the client and its command line, and those that Kubernetes puts
# into every container near a Service named "tocsin" (TOCSIN_SERVICE_HOST, TOCSIN_PORT_50051_TCP, ...).
_OTHERS = re.compile(
    r"TOCSIN_(CONFIG$|ADDRESS$|TOKEN$|TLS$|TLS__(CA|CERT|KEY|SERVER_NAME)$|DEADLINE|SERVICE_(HOST|PORT)|PORT($|_\d+_))"
)

# Kubernetes, again: near a Service named "redis" REDIS_PORT is an address like this, and no port.
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Flag:
    """A value from the command line. `setting` is its dotted name, "lease.duration"."""

    name: str
    setting: str
    value: object


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given, where, and the sources further down that gave one, too, nearest first."""

    value: object
    source: str
    flag: bool = False
    over: tuple[str, ...] = ()


def from_flags(flags: Sequence[Flag]) -> dict[Place, Given]:
    """What flags give."""
    return {tuple(flag.setting.split(".")): Given(flag.value, flag.name, flag=True) for flag in flags}


def from_variables(environ: Mapping[str, str]) -> dict[Place, Given]:
    """What Tocsin's own variables give. An empty variable is as good as none. SettingsError: a secret and
    its file."""
    return _from_environment(environ, [(place, field, variable_of(place)) for place, field in all_fields()])


def from_origin_variables(environ: Mapping[str, str]) -> dict[Place, Given]:
    """What the variables of the origin give. An empty variable is as good as none. SettingsError: a secret and
    its file."""
    variables = [(place, field, origin_variable_of(field)) for place, field in all_fields()]
    return _from_environment(environ, [(place, field, variable) for place, field, variable in variables if variable])


def _from_environment(
    environ: Mapping[str, str], variables: Sequence[tuple[Place, FieldInfo, str]]
) -> dict[Place, Given]:
    given, wrong = {}, []
    for place, field, variable in variables:
        value = environ.get(variable)
        if value and not (variable.endswith("_PORT") and _SERVICE_LINK.match(value)):
            given[place] = Given(value, variable)
        if holds_secret(field) and (path := environ.get(named := variable + SUFFIX)):
            if place in given:
                wrong.append(f"{named}: {variable} is given, too; leave one of the two out")
            else:
                given[place] = Given(SecretPath(Path(path), by_name=is_by_name(field)), named)
    if wrong:
        raise SettingsError(wrong)
    return given


def secret_variables(given: Mapping[Place, Given], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The variables among the sources whose values are secrets."""
    secret = {place for place, field in all_fields() if holds_secret(field)}
    return tuple(
        source
        for place, entry in given.items()
        if place in secret
        for source in (entry.source, *entry.over)
        if source in environ and not source.endswith(SUFFIX)
    )


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A line for each variable that looks like one of the server's, and is none."""
    known = {variable_of(place) for place, _ in all_fields()}
    known |= {variable_of(place) + SUFFIX for place, field in all_fields() if holds_secret(field)}
    return [
        f"{variable}: there is no such setting{did_you_mean(variable, sorted(known))}"
        for variable in sorted(environ)
        if variable.startswith(PREFIX) and variable not in known and not _OTHERS.match(variable)
    ]


def from_file(config: Path | None, environ: Mapping[str, str]) -> dict[Place, Given]:
    """What the file gives that --config (`config`) or TOCSIN_CONFIG names. SettingsError: it cannot be read."""
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
    given = {
        place: Given(value, f"{dotted(place)} in {path}") for place, value in _leaves(tables, Settings.model_fields)
    }
    return _with_files(given, path)


def _with_files(given: dict[Place, Given], config: Path) -> dict[Place, Given]:
    """The same, each secret's file replaced by the secret in it: `password_file` by `password`."""
    wrong = []
    for place, field in all_fields():
        named = (*place[:-1], place[-1] + SUFFIX.lower())
        if not holds_secret(field) or named not in given:
            continue
        entry = given.pop(named)
        if place in given:
            wrong.append(f"{entry.source}: {dotted(place)} is given, too; leave one of the two out")
        elif not isinstance(entry.value, str):
            wrong.append(f"{entry.source}: write the path of a file")
        else:
            given[place] = Given(SecretPath(config.parent / entry.value, by_name=is_by_name(field)), entry.source)
    if wrong:
        raise SettingsError(wrong)
    return given


def _leaves(
    table: Mapping[str, object], fields: Mapping[str, FieldInfo], at: Place = ()
) -> Iterator[tuple[Place, Any]]:
    for key, value in table.items():
        group = group_of(fields[key]) if key in fields else None
        if group is not None and isinstance(value, dict):
            yield from _leaves(value, group.model_fields, (*at, key))
        else:
            yield (*at, key), value
