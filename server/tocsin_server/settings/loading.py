"""Settings from all their places, in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tocsin_server.settings.choosing import choose
from tocsin_server.settings.fields import Place
from tocsin_server.settings.model import Settings
from tocsin_server.settings.problems import SettingsError, explained
from tocsin_server.settings.secret_files import SecretPath, UnreadableSecret
from tocsin_server.settings.showing import Origin, origins
from tocsin_server.settings.sources import (
    Flag,
    Given,
    from_file,
    from_flags,
    from_origin_variables,
    from_variables,
    secret_variables,
    unknown_variables,
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each came from.

    `secret_variables` are those of the environment with secrets among them.
    """

    settings: Settings
    origins: tuple[Origin, ...]
    secret_variables: tuple[str, ...] = ()


def load(
    flags: Sequence[Flag], environ: Mapping[str, str], config: Path | None = None, defaults: Sequence[Flag] = ()
) -> Loaded:
    """Read all settings. SettingsError names everything that is wrong, each with where it came from.

    `defaults` go before the settings' own and after everything else; `config` is what --config says.
    """
    given = _merged(  # lowest first: what comes later goes before it
        from_flags(defaults),
        from_file(config, environ),
        from_origin_variables(environ),
        from_variables(environ),
        from_flags(flags),
    )
    choice = choose(given)
    used, unreadable = _with_secrets_read(choice.used)
    wrong = [*unknown_variables(environ), *choice.wrong, *unreadable]
    try:
        settings = Settings.model_validate(_nested(used))
    except ValidationError as error:
        sources = {place: entry.source for place, entry in used.items()}
        raise SettingsError([*wrong, *explained(error, sources)]) from None
    if wrong:
        raise SettingsError(wrong)
    return Loaded(settings, origins(settings, given, choice), secret_variables(choice.used, environ))


def _with_secrets_read(given: Mapping[Place, Given]) -> tuple[dict[Place, Given], list[str]]:
    """What was given, with the secrets that stand in files; a line for each that cannot be read."""
    read, wrong = dict(given), []
    for place, entry in given.items():
        if isinstance(entry.value, SecretPath):
            try:
                read[place] = replace(entry, value=entry.value.read())
            except UnreadableSecret as error:
                del read[place]
                wrong.append(f"{entry.source}: {error}")
    return read, wrong


def _merged(*levels: Mapping[Place, Given]) -> dict[Place, Given]:
    merged: dict[Place, Given] = {}
    for level in levels:
        for place, entry in level.items():
            below = merged.get(place)
            merged[place] = entry if below is None else replace(entry, over=(below.source, *below.over))
    return merged


def _nested(given: Mapping[Place, Given]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for place, entry in given.items():
        branch = tree
        for name in place[:-1]:
            branch = branch.setdefault(name, {})
        branch[place[-1]] = entry.value
    return tree
